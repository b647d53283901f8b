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


class Replays:
    """The ranges that wait, and what of the first one is on its way."""

    def __init__(self) -> None:
        self._spans: deque[Span] = deque(maxlen=MOST_RANGES)
        self._flying: dict[int, int] = {}
        """Numbers by packet identifier."""

    def put(self, first: int, last: int) -> None:
        """Add a range, behind those that wait; of too many the oldest goes."""
        self._spans.append(Span(first - 1, last))

    @property
    def wanted(self) -> Span | None:
        """Where to read on; None if nothing is asked for or enough is on its way."""
        return self._spans[0] if self._spans and len(self._flying) < AT_ONCE else None

    @property
    def room(self) -> int:
        """How many may be sent now."""
        return AT_ONCE - len(self._flying)

    def ended(self) -> None:
        """Note that there is no more of the first range."""
        if not self._flying:
            self._spans.popleft()

    def sent(self, packet: int, row: Row) -> None:
        """Note under which packet identifier a verdict of the first range was sent."""
        self._flying[packet] = row.seq
        self._spans[0] = Span(row.seq, self._spans[0].upto)

    def landed(self, packet: int) -> bool:
        """Note that the broker answered; False if that is none of these."""
        return self._flying.pop(packet, None) is not None

    def begin(self) -> None:
        """Send what was on its way again: a connection began."""
        if self._flying:
            self._spans[0] = Span(min(self._flying.values()) - 1, self._spans[0].upto)
            self._flying.clear()
