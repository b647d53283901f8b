"""Verdicts that are asked for again: range after range, behind everything that waits. No I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from edge.ledger.store import Span

if TYPE_CHECKING:
    from edge.ledger.rows import Row

AT_ONCE = 10
"""In flight, at most: live verdicts keep their place."""
MOST_RANGES = 20
"""That are not sent to their end."""


class Replays:
    """The range that is being sent, what of it is on its way, and the ranges behind it."""

    def __init__(self) -> None:
        self._spans: deque[Span] = deque()
        """Ranges of which nothing was sent."""
        self._current: deque[Span] = deque()
        """What of the range that is being sent is still to be read: more than one piece where a connection broke."""
        self._flying: dict[int, int] = {}
        """Numbers by packet identifier."""

    def put(self, first: int, last: int) -> str:
        """Add a range, behind those that wait; returns why it cannot be, empty if it was added."""
        if len(self._spans) + bool(self._current or self._flying) >= MOST_RANGES:
            return f"{MOST_RANGES} ranges wait; ask again when they were sent"
        self._spans.append(Span(first - 1, last))
        self._advance()
        return ""

    @property
    def wanted(self) -> Span | None:
        """Where to read on; None if nothing is asked for or enough is on its way."""
        return self._current[0] if self._current and len(self._flying) < AT_ONCE else None

    @property
    def room(self) -> int:
        """How many may be sent now."""
        return AT_ONCE - len(self._flying)

    @property
    def flying(self) -> int:
        """How many are on their way."""
        return len(self._flying)

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._flying

    def passed(self, number: int) -> None:
        """Note that there is nothing to be sent of what is `wanted` up to this number."""
        span = self._current.popleft()
        if number < span.upto:
            self._current.appendleft(Span(number, span.upto))
        self._advance()

    def sent(self, packet: int, row: Row) -> None:
        """Note under which packet identifier a verdict of what is `wanted` was sent."""
        self._flying[packet] = row.seq
        self.passed(row.seq)

    def landed(self, packet: int, *, refused: bool = False) -> bool:
        """Note that the broker answered, what it refused being wanted again; False if that is none of these."""
        number = self._flying.pop(packet, None)
        if refused and number is not None:
            self._current.appendleft(Span(number - 1, number))
        self._advance()
        return number is not None

    def begin(self) -> None:
        """Send what was on its way again, and no more: a connection began."""
        self._current.extendleft(Span(number - 1, number) for number in sorted(self._flying.values(), reverse=True))
        self._flying.clear()

    def _advance(self) -> None:
        if not self._current and not self._flying and self._spans:
            self._current.append(self._spans.popleft())
