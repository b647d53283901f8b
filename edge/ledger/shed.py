"""What goes first when there is no room: what the broker has, then PASS, then UNKNOWN, and DEFECT last."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge.ledger.rows import VERDICTS
from edge.ledger.store import Span
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from edge.contract.messages import Gap, Reason, Verdict
    from edge.ledger.store import Store

SHED: Reason = "shed"
"""The reason in the gap records of what was removed before the broker had it."""
_CHUNK = 200
"""Removed in one commit."""
ALL = 1 << 62
"""Above every number."""


class Step(Record, frozen=True):
    """Remove the oldest verdicts of one kind in a span; with a reason where the broker must be told of the gap."""

    span: Span
    verdict: Verdict
    reason: Reason | None


def order(span: Span, reason: Reason | None) -> list[Step]:
    """Return what may be removed of a span, in order."""
    return [Step(span, verdict, reason) for verdict in VERDICTS]


def remove_some(store: Store, steps: Iterable[Step]) -> tuple[int, Step | None]:
    """Take the first step that finds something to remove; returns how much it did, and None where nothing is left."""
    for step in steps:
        if removed := store.remove(step.span, step.verdict, _CHUNK, step.reason):
            return removed, step
    return 0, None


class Shedder:
    """Makes room, and keeps count of what went before the broker had it."""

    def __init__(self, moving: AbstractContextManager[bool]) -> None:
        """Take what is held while verdicts are taken."""
        self.lost = dict.fromkeys(VERDICTS, 0)
        """How many went, by kind."""
        self.taken = 0
        """What was read for the broker up to here does not go before it is delivered."""
        self.open_upto = ALL
        """Only what is numbered up to here may be taken now; whoever wants more asks again, and does not wait."""
        self._moving = moving

    def count(self, gaps: Iterable[Gap]) -> None:
        """Count verdicts that went before they came here."""
        for gap in gaps:
            for verdict, count in gap.verdicts.items():
                self.lost[verdict] += count

    def shed(self, store: Store, budget: int, *, delivered: int, last: int) -> None:
        """Remove what matters least until a store uses no more than so many bytes."""
        while store.used > budget:
            count, step = remove_some(store, order(Span(0, delivered), None))
            if step is None:
                with self._closed(delivered) as after:
                    count, step = remove_some(store, order(Span(after, last), SHED))
            if step is None:
                return
            self.lost[step.verdict] += count if step.reason else 0

    @contextmanager
    def _closed(self, delivered: int) -> Iterator[int]:
        """Have nothing be taken that may go meanwhile, and give the number behind which that is."""
        with self._moving:
            self.open_upto = after = max(delivered, self.taken)
        try:
            yield after
        finally:
            self.open_upto = ALL
