"""New numbers for what memory has, where a file that opened late, or another than before, has others under them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.contract.messages import Gap
from edge.ledger.rows import last_of, parted, renumbered
from edge.ledger.store import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.ledger.rows import Row
    from edge.ledger.store import Store

_BATCH = 500


def make_way(spare: Store, upto: int, last: int) -> int:
    """Put all that has numbers up to `upto` behind `last`, gaps too; returns the last number then.

    A gap of memory would remove the verdicts that others have under its numbers.
    """
    while batch := spare.read(Span(0, upto), _BATCH):
        last = put_behind(spare, batch, last)
        spare.forget(last_of(batch[-1]))
        if isinstance(gap := batch[-1], Gap) and gap.last > upto:  # Else its other numbers would look like a loss.
            spare.add((), [Gap(first=upto + 1, last=gap.last, reason=gap.reason, verdicts={})])
    return last


def put_behind(spare: Store, entries: Iterable[Row | Gap], last: int) -> int:
    """Add these under the numbers behind `last`; returns the last number then."""
    anew = []
    for entry in entries:
        anew.append(renumbered(entry, last + 1))
        last = last_of(anew[-1])
    spare.add(*parted(anew))
    return last
