"""Reads all of a ledger and says what is in it, and what is wrong with it."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from edge.errors import DamagedLedgerError
from edge.ledger.listing import describe
from edge.ledger.reading import BATCH, counted, opened
from edge.ledger.repair import asked_for, unnamed, widest
from edge.ledger.rows import Row
from edge.ledger.wal import is_whole, log_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from edge.contract.messages import Verdict
    from edge.ledger.reading import Reader

T = TypeVar("T")
_COPIED = "start the daemon anew; of a copy: stop the daemon, then copy the file and its -wal"
_LOOKS = 3
_BETWEEN_SECONDS = 0.1
"""A running daemon may be writing the log while it is read."""


class Findings:
    """What was found, line by line."""

    def __init__(self, path: Path) -> None:
        self.remedy = (
            f"touch {asked_for(path)}, start the daemon anew: it repairs the ledger, this file stays beside it"
        )
        """For what a repair mends."""
        self.lines: list[tuple[str, str]] = []
        """What is there: a title and a text."""
        self.problems: list[str] = []
        """What is wrong, each with its remedy."""

    def note(self, title: str, text: str) -> None:
        """Add what is there."""
        self.lines.append((title, text))

    def blame(self, problem: str, remedy: str) -> None:
        """Add what is wrong."""
        self.problems.append(f"{problem}; {remedy}")


def verify(path: Path, budget: int | None) -> Findings:
    """Read a ledger's file to its end; `budget` is how many bytes it may hold, if that is known."""
    found = Findings(path)
    found.note("ledger", str(path))
    if not any(_looks_whole(path, again) for again in range(_LOOKS)):
        found.blame(f"{log_of(path).name} is damaged", _COPIED)
    try:
        with opened(path) as store:
            _check(store, found)
            _tell_room(store.used, budget, found)
    except DamagedLedgerError as error:
        found.blame(str(error), found.remedy)
    aside = sorted(path.parent.glob(f"{path.stem}-damaged-*{path.suffix}"))
    for file in aside:
        found.note("set aside", f"{file.name}, {_mib(file.stat().st_size)}: damaged, and repaired; kept until removed")
    return found


def _looks_whole(path: Path, again: int) -> bool:
    if again:
        time.sleep(_BETWEEN_SECONDS)
    return is_whole(path)


def _check(store: Reader, found: Findings) -> None:
    for fault in store.faults():
        found.blame(fault.partition("\n")[0], found.remedy)
    kinds: Counter[Verdict] = Counter()
    holes: list[tuple[int, int]] = []
    delivered = store.marks.delivered
    before = 0
    for seq, row in counted(_all_rows(store), "reading"):
        if seq != before + 1 and seq > delivered:
            holes.append((before + 1, seq - 1))
        before = seq
        match row:
            case Row(verdict=verdict):
                kinds[verdict] += 1
            case problem:
                found.blame(str(problem), found.remedy)
    found.note("verdicts", _counted(kinds, before))
    _check_gaps(store, holes, found)
    found.note("commands", f"{len(_readable(store.checked_audits(), found))} recorded")


def _all_rows(store: Reader) -> Iterator[tuple[int, Row | DamagedLedgerError]]:
    after = 0
    while rows := store.checked(after, BATCH):
        yield from rows
        after = rows[-1][0]


def _check_gaps(store: Reader, holes: list[tuple[int, int]], found: Findings) -> None:
    """Look at the gaps last: of a running daemon's verdicts some may have been shed meanwhile."""
    delivered = store.marks.delivered
    gaps = _readable(store.checked_gaps(), found)
    known = {gap.first: gap.last for gap in widest(gaps)}
    starts = list(known)
    for first, last in holes:
        # Where nothing is known to be delivered, the first verdict here is where they begin.
        begin = max(first, delivered + 1) if delivered or first > 1 else last + 1
        for low, high in unnamed(begin, last, known, starts):
            found.blame(f"no verdict has the numbers {low} to {high}, and no gap says why", found.remedy)
    for gap in gaps:
        found.note("gap", f"{gap.first} to {gap.last}: {describe(gap)}")
    found.note("delivered", f"up to {delivered}; {store.count_behind(delivered)} wait for the broker")


def _readable(records: Iterable[T | DamagedLedgerError], found: Findings) -> list[T]:
    """Return those that are whole, and blame the others."""
    whole: list[T] = []
    for record in records:
        if isinstance(record, DamagedLedgerError):
            found.blame(str(record), found.remedy)
        else:
            whole.append(record)
    return whole


def _tell_room(used: int, budget: int | None, found: Findings) -> None:
    found.note("room", _mib(used) + (f" of {_mib(budget)} ({100 * used // budget}%)" if budget else ""))


def _counted(kinds: Counter[Verdict], last: int) -> str:
    each = ", ".join(f"{verdict} {count}" for verdict, count in sorted(kinds.items()))
    return f"{kinds.total()}, the last number is {last}" + (f": {each}" if each else "")


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"
