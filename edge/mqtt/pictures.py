"""The pictures that wait to be sent, one at a time. No I/O but the album's."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from edge.mqtt.manner import PICTURE, Manner

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.album import Album, Picture

MOST_CUTS = 3
"""Of the connection while a picture was on its way: then it waits for the next start."""
_GONE = 100
"""So many that the album let go of may be in the queue."""


class Pictures:
    """Between album and link."""

    def __init__(self, album: Album) -> None:
        self._album = album
        self._waiting: deque[Picture] = deque()
        self._flying: tuple[int, Picture] | None = None
        """On its way into the socket, with its packet identifier."""
        self._cuts: Counter[Picture] = Counter()
        """How many connections ended while a picture was on its way."""

    def put(self, picture: Picture) -> None:
        """Note that the album holds one more."""
        self._waiting.append(picture)
        if len(self._waiting) > self._album.count_waiting + _GONE:
            self._find()

    def begin(self) -> None:
        """Begin on a connection."""
        self._find()

    def lose(self) -> None:
        """Note that the connection ended."""
        if self._flying is not None:
            self._cuts[self._flying[1]] += 1
            self._flying = None

    def landed(self, packet: int) -> bool:
        """Note that the socket took a packet; False if it is none of these."""
        if self._flying is None or self._flying[0] != packet:
            return False
        self._album.mark_sent(self._flying[1])
        self._flying = None
        return True

    def send(self, publish: Callable[[str, bytes, Manner], int | None]) -> None:
        """Send the next one, if none is on its way; one that cannot be sent waits for another connection."""
        while self._waiting and self._flying is None:
            picture = self._waiting.popleft()
            if (jpeg := self._album.read(picture)) is None:
                continue
            packet = publish(f"image/{picture.event}", jpeg, PICTURE)
            if packet is not None:
                self._flying = packet, picture

    def _find(self) -> None:
        # A broker that hangs up on large messages would do so for ever: MQTT 3.1.1 cannot say that it will.
        self._waiting = deque(each for each in self._album.waiting() if self._cuts[each] < MOST_CUTS)
