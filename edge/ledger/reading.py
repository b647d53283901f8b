"""Opens a ledger to look at it: of a running daemon, of one that was killed, or a copy; nothing there is changed.

SQLite would make files beside a ledger that has none open, and asks for the right to (sqlite.org/wal.html, "Read-Only
Databases"); the index of a log that nobody has open it makes anew, although only the old one knows whether the log is
all there. So a log that nobody has open is looked at as a copy.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import sys
import time
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from edge.contract.messages import Gap
from edge.errors import DamagedLedgerError, LedgerError
from edge.ledger.audit import Audit
from edge.ledger.retention import stamp_of
from edge.ledger.rows import Row, decode, last_of, need_order
from edge.ledger.store import Span, Store, number_of
from edge.ledger.wal import index_of, is_orphaned, log_of, need_plain_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from edge.contract.messages import Verdict

T = TypeVar("T")

BATCH = 500
"""Rows read at once: a longer look would keep the daemon's log from beginning anew."""
_FEW = 20
_ANY = 1 << 63
_MOST_FAULTS = 10
_PROGRESS_SECONDS = 1.0
_MAGIC = b"SQLite format 3\0"
_LOCK = "hhqqi4x"
"""fcntl(2), struct flock: kind, from where, begin, length, process."""
_IN_USE = 128
"""The byte of the index that each process which has it open holds a lock on (SQLite's os_unix.c, UNIX_SHM_DMS)."""


class Reader(Store):
    """A ledger that is looked at, and not changed."""

    def __init__(self, path: Path, *, settled: bool = False) -> None:
        """Open it; see Store."""
        super().__init__(path, read_only=True, settled=settled)

    def nth_newest(self, span: Span, count: int, verdict: Verdict | None = None) -> int:
        """Return the number of the last verdict but `count - 1` of a kind in a span; 0 if there are not so many."""
        found = self._all(
            "SELECT seq FROM event WHERE seq > ?1 AND seq <= ?2 AND (?3 IS NULL OR verdict = ?3)"
            " ORDER BY seq DESC LIMIT 1 OFFSET ?4",
            *(span.after, span.upto, number_of(verdict), count - 1),
        )
        need_order(found, span.after, span.upto)
        return int(found[0][0]) if found else 0

    def checked(self, after: int, limit: int) -> list[tuple[int, Row | DamagedLedgerError]]:
        """Return the first `limit` verdicts behind a number, or what is wrong with them, by number."""
        rows = self._all("SELECT seq, verdict, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?", after, limit)
        need_order(rows, after, _ANY)
        return [(row[0], _tried(self._row, row)) for row in rows]

    def checked_gaps(self) -> list[Gap | DamagedLedgerError]:
        """Return all gaps in order, or what is wrong with them."""
        rows = self._all("SELECT * FROM gap ORDER BY first")
        need_order(rows, 0, _ANY)
        return [_tried(lambda row: decode(row, Gap), row) for row in rows]

    def checked_audits(self) -> list[Audit | DamagedLedgerError]:
        """Return all records of commands in order, or what is wrong with them."""
        rows = self._all("SELECT * FROM audit ORDER BY id")
        need_order(rows, 0, _ANY)
        return [_tried(lambda row: decode(row, Audit), row) for row in rows]

    def faults(self) -> list[str]:
        """Return what SQLite finds wrong with the file's structure."""
        found = [text.decode(errors="replace") for (text,) in self._all(f"PRAGMA integrity_check({_MOST_FAULTS})")]
        return [] if found == ["ok"] else found


def _tried(read: Callable[[Any], T], row: Any) -> T | DamagedLedgerError:
    try:
        return read(row)
    except DamagedLedgerError as error:
        return error


def ledger_file(path: Path) -> Path:
    """Return the file of a ledger that is named by its file or folder; raises LedgerError if there is none."""
    from edge.ledger.ledger import FILE  # With all that writes; most ways to look need nothing of it.

    file = path
    try:
        file = path / FILE if path.is_dir() else path
        need_plain_files(file)
        orphaned = is_orphaned(file)
        start = b"" if orphaned else _start(file)
    except LedgerError:
        raise
    except FileNotFoundError:
        raise LedgerError(f"{file}: no such ledger; name a daemon's state_dir, or a ledger's file") from None
    except OSError as error:
        raise LedgerError(f"{file} cannot be read ({error.strerror}); may this user (sudo)?") from error
    if orphaned:
        raise LedgerError(f"{file} is empty or gone, its log is not; start the daemon anew: it repairs the ledger")
    if start != _MAGIC:
        raise LedgerError(f"{file} is no ledger{'' if start else ' yet: it is empty'}; name a ledger's file or folder")
    return file


def _start(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(len(_MAGIC))


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """Open a ledger's file to read; raises LedgerError."""
    with ExitStack() as stack:
        if not log_of(path).exists():
            store = Reader(path, settled=True)
        elif _is_in_use(path):
            store = Reader(path)
        else:
            copy = _copied(path, stack)
            # A daemon that started meanwhile may have moved the log to the file between the two.
            store = Reader(path) if _is_in_use(path) else Reader(copy)
        stack.callback(store.close)
        yield store


def _is_in_use(path: Path) -> bool:
    """Say whether a process has a ledger open: the question by which SQLite decides whether to make its index anew.

    Asked, not tried: a daemon that starts just now must not find the lock taken.
    """
    lock = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, _IN_USE, 1, 0)
    try:
        with index_of(path).open("rb") as index:
            found: int = struct.unpack(_LOCK, fcntl.fcntl(index, fcntl.F_GETLK, lock))[0]
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LedgerError(f"{index_of(path)} cannot be read ({error.strerror}); may this user (sudo)?") from error
    return found != fcntl.F_UNLCK


def _copied(path: Path, stack: ExitStack) -> Path:
    try:
        copy = Path(stack.enter_context(TemporaryDirectory(prefix="edge-inspect-")), path.name)
        shutil.copyfile(path, copy)
        shutil.copyfile(log_of(path), log_of(copy))
    except OSError as error:
        problem = f"{path} cannot be copied to look at it ({error}); name a folder with room in TMPDIR"
        raise LedgerError(problem) from error
    return copy


def entries(store: Reader, span: Span, verdict: Verdict | None = None, batch: int = BATCH) -> Iterator[Row | Gap]:
    """Yield a span's verdicts, of one kind or of all, and its gaps, but for those that surely have none of the kind."""
    after = span.after
    while found := store.read(Span(after, span.upto), batch, verdict):
        yield from (entry for entry in found if isinstance(entry, Row) or _may_name(entry, verdict))
        after = last_of(found[-1])


def counted(things: Iterable[T], doing: str) -> Iterator[T]:
    """Pass things on, and say on stderr now and then how far it is: on a terminal in one line."""
    seconds, end = (_PROGRESS_SECONDS, "\r") if sys.stderr.isatty() else (10 * _PROGRESS_SECONDS, "\n")
    said = time.monotonic()
    for count, thing in enumerate(things, start=1):
        yield thing
        if time.monotonic() - said > seconds:
            said = time.monotonic()
            print(f"{doing}: {count} verdicts so far", end=end, file=sys.stderr, flush=True)


def newest(store: Reader, span: Span, count: int, verdict: Verdict | None) -> Span:
    """Return the end of a span that has so many verdicts of the kind, and the gaps between them."""
    first = store.nth_newest(span, count, verdict)
    return Span(first - 1, span.upto) if first else span


def first_at(store: Reader, moment: float) -> int:
    """Return the number from which on verdicts were given at this time (seconds since 1970) or later.

    Those with a clock that was not synchronised are taken to be as old as the next one with a clock that was.
    """
    low, high = 1, store.last + 1
    while low < high:
        middle = (low + high) // 2
        # What is as old as the one numbered `high` needs no look behind that: each verdict is looked at once at most.
        synced = _first_synced(store, Span(middle - 1, high - 1))
        if synced is None or synced[1] >= moment:
            high = middle
        else:
            low = synced[0] + 1
    return low


def _first_synced(store: Reader, span: Span) -> tuple[int, float] | None:
    """Return the first verdict of a span that has a time of a synchronised clock: its number, and that time."""
    near = min(span.after + _FEW, span.upto)
    found = chain(entries(store, Span(span.after, near)), entries(store, Span(near, span.upto)))
    rows = (entry for entry in found if isinstance(entry, Row))
    for row in counted(rows, f"looking for the time from {span.after + 1} on"):
        if (stamp := stamp_of(row)).clock_synced:
            return row.seq, stamp.time.timestamp()
    return None


def _may_name(gap: Gap, verdict: Verdict | None) -> bool:
    return verdict is None or not gap.verdicts or verdict in gap.verdicts
