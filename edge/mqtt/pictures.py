"""The pictures that wait to be sent, one at a time. No I/O but the album's."""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import TYPE_CHECKING

from edge.contract.messages import LAST_DEFECT, Verdict
from edge.mqtt.manner import PICTURE, Manner

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.album import Album, Picture

log = logging.getLogger(__name__)

MOST_CUTS = 3
"""Of the connection while a picture was on its way: then it waits for the next start."""
_GONE = 100
"""So many that the album let go of may be in the queue."""


class Pictures:
    """Between album and link."""

    def __init__(self, album: Album, takes: Callable[[str, int, Manner], bool], *, shows_defect: bool) -> None:
        """Send what waits in the album; `shows_defect`: the newest DEFECT also where always the last one is.

        `takes` says whether the broker takes a message of this name and so many bytes, and tells if not.
        """
        self._album = album
        self._takes = takes
        self._shows_defect = shows_defect
        self._waiting: deque[Picture] = deque()
        self._newest: Picture | None = None
        """The DEFECT that is still to be shown as the last one."""
        self._flying: tuple[int, Picture, bool] | None = None
        """On its way, with the packet that is answered behind it; whether it is only shown as the last defect."""
        self._cuts: Counter[Picture] = Counter()
        """How many connections ended while a picture was on its way."""

    def put(self, picture: Picture) -> None:
        """Note that the album holds one more."""
        self._waiting.append(picture)
        self._show(picture)
        if len(self._waiting) > self._album.count_waiting + _GONE:
            self._find()

    def begin(self) -> None:
        """Begin on a connection."""
        self._find()

    def lose(self) -> None:
        """Note that the connection ended."""
        if self._flying is None:
            return
        _, picture, _ = self._flying
        self._flying = None
        self._cuts[picture] += 1
        if self._cuts[picture] == MOST_CUTS:
            why = f"{MOST_CUTS} connections ended while it was on its way; is it larger than the broker takes?"
            log.warning("the picture of %s waits for the next start: %s", picture.event, why)

    def landed(self, packet: int) -> None:
        """Note that the broker answered a packet: what was sent before it has arrived."""
        if self._flying is None or self._flying[0] != packet:
            return
        _, picture, is_shown_only = self._flying
        if not is_shown_only:
            self._album.mark_sent(picture)
            del self._cuts[picture]
        self._flying = None

    def send(self, publish: Callable[[str, bytes, Manner], int | None]) -> None:
        """Send the next one, if none is on its way; one that cannot be sent waits for another connection.

        `publish` returns the packet that the broker has to answer behind it: over a slow link more than one would fill
        the socket's buffer, and a verdict wait behind all of them.
        """
        while self._flying is None and (self._newest or self._waiting):
            is_shown_only, picture = self._newest is not None, self._newest or self._waiting.popleft()
            self._newest = None
            name = LAST_DEFECT if is_shown_only else f"image/{picture.event}"
            # Before it is read: thousands may wait for a broker that takes larger ones, and all else waits meanwhile.
            if (size := self._album.size(picture)) is None or not self._takes(name, size, PICTURE):
                continue
            if (jpeg := self._album.read(picture)) is None:
                continue
            packet = publish(name, jpeg, PICTURE)
            if packet is None:  # The connection is over: not one more is to be read for it.
                return
            self._flying = packet, picture, is_shown_only

    def _find(self) -> None:
        # A broker that hangs up on large messages would do so for ever: MQTT 3.1.1 cannot say that it will.
        self._waiting = deque(each for each in self._album.waiting() if self._cuts[each] < MOST_CUTS)
        for each in self._waiting:
            self._show(each)

    def _show(self, picture: Picture) -> None:
        if self._shows_defect and picture.verdict is Verdict.DEFECT:
            self._newest = picture
