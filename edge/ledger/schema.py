"""What SQLite has to find in a ledger's file: the tables, made once and never changed, so that damage to them is seen.

By "Database File Format", sqlite.org/fileformat2.html: 1.3 the file's header, 2.6 the schema.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from edge.errors import DamagedLedgerError
from edge.ledger.wal import PAGE

if TYPE_CHECKING:
    from pathlib import Path

    from edge.ledger.link import Link

VERSION = 1
"""PRAGMA user_version: raised by what an older version could not read."""
APPLICATION = 0x45644C67
"""PRAGMA application_id: "EdLg", by which file(1) knows the file."""
_PRAGMAS = f"""
PRAGMA page_size = {PAGE};
PRAGMA auto_vacuum = NONE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 2000;
PRAGMA cache_size = -512;
"""
"""The first two count for a new file only. 2,000 pages are 1 MiB: a page that changes often is moved once."""
_TABLES = {
    b"event": b"CREATE TABLE event (seq INTEGER PRIMARY KEY, verdict INTEGER NOT NULL, body BLOB NOT NULL)",
    b"gap": b"CREATE TABLE gap (first INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    b"marks": b"CREATE TABLE marks (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    b"audit": b"CREATE TABLE audit (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
}
"""The same since the first version."""
_FOUND = [(b"table", name, name, page, sql) for page, (name, sql) in enumerate(_TABLES.items(), start=2)]
"""What SQLite says of them: each has the first page that was free."""
_SCHEMA = f"""
BEGIN IMMEDIATE;
{b";".join(_TABLES.values()).decode()};
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""
_MANNER = slice(18, 21)
"""Of the header: by which way of writing it may be written and read, and how much of each page is another's."""
_MANNERS = (b"\1\1\0", b"\2\2\0")
"""Without a log and with one; anything else has SQLite call it read-only, or take its rows for others."""


def need_sound_head(path: Path) -> None:
    """Raise DamagedLedgerError for a header by which SQLite would read or write a file in another way.

    A file that is not there yet, or that cannot be read, is SQLite's to tell of.
    """
    head = b""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(_MANNER.stop)
    if len(head) == _MANNER.stop and head[_MANNER] not in _MANNERS:
        raise DamagedLedgerError(f"{path}: its header is damaged")


def prepare(db: Link, name: str, *, read_only: bool) -> None:
    """Have a file that was just opened be a ledger: make its tables if it is new, or see that they are as made.

    Raises DamagedLedgerError where they are not.
    """
    if not read_only:
        db.run(_PRAGMAS)
    (version,), (application,) = (db.all(f"PRAGMA {each}")[0] for each in ("user_version", "application_id"))
    if version == application == 0 and not read_only:
        db.run(_SCHEMA)
    elif application != APPLICATION or version > VERSION:
        raise DamagedLedgerError(f"{name} was not written by this program, or by a newer version of it")
    tables = db.all("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master")
    if tables != _FOUND or db.all("PRAGMA auto_vacuum") != [(0,)]:
        raise DamagedLedgerError(f"{name}: its schema is damaged")
