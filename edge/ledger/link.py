"""A connection to SQLite, for all threads: one statement or one transaction at a time."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from edge.errors import DamagedLedgerError, FullLedgerError, LedgerError, UsedNumberError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KINDS = {
    sqlite3.SQLITE_ERROR: DamagedLedgerError,
    sqlite3.SQLITE_CORRUPT: DamagedLedgerError,
    sqlite3.SQLITE_NOTADB: DamagedLedgerError,
    sqlite3.SQLITE_IOERR_SHORT_READ: DamagedLedgerError,
    sqlite3.SQLITE_FULL: FullLedgerError,
    sqlite3.SQLITE_CONSTRAINT: UsedNumberError,
}
"""By SQLite's result code, the extended one before its primary one (sqlite.org/rescode.html).

What is asked is always the same: where it is called an error, a table is not. A short read is no disk's refusal: the
system read all that there is, and file or log end before what is in them says. SQLite 3.46 tells of a verdict's pages
behind the file's end so, which 3.40 takes for empty ones.
"""
_PAGES = 256  # Copied in one go.
_BUSY_SECONDS = 5.0
"""A reader of another process, such as `edge-inspect ledger`, holds the file for moments only."""


class Link:
    """Every call raises LedgerError, or of its kinds the one that fits. Texts are found as bytes."""

    def __init__(self, name: str, where: str, *, uri: bool = False) -> None:
        """Open a file, named by a path or a URI; errors name it as `name`."""
        self._name = name
        self._lock = threading.RLock()
        with self._translated():
            self._db = sqlite3.connect(
                where, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=uri
            )
            self._db.text_factory = bytes  # Bytes that a decayed word for their kind calls a text are what they were.

    def close(self) -> None:
        """Let go of the file; the last one that does moves what is in the log to it."""
        with self._lock, self._translated():
            self._db.close()

    def all(self, query: str, *values: Any) -> list[Any]:
        """Return all rows that a statement finds."""
        with self._lock, self._translated():
            return self._db.execute(query, values).fetchall()

    def run(self, script: str) -> None:
        """Run statements that find nothing."""
        with self._lock, self._translated():
            self._db.executescript(script)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Do all of what is done meanwhile by what is given, or on an error nothing."""
        with self._lock, self._translated():
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield lambda query, *values: self._db.execute(query, values)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def copy(self, path: Path) -> None:
        """Write all that is here to a new file, the log's pages too; others go on meanwhile."""
        with self._translated(), closing(sqlite3.connect(path)) as fresh:
            self._db.backup(fresh, pages=_PAGES)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0)
            kind = _KINDS.get(code) or _KINDS.get(code & 0xFF, LedgerError)
            raise kind(f"{self._name}: {error}") from error
        except (UnicodeDecodeError, OverflowError) as error:  # SQLite's words quote the file; its numbers have 63 bits.
            raise DamagedLedgerError(f"{self._name} is damaged ({error})") from error
