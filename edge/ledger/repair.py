"""Makes a new ledger of what can be read of a damaged one, which stays beside it as it was found."""

from __future__ import annotations

import glob
import logging
import os
from bisect import bisect
from operator import itemgetter
from typing import TYPE_CHECKING

from edge.contract.messages import Gap
from edge.errors import DamagedLedgerError, LedgerError
from edge.ledger.audit import Audited
from edge.ledger.rows import DAMAGED, Marks, Row, last_of, pack_row, without_holes
from edge.ledger.salvage import salvage
from edge.ledger.store import Span, Store, number_of
from edge.ledger.wal import index_of, is_orphaned, is_whole, log_of, need_plain_files

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


def repair(path: Path, claimed: int) -> None:
    """Put a ledger of all that can be read in the place of a damaged one, which nobody may have open.

    Numbers up to `claimed` may have been used; those that are not there make a gap. The damaged one stays in its place
    until the new one is whole. Raises LedgerError if the new one cannot be written or the damaged one not be read.
    """
    fresh = _fresh(path)
    try:
        _remove(fresh)
        path.touch()  # Where only its log was left: until the new one is whole, something has its name.
        kept = _fill(fresh, salvage(path), claimed)
        aside = _set_aside(path)
        fresh.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise LedgerError(f"{path} is damaged and cannot be repaired ({error})") from error
    log.error("the ledger %s was damaged: %d verdicts were read from it, it is kept as %s", path, kept, aside.name)


def make_folder(path: Path) -> None:
    """Make the folder of a ledger that was removed with it; raises LedgerError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_put_back(path, error) from error


def put_back(path: Path, store: Store) -> None:
    """Put a copy of a ledger that is open, but was removed or replaced, in its place; raises LedgerError.

    What has its name now is set aside.
    """
    copy = _copy(path)
    try:
        _remove(copy)
        store.copy(copy)
        aside = f"; what took its place is kept as {_set_aside(path).name}" if path.exists() else ""
        _remove(path)  # Of its own log and index nothing may be left beside the copy, which has all of them.
        copy.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise _not_put_back(path, error) from error
    log.error("the ledger %s was removed or replaced while it was in use; it is back%s", path, aside)


def _not_put_back(path: Path, error: OSError) -> LedgerError:
    problem = f"the ledger {path} was removed or replaced and cannot be put back ({error})"
    return LedgerError(f"{problem}; make room for it there, and do not end the daemon before")


def finish_repair(path: Path) -> None:
    """Let the new ledger take its place if a repair was broken off while files were renamed; raises OSError.

    The damaged one's log goes with it: SQLite would move its pages to the new ledger.
    """
    _remove(_copy(path))
    fresh = _fresh(path)
    if fresh.exists() and not path.exists():
        _move_log(path, max(_asides(path).items(), default=(1, _aside(path, 1)))[1])
        fresh.rename(path)
        _sync(path.parent)


def asked_for(path: Path) -> Path:
    """Return the file that asks the next start for a repair: a start looks at the newest verdicts only."""
    return path.with_suffix(".repair")


def _fresh(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _copy(path: Path) -> Path:
    return path.with_name(f"{path.name}.copy")


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


def _set_aside(path: Path) -> Path:
    aside = _aside(path, max(_asides(path), default=0) + 1)
    path.rename(aside)  # First: what has the name must have its log, until nothing has the name.
    _move_log(path, aside)
    return aside


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-damaged-{number}{path.suffix}")


def _asides(path: Path) -> dict[int, Path]:
    """Return what was set aside before, by its number: the last one has the highest."""
    found = path.parent.glob(f"{glob.escape(path.stem)}-damaged-*{glob.escape(path.suffix)}")
    numbers = {each.stem.rpartition("-")[2]: each for each in found}
    return {int(number): each for number, each in numbers.items() if number.isdecimal()}


def _move_log(path: Path, aside: Path) -> None:
    if log_of(path).exists():
        log_of(path).rename(log_of(aside))
    index_of(path).unlink(missing_ok=True)


def _remove(path: Path) -> None:
    for each in (path, log_of(path), index_of(path)):
        each.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have the new names survive a power cut (fsync(2): a folder of its own)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
