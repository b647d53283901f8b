"""The replies to requests, on their way to the broker. No I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from edge.contract.commands import Reply
from edge.contract.messages import encode
from edge.mqtt.manner import VERDICT, Manner

if TYPE_CHECKING:
    from collections.abc import Callable


class Answers:
    """Of one connection: who asked over another one does not wait for them any more."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Reply]] = deque()
        self._flying: dict[int, str] = {}
        """Names of those on their way, by packet identifier."""

    @property
    def wait(self) -> bool:
        """Whether any wait to be sent."""
        return bool(self._waiting)

    @property
    def flying(self) -> int:
        """How many are on their way."""
        return len(self._flying)

    def put(self, name: str, reply: Reply) -> None:
        """Have one wait to be sent."""
        self._waiting.append((name, reply))

    def begin(self) -> None:
        """Begin on a connection."""
        self._waiting.clear()
        self._flying.clear()

    def send(self, most: int, publish: Callable[[str, bytes, Manner], int | None]) -> None:
        """Send so many at most; in the place of one that is too large for the broker goes one that says so."""
        while self._waiting and most > 0:
            name, reply = self._waiting.popleft()
            packet = publish(name, encode(reply), VERDICT)
            if packet is None:
                packet = publish(name, encode(_too_large(reply)), VERDICT)
            if packet is not None:
                self._flying[packet] = name
                most -= 1

    def landed(self, packet: int) -> str:
        """Note that a packet was answered; returns its name, empty if it is none of these."""
        return self._flying.pop(packet, "")


def _too_large(reply: Reply) -> Reply:
    error = "the answer is larger than the broker takes; ask for less"
    return Reply(transaction=reply.transaction, status="failed", error=error)
