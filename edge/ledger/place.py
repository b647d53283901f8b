"""Who has a ledger's name: a repaired one, or a copy of one that was removed, takes its place, wherever a kill comes.

What is being written is named `.copy`; `.new` is whole, and takes the place at the next start if it could not before.
"""

from __future__ import annotations

import glob
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from edge.contract import storage
from edge.errors import DamagedLedgerError, FullLedgerError, LedgerError
from edge.ledger.room import RESERVE_BYTES
from edge.ledger.wal import index_of, log_of

if TYPE_CHECKING:
    from pathlib import Path

    from edge.ledger.store import Store

log = logging.getLogger(__name__)


def unfinished(path: Path) -> Path:
    """Return where what will take a ledger's place is written."""
    return path.with_name(f"{path.name}.copy")


def finished(path: Path) -> Path:
    """Return where it is from when it is whole until it has its place."""
    return path.with_name(f"{path.name}.new")


def make_folder(path: Path) -> None:
    """Make the folder of a ledger that was removed with it; raises LedgerError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_put_back(path, error) from error


def copy(path: Path, store: Store) -> None:
    """Write a copy of a ledger that is open, but was removed or replaced, to take its place; raises LedgerError."""
    try:
        remove(unfinished(path))
        _need_room(path, store.size + RESERVE_BYTES)
        store.copy(unfinished(path))
        finish_writing(path)
    except OSError as error:
        give_up(path)
        raise _not_put_back(path, error) from error


def put_back(path: Path, *, is_own: bool) -> None:
    """Let the copy take its place; raises LedgerError.

    What has its name now is set aside, unless it is what was copied: then the copy has all of it, and its log.
    """
    aside = ""
    try:
        if path.exists() and not is_own:
            aside = f"; what took its place is kept as {set_aside(path).name}"
        for each in (log_of(path), index_of(path)):  # Nothing of another may be left beside the copy.
            each.unlink(missing_ok=True)
        finished(path).rename(path)
        storage.sync(path.parent)
    except OSError as error:
        give_up(path)
        raise _not_put_back(path, error) from error
    log.error("the ledger %s was removed or replaced while it was in use; it is back%s", path, aside)


def _not_put_back(path: Path, error: OSError) -> LedgerError:
    problem = f"the ledger {path} was removed or replaced and cannot be put back ({error})"
    kind = FullLedgerError if isinstance(error, FullLedgerError) else LedgerError
    return kind(f"{problem}; make room for it there, and do not end the daemon before")


def _need_room(path: Path, size: int) -> None:
    """Leave the disk's last room to others where it would not do."""
    disk = os.statvfs(path.parent)
    if (free := disk.f_bavail * disk.f_frsize) < size:
        raise FullLedgerError(f"it takes {size / 2**20:.1f} MiB, {free / 2**20:.1f} are free")


def finish_writing(path: Path) -> None:
    """Have it known that what was written to take the place is whole; raises OSError."""
    if log_of(unfinished(path)).exists():  # A full disk keeps SQLite from moving it to the file, without a word.
        raise FullLedgerError("not all of it could be written; make room")
    unfinished(path).rename(finished(path))
    storage.sync(path.parent)


def take_place(path: Path) -> Path:
    """Let what is whole have its place and return under which name the other is kept; raises OSError."""
    aside = set_aside(path)
    finished(path).rename(path)
    storage.sync(path.parent)
    return aside


def give_up(path: Path) -> None:
    """Leave nothing half-done on the disk; but what is whole is all that there is where nothing has the name."""
    with suppress(OSError):  # Whoever gives up tells why; the next try says what is in its way.
        remove(unfinished(path))
        if path.exists():
            remove(finished(path))


def drop_copy(path: Path) -> None:
    """Remove a copy of what has its place again, before that has more than the copy; raises LedgerError."""
    try:
        remove(finished(path))
        storage.sync(path.parent)
    except OSError as error:
        problem = f"{finished(path)} cannot be removed ({error.strerror}), and would take the place of {path}"
        raise LedgerError(f"{problem} at the next start; remove it") from error


def finish_repair(path: Path) -> bool:
    """Let what is whole take its place if a kill came before; says whether there was any, and raises LedgerError.

    The log of the one before goes with it: SQLite would move its pages to the new ledger.
    """
    with suppress(OSError):
        remove(unfinished(path))
    if not _is_whole(finished(path)):
        return False
    try:
        if path.exists():
            set_aside(path)
        else:
            last, aside = max(_asides(path).items(), default=(1, _aside(path, 1)))
            _move_log(path, _aside(path, last + 1) if log_of(aside).exists() else aside)
        finished(path).rename(path)
        storage.sync(path.parent)
    except OSError as error:
        raise LedgerError(f"{finished(path)} cannot take the place of {path} ({error}); check the disk") from error
    log.warning("the ledger %s took its place, which the last end had kept it from", path)
    return True


def _is_whole(path: Path) -> bool:
    if not path.is_file() or log_of(path).exists():
        return False
    from edge.ledger.store import Store  # Hardly ever is there anything to be looked at.

    try:
        Store(path, read_only=True, settled=True).close()
    except DamagedLedgerError:  # Somebody else's.
        return False
    return True


def set_aside(path: Path) -> Path:
    """Give a ledger and its log another name, under which they are kept as they are; raises OSError."""
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


def remove(path: Path) -> None:
    """Remove a file and all that SQLite may have beside it; raises OSError."""
    for each in (path, log_of(path), index_of(path), path.with_name(f"{path.name}-journal")):
        each.unlink(missing_ok=True)
