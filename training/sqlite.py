"""Why a sound SQLite file may still be of no use: in use, a full disk, no right to write. None of this is damage."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge.errors import InspectError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_FULL = ("SQLITE_FULL",)
_RIGHTS = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")
_DISK = ("SQLITE_IOERR",)


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Turn such an error of the file, whichever library passes it on, into InspectError with the remedy.

    Damage is raised as it came.
    """
    try:
        yield
    except Exception as error:
        found = _found(error)
        if found is None or (remedy := _remedy(path, found.sqlite_errorname)) is None:
            raise
        raise InspectError(f"{path} cannot be used ({found}); {remedy}") from error


def _found(error: BaseException | None) -> sqlite3.Error | None:
    """Return what SQLite itself said."""
    while error is not None and not isinstance(error, sqlite3.Error):
        error = error.__cause__
    # What Python's own module refuses has no code of SQLite's.
    return error if hasattr(error, "sqlite_errorname") else None


def _remedy(path: Path, name: str) -> str | None:
    """Return what to do about an error of SQLite's name, the extended ones begin with the others; None for damage."""
    if name.startswith(_BUSY):
        return "another command with the same question is running: wait for its end"
    if name.startswith(_FULL):
        return "make room there, or let XDG_CACHE_HOME name a folder on a larger disk"
    # Of a damaged header too SQLite says that it is read-only.
    allowed = os.access(path.parent, os.W_OK) and os.access(path, os.R_OK | os.W_OK)
    if name.startswith(_DISK) or (name.startswith(_RIGHTS) and not allowed):
        return "let this user write there, or let XDG_CACHE_HOME name another folder"
    return None
