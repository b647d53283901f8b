"""The ledger's file: SQLite, one row a verdict, a gap or a command. Decides nothing; any thread may call it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.contract.messages import Gap
from edge.errors import DamagedLedgerError
from edge.ledger.audit import OBEYED, Audit, Audited
from edge.ledger.link import Link
from edge.ledger.rows import (
    VERDICTS,
    Marks,
    Row,
    decode,
    encode,
    first_of,
    joined,
    need_order,
    pack_row,
    runs,
    unpack_row,
)
from edge.ledger.schema import need_sound_head, prepare
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from edge.contract.messages import Reason, Verdict

_READ = """
SELECT seq, verdict, body FROM (
  SELECT * FROM event WHERE seq > ?1 AND seq <= ?2 AND (?3 IS NULL OR verdict = ?3)
  ORDER BY seq LIMIT ?4
) UNION ALL SELECT first, NULL, body FROM (
  SELECT * FROM gap WHERE first > ?1 AND first <= ?2 ORDER BY first LIMIT ?4
)"""
"""Verdicts, and gaps without a verdict."""
_MARKS_ID = 1
_NONE = -1
"""Below every number."""
_NUMBERS = {verdict: number for number, verdict in enumerate(VERDICTS)}
_AUDITS = {True: (1_000, 256 << 10), False: (200, 64 << 10)}
"""Most records of commands, and most bytes of them: of those that were obeyed, and of the others."""
_TRIM = """
DELETE FROM audit WHERE id IN (
  SELECT id FROM (
    SELECT id, count(*) OVER newest AS rows, sum(length(body)) OVER newest AS bytes
    FROM audit WHERE id % 2 = ? WINDOW newest AS (ORDER BY id DESC)
  ) WHERE rows > ? OR bytes > ?
)"""


class Span(Record, frozen=True):
    """The verdicts numbered above `after` and up to `upto`."""

    after: int
    upto: int


class Store:
    """An open file; every call raises LedgerError, DamagedLedgerError where what is in the file is not right."""

    def __init__(self, path: Path | None, *, read_only: bool = False, settled: bool = False) -> None:
        """Open the file, or make it; None: a ledger in memory, that ends with the process.

        Read-only, not even its log is moved to the file: what is there stays as it is, byte for byte. Where it is also
        settled, with no log and nobody who writes, no file is made beside it and no lock is taken either.
        """
        self._name = str(path or ":memory:")
        if path is not None:
            need_sound_head(path)
        manner = "mode=ro&immutable=1" if settled else "mode=ro"
        where = f"{path.absolute().as_uri()}?{manner}" if path and read_only else self._name
        self._db = Link(self._name, where, uri=read_only)
        try:
            prepare(self._db, self._name, read_only=read_only)
            # Of its own where there is a log: who reads does not wait for a disk that hangs in a commit.
            self._reader = self._second(path) if path and not read_only and self._logs else self._db
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Move what is in the log to the file and let go of it."""
        try:
            self._reader.close()
        finally:
            self._db.close()

    def abandon(self) -> None:
        """Let go of the file and leave it and its log as they are: a damaged log's pages are not moved over sound ones.

        SQLite moves them when the last connection closes, but one that only reads cannot.
        """
        try:
            self._db.close()
        finally:
            self._reader.close()

    @property
    def marks(self) -> Marks:
        """How far what is here was delivered, by the last mark or by the last verdict."""
        found = self._all("SELECT id, body FROM marks")
        marks = decode(found[0], Marks) if found else Marks()
        newest = self._all("SELECT seq, verdict, body FROM event ORDER BY seq DESC LIMIT 1")
        return marks.further(Marks(max((self._row(row).delivered for row in newest), default=0)))

    @property
    def last(self) -> int:
        """The number of the last verdict that is here, or was; 0 before the first."""
        gaps = self._all("SELECT * FROM gap ORDER BY first DESC LIMIT 1")
        last_gap = decode(gaps[0], Gap).last if gaps else 0
        return max(self._one("SELECT max(seq) FROM event"), last_gap, self.marks.delivered)

    @property
    def size(self) -> int:
        """Bytes of the file with all that is in the log: those of a copy."""
        return self._one("PRAGMA page_count") * self._one("PRAGMA page_size")

    @property
    def used(self) -> int:
        """Bytes of the file that hold something; what was removed is used again before the file grows."""
        return self.size - self._one("PRAGMA freelist_count") * self._one("PRAGMA page_size")

    def add(
        self,
        rows: Iterable[Row],
        gaps: Iterable[Gap] = (),
        marks: Marks | None = None,
        audits: Sequence[Audit] = (),
    ) -> None:
        """Add all of these, or on an error none of them.

        Gaps stay as they are, though they touch: one may have been delivered, and nobody would hear that it grew.
        """
        with self._transaction() as run:
            for row in rows:
                run("INSERT INTO event VALUES (?, ?, ?)", row.seq, _NUMBERS[row.verdict], pack_row(row))
            for gap in gaps:
                # A disk that said it did not take them may have verdicts that memory shed.
                run("DELETE FROM event WHERE seq BETWEEN ? AND ?", gap.first, gap.last)
                run("INSERT OR REPLACE INTO gap VALUES (?, ?)", gap.first, encode(gap.first, gap))
            if marks is not None:
                self._mark(marks)
            if audits:
                self._record(audits)

    def read(self, span: Span, limit: int, verdict: Verdict | None = None) -> list[Row | Gap]:
        """Return the first `limit` verdicts, of one kind or of all, and gaps of a span, in order."""
        # By one statement: what is removed meanwhile is there, or its gap is, but not both.
        found = self._reader.all(_READ, *(span.after, span.upto, number_of(verdict), limit))
        rows, gaps = [row for row in found if row[1] is not None], [row for row in found if row[1] is None]
        for each in (rows, gaps):
            need_order(each, span.after, span.upto)
        entries: list[Row | Gap] = [self._row(row) for row in rows]
        if gaps:
            entries += [decode((row[0], row[2]), Gap) for row in gaps]
            entries.sort(key=first_of)
        return entries[:limit]

    def newest(self, before: int, limit: int, verdict: Verdict | None = None) -> list[Row]:
        """Return the last `limit` verdicts, of one kind or of all, numbered below `before`, the newest first."""
        rows = self._reader.all(
            "SELECT seq, verdict, body FROM event WHERE seq < ?1 AND (?2 IS NULL OR verdict = ?2)"
            " ORDER BY seq DESC LIMIT ?3",
            *(before, number_of(verdict), limit),
        )
        need_order(reversed(rows), _NONE, before - 1)
        return [self._row(row) for row in rows]

    def count_behind(self, number: int) -> int:
        """Return how many verdicts have higher numbers."""
        return self._one("SELECT count(*) FROM event WHERE seq > ?", number)

    def audits(self, before: int, limit: int) -> list[Audited]:
        """Return the last `limit` records of commands numbered below `before`, the newest first."""
        rows = self._all("SELECT * FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?", before, limit)
        need_order(reversed(rows), _NONE, before - 1)
        return [Audited(row[0], decode(row, Audit)) for row in rows]

    def expire(self, upto: int, limit: int) -> list[Row]:
        """Remove the first `limit` verdicts up to a number, with the gaps before them, and return them.

        The broker has them: the mark says so from then on, or else they would be missed one day.
        """
        rows = self._all("SELECT seq, verdict, body FROM event WHERE seq <= ? ORDER BY seq LIMIT ?", upto, limit)
        need_order(rows, _NONE, upto)
        gone = [self._row(row) for row in rows]
        if gone:
            with self._transaction() as run:
                run("DELETE FROM event WHERE seq <= ?", gone[-1].seq)
                run("DELETE FROM gap WHERE first <= ?", gone[-1].seq)
                self._mark(self.marks.further(Marks(upto)))
        return gone

    def remove(self, span: Span, verdict: Verdict, limit: int, reason: Reason | None) -> int:
        """Remove a span's first `limit` verdicts of a kind, leaving a gap if there is a reason; returns how many.

        Without a reason the broker has all of the span, see `expire`.
        """
        with self._transaction() as run:
            found = run(
                "SELECT seq, verdict, body FROM event WHERE seq > ? AND seq <= ? AND verdict = ? ORDER BY seq LIMIT ?",
                *(span.after, span.upto, _NUMBERS[verdict], limit),
            ).fetchall()
            need_order(found, span.after, span.upto)
            # What the broker does not have goes by what it says itself: no bit makes a PASS of a DEFECT.
            numbers = [self._row(row).seq if reason else row[0] for row in found]
            for first, last in runs(numbers):
                run("DELETE FROM event WHERE seq BETWEEN ? AND ?", first, last)
                if reason:
                    shed = Gap(first=first, last=last, reason=reason, verdicts={verdict: last - first + 1})
                    self._join(shed, above=span.after)
            if numbers and not reason:
                self._mark(self.marks.further(Marks(span.upto)))
        return len(numbers)

    def checkpoint(self) -> None:
        """Move the log's pages to the file, so that the log begins anew in the room that it has."""
        self._all("PRAGMA wal_checkpoint(RESTART)")

    def copy(self, path: Path) -> None:
        """Write all that is here to a new file, the log's pages too; who reads need not wait. Raises LedgerError."""
        self._db.copy(path)

    def forget(self, upto: int) -> None:
        """Remove all up to a number, and the gaps that begin there."""
        with self._transaction() as run:
            run("DELETE FROM event WHERE seq <= ?", upto)
            run("DELETE FROM gap WHERE first <= ?", upto)

    @property
    def _logs(self) -> bool:
        """Whether SQLite could make a log beside the file: some file systems do not allow it."""
        return bool(self._all("PRAGMA journal_mode") == [(b"wal",)])

    def _second(self, path: Path) -> Link:
        """Return a connection that only reads, and has the log open too, whatever happens to its name."""
        reader = Link(self._name, f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            reader.run("PRAGMA cache_size = -256")
            reader.all("PRAGMA user_version")  # Opens the log.
        except BaseException:
            reader.close()
            raise
        return reader

    def _row(self, row: tuple[int, object, object]) -> Row:
        seq, number, body = row
        found = unpack_row(seq, body)
        if number != VERDICTS.index(found.verdict):  # No checksum covers it.
            raise DamagedLedgerError(f"{self._name}: row {seq} is damaged")
        return found

    def _mark(self, marks: Marks) -> None:
        self._all("INSERT OR REPLACE INTO marks VALUES (?, ?)", _MARKS_ID, encode(_MARKS_ID, marks))

    def _record(self, audits: Sequence[Audit]) -> None:
        """Write records of commands, the oldest giving way: odd numbers are those that were obeyed."""
        newest = self._one("SELECT max(id) FROM audit") // 2
        for count, audit in enumerate(audits, start=newest + 1):
            number = 2 * count + (audit.outcome in OBEYED)
            self._all("INSERT INTO audit VALUES (?, ?)", number, encode(number, audit))
        for obeyed, most in _AUDITS.items():
            self._all(_TRIM, int(obeyed), *most)

    def _join(self, gap: Gap, above: int) -> None:
        """Write a gap, as one with those that touch it and have its reason; what begins at `above` or before stays."""
        before = self._all(
            "SELECT * FROM gap WHERE first < ? AND first > ? ORDER BY first DESC LIMIT 1", gap.first, above
        )
        behind = self._all("SELECT * FROM gap WHERE first = ?", gap.last + 1)
        for other in (decode(row, Gap) for row in (*before, *behind)):
            if other.reason == gap.reason and (other.last + 1 == gap.first or gap.last + 1 == other.first):
                self._all("DELETE FROM gap WHERE first = ?", other.first)
                gap = joined(gap, other)
        self._all("INSERT OR REPLACE INTO gap VALUES (?, ?)", gap.first, encode(gap.first, gap))

    def _one(self, query: str, *values: Any) -> int:
        found = self._all(query, *values)
        return int(found[0][0] or 0) if found else 0

    def _all(self, query: str, *values: Any) -> list[Any]:
        return self._db.all(query, *values)

    def _transaction(self) -> AbstractContextManager[Any]:
        return self._db.transaction()


def number_of(verdict: Verdict | None) -> int | None:
    """Return by which number a kind of verdict stands in the file; None for all."""
    return None if verdict is None else _NUMBERS[verdict]
