"""Makes a new ledger of what can be read of a damaged one, which stays beside it as it was found."""

from __future__ import annotations

import logging
from bisect import bisect
from operator import itemgetter
from typing import TYPE_CHECKING

from edge.contract.messages import Gap
from edge.errors import DamagedLedgerError, LedgerError
from edge.ledger.audit import Audited
from edge.ledger.place import finish_writing, give_up, remove, take_place, unfinished
from edge.ledger.rows import DAMAGED, Marks, Row, last_of, pack_row, without_holes
from edge.ledger.salvage import salvage
from edge.ledger.store import Span, Store, number_of
from edge.ledger.wal import is_orphaned, is_whole, need_plain_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edge.ledger.audit import Audit

log = logging.getLogger(__name__)

_ANY = 1 << 62
_BATCH = 500
_LOOKED_AT = 20_000
"""Verdicts that a start looks at: a tenth of a second. Older ones are checked when they are read."""


class _Fresh(Store):
    """A ledger that is put together again."""

    def restore(self, rows: Iterable[Row]) -> None:
        """Add what is not here yet."""
        with self._transaction() as run:
            for row in rows:
                run("INSERT OR IGNORE INTO event VALUES (?, ?, ?)", row.seq, number_of(row.verdict), pack_row(row))

    def exclude(self, gaps: Iterable[Gap]) -> None:
        """Remove the verdicts that lie within gaps."""
        with self._transaction() as run:
            for gap in gaps:
                run("DELETE FROM event WHERE seq BETWEEN ? AND ?", gap.first, gap.last)

    def holes(self, delivered: int) -> list[tuple[int, int]]:
        """Return the ranges of numbers above `delivered` that no verdict has, up to the last verdict.

        Where nothing is known to be delivered, the first verdict here is where they begin.
        """
        return self._all(
            "SELECT seq + 1, next - 1 FROM (SELECT seq, lead(seq) OVER (ORDER BY seq) AS next FROM"
            " (SELECT ?1 AS seq WHERE ?1 > 0 UNION ALL SELECT seq FROM event WHERE seq > ?1)) WHERE next > seq + 1",
            delivered,
        )

    @property
    def count(self) -> int:
        """How many verdicts are here; all are looked at."""
        return self._one("SELECT count(*) FROM event")


def looks_whole(path: Path) -> bool:
    """Say whether a ledger that nobody has open can be read, as far as a look at its end tells; it stays as it is.

    Raises LedgerError or OSError if the disk does not let it be read.
    """
    need_plain_files(path)
    if is_orphaned(path):
        return False
    if not path.exists() or not path.stat().st_size:
        return True
    if not is_whole(path):
        return False
    try:
        store = Store(path, read_only=True)
    except DamagedLedgerError:
        return False
    try:
        after = max(0, store.last - _LOOKED_AT)
        while found := store.read(Span(after, store.last), _BATCH):
            after = last_of(found[-1])
    except DamagedLedgerError:
        return False
    finally:
        store.close()
    return True


def has_sound_ledger(path: Path) -> bool:
    """Say whether a ledger, and not an empty file, has a name and looks whole."""
    try:
        return path.exists() and path.stat().st_size > 0 and looks_whole(path)
    except OSError:
        return False


def repair(path: Path, claimed: int) -> None:
    """Put a ledger of all that can be read in the place of a damaged one, which nobody may have open.

    Numbers up to `claimed` may have been used; those that are not there make a gap. The damaged one stays in its place
    until the new one is whole. Raises LedgerError if the new one cannot be written or the damaged one not be read.
    """
    try:
        remove(unfinished(path))
        path.touch()  # Where only its log was left: until the new one is whole, something has its name.
        kept = _fill(unfinished(path), salvage(path), claimed)
        finish_writing(path)
        aside = take_place(path)
    except OSError as error:
        give_up(path)
        raise LedgerError(f"{path} is damaged and cannot be repaired ({error})") from error
    log.error("the ledger %s was damaged: %d verdicts were read from it, it is kept as %s", path, kept, aside.name)


def asked_for(path: Path) -> Path:
    """Return the file that asks the next start for a repair: a start looks at the newest verdicts only."""
    return path.with_suffix(".repair")


def _fill(fresh: Path, found: Iterable[Row | Gap | Marks | Audited], claimed: int) -> int:
    """Write what was found, each row once, and gaps where there are none; returns how many rows that are."""
    store = _Fresh(fresh)
    try:
        rows: list[Row] = []
        gaps: list[Gap] = []
        audits: dict[int, Audit] = {}
        marks = Marks()
        for entry in found:
            match entry:
                case Row():
                    rows.append(entry)
                    marks = marks.further(Marks(entry.delivered))
                case Gap():
                    gaps.append(entry)
                case Marks():
                    marks = marks.further(entry)
                case Audited(number, audit):
                    audits.setdefault(number, audit)
            if len(rows) == _BATCH:
                store.restore(rows)
                rows.clear()
        store.restore(rows)
        gaps = widest(gaps)
        store.exclude(gaps)
        commands = [audit for _, audit in sorted(audits.items(), key=itemgetter(0))]
        store.add((), [*gaps, *_missing(store, gaps, marks)], marks, commands)
        if store.last < claimed:
            store.add((), [Gap(first=store.last + 1, last=claimed, reason=DAMAGED, verdicts={})])
        return store.count
    finally:
        store.close()


def widest(gaps: Iterable[Gap]) -> list[Gap]:
    """Return the gaps in order without those that lie within another: their earlier states."""
    kept: list[Gap] = []
    for gap in sorted(gaps, key=lambda gap: (gap.first, -gap.last)):
        if not kept or gap.last > kept[-1].last:
            kept.append(gap)
    return kept


def _missing(store: _Fresh, gaps: list[Gap], marks: Marks) -> list[Gap]:
    """Return what is missing of what the broker does not have, up to the last verdict or known gap."""
    known = {gap.first: gap.last for gap in gaps}
    ranges = (left for hole in store.holes(marks.delivered) for left in unnamed(*hole, known, list(known)))
    among = [Gap(first=first, last=last, reason=DAMAGED, verdicts={}) for first, last in ranges]
    reached = max([marks.delivered, *(row.seq for row in store.newest(_ANY, 1))])
    behind = [gap for gap in gaps if gap.last > reached]
    filled = without_holes(behind, reached, reached)
    return among + [gap for gap in filled if isinstance(gap, Gap) and gap not in behind]


def unnamed(first: int, last: int, known: Mapping[int, int], starts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield what is left of a range of numbers without known ranges: last by first, and the first ones in order."""
    while first <= last:
        if first in known:
            first = known[first] + 1
            continue
        behind = bisect(starts, first)
        end = min(last, starts[behind] - 1) if behind < len(starts) else last
        yield first, end
        first = end + 1
