"""The end of a connection: nothing more is asked, and what the broker says to the last message of all."""

from __future__ import annotations

import contextlib
import time
from queue import Empty
from typing import TYPE_CHECKING

from edge.mqtt.connection import Acknowledged, Away
from edge.mqtt.notes import Stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from edge.mqtt.connection import News
    from edge.mqtt.link import Link
    from edge.mqtt.notes import Note


class Hush:
    """Has the broker pass on no more requests, before the goodbye: whose comes later learns from it that nobody hears.

    Else it would hand over some while the goodbye is under way, and they would come to nothing.
    """

    def __init__(self, link: Link, topic: str) -> None:
        """Take the topic of requests; empty: none are heard."""
        self._link = link
        self._topic = topic
        self._packet: int | None = None
        self._is_kept = False

    def begin(self) -> None:
        """Note a new connection, on which they are heard again."""
        self._packet, self._is_kept = None, False

    def reached(self, packet: int) -> None:
        """Note that the broker has answered a packet."""
        self._is_kept |= packet == self._packet

    def keeps(self) -> bool:
        """Ask for it, once on a connection; return whether nothing more comes, for the broker said so or is away."""
        if not self._topic or not self._link.connected:
            return True
        if self._packet is None:
            self._packet = self._link.mark(self._topic)
        return self._is_kept


def last_answer(
    packet: int, inbox: SimpleQueue[Note], hear: Callable[[Note], Note | News | None], deadline: float
) -> Acknowledged | str:
    """Return the broker's answer to the last message of all, or why there is none.

    Waits until the deadline, on the monotonic clock, or the sooner one of a stop that hurries. `hear` returns what a
    note says, of the connection perhaps; whatever else is said meanwhile comes to nothing.
    """
    with contextlib.suppress(Empty):
        while True:
            match hear(inbox.get(timeout=max(0.0, deadline - time.monotonic()))):
                case Acknowledged(answered) as answer if answered == packet:
                    return answer
                case Away(reason):
                    return reason
                case Stop(last=sooner):
                    deadline = sooner
    return "no answer"
