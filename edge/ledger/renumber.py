"""New numbers for what memory has, where a file that opened late, or another than before, has others under them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.contract.messages import Gap
from edge.ledger.rows import DAMAGED, Row, first_of, last_of, parted, renumbered
from edge.ledger.store import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.ledger.store import Store

_BATCH = 500
_ALL = 1 << 62


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


def has_any(store: Store, rows: Sequence[Row], gaps: Sequence[Gap]) -> bool:
    """Say whether a store has one of these under its number, or shed it since: one commit takes all of them or none."""
    entries: list[Row | Gap] = sorted([*rows, *gaps], key=first_of)
    if not entries:
        return False
    texts = {row.json for row in rows}
    found = store.read(Span(first_of(entries[0]) - 1, last_of(entries[-1])), _ALL)
    return any(each.reason != DAMAGED if isinstance(each, Gap) else each.json in texts for each in found)


def unlike(
    file: Store, batch: Sequence[Row | Gap], *, is_another: bool
) -> tuple[list[Row], list[Gap], list[Row | Gap]]:
    """Return which of memory's verdicts and gaps a file does not have, and those whose numbers others have there.

    In a ledger that is another, used instead, those are gaps too: they would remove its verdicts.
    """
    rows, gaps = parted(batch)
    span = Span(rows[0].seq - 1, rows[-1].seq) if rows else Span(0, 0)
    known = {entry.seq: entry.json for entry in file.read(span, _ALL) if isinstance(entry, Row)}
    odd = gaps if is_another else ()
    taken = [gap for gap in odd if any(row.seq >= gap.first for row in file.newest(gap.last + 1, 1))]
    others: list[Row | Gap] = [*taken, *(row for row in rows if known.get(row.seq, row.json) != row.json)]
    fresh = [row for row in rows if row.seq not in known]
    return fresh, [gap for gap in gaps if gap not in taken], sorted(others, key=first_of)
