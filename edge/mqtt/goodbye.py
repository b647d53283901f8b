"""The end of a connection: nothing more is to be asked, and what the broker says to the last message of all."""

from __future__ import annotations

import time
from queue import Empty
from typing import TYPE_CHECKING

from edge.mqtt.connection import Acknowledged, Asked, Away, Reached
from edge.mqtt.manner import STATE
from edge.mqtt.notes import Stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from edge.mqtt.connection import News
    from edge.mqtt.link import Link
    from edge.mqtt.notes import Note


_LEAST_SECONDS = 0.1


class Goodbye:
    """Says the last message, until a deadline on the monotonic clock or the sooner one of a stop that hurries.

    Requests that the broker hands over meanwhile are heard; whatever else is said comes to nothing.
    """

    def __init__(
        self, link: Link, inbox: SimpleQueue[Note], hear: Callable[[Note], Note | News | None], deadline: float
    ) -> None:
        """`hear` takes in what the inbox holds, answers requests, and returns what it was: news of the link perhaps."""
        self._link = link
        self._inbox = inbox
        self._hear = hear
        self._deadline = max(deadline, time.monotonic() + _LEAST_SECONDS)
        self._was_asked = False

    def say(self, topic: str, status: bytes, unlisten: str) -> Acknowledged | str:
        """Return the broker's answer to the status, or why there is none.

        `unlisten`: the topic of requests, if any are heard. Who asks from then on learns from the broker that nobody
        does; the status goes right behind it, for a stop may have time for one answer alone.
        """
        if unlisten:
            self._link.mark(unlisten)
        return self._await(self._link.publish(topic, status, STATE).mid)

    def wait_while(self, owes: Callable[[], bool]) -> None:
        """Hear what the broker has left while it says anything, and while replies are owed: of many it takes some."""
        while self._link.connected and self._deadline > time.monotonic() and (self._was_asked or owes()):
            if self._was_asked:
                self._was_asked = False
                self._await(self._link.mark())
            else:
                self._next()

    def _await(self, packet: int | None) -> Acknowledged | str:
        while self._deadline > time.monotonic():
            match self._next():
                case Acknowledged(answered) as answer if answered == packet:
                    return answer
                case Reached(answered) if answered == packet:
                    return Acknowledged(answered, "")
                case Away(reason):
                    return reason
        return "no answer"

    def _next(self) -> Note | News | None:
        try:
            said = self._hear(self._inbox.get(timeout=max(0.0, self._deadline - time.monotonic())))
        except Empty:
            return None
        if isinstance(said, Stop):
            self._deadline = said.last
        self._was_asked |= isinstance(said, Asked)
        return said
