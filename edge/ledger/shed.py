"""What goes first when there is no room: what the broker has, then PASS, then UNKNOWN, and DEFECT last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.ledger.rows import VERDICTS
from edge.ledger.store import Span
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from edge.contract.messages import Gap, Reason, Verdict
    from edge.ledger.store import Store

SHED: Reason = "shed"
"""The reason in the gap records of what was removed before the broker had it."""
_CHUNK = 200
"""Removed in one commit."""


class Step(Record, frozen=True):
    """Remove the oldest verdicts of one kind in a span; with a reason where the broker must be told of the gap."""

    span: Span
    verdict: Verdict
    reason: Reason | None


def order(*, delivered: int, taken: int, last: int) -> list[Step]:
    """Return what may be removed, in order.

    The broker has all up to `delivered`; what lies above it up to `taken` is on its way there and stays.
    """
    spans = ((Span(0, delivered), None), (Span(max(delivered, taken), last), SHED))
    return [Step(span, verdict, reason) for span, reason in spans for verdict in VERDICTS]


def remove_some(store: Store, steps: Iterable[Step]) -> tuple[int, Step | None]:
    """Take the first step that finds something to remove; returns how much it did, and None where nothing is left."""
    for step in steps:
        if removed := store.remove(step.span, step.verdict, _CHUNK, step.reason):
            return removed, step
    return 0, None


class Shedder:
    """Makes room, and keeps count of what went before the broker had it."""

    def __init__(self, moving: AbstractContextManager[bool]) -> None:
        """Take what is to be held while verdicts go."""
        self.lost = dict.fromkeys(VERDICTS, 0)
        """How many went, by kind."""
        self.taken = 0
        """What was read for the broker up to here does not go before it is delivered."""
        self._moving = moving

    def count(self, gaps: Iterable[Gap]) -> None:
        """Count verdicts that went before they came here."""
        for gap in gaps:
            for verdict, count in gap.verdicts.items():
                self.lost[verdict] += count

    def shed(self, store: Store, budget: int, *, delivered: int, last: int) -> None:
        """Remove what matters least until a store uses no more than so many bytes."""
        while store.used > budget:
            with self._moving:
                count, step = remove_some(store, order(delivered=delivered, taken=self.taken, last=last))
            if step is None:
                return
            self.lost[step.verdict] += count if step.reason else 0
