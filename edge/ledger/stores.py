"""The ledger's file, and memory in its place while the disk takes nothing more."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import msgspec

from edge.errors import FullLedgerError, LedgerError
from edge.ledger.renumber import has_any, make_way, put_behind, unlike
from edge.ledger.retention import Retention, stamp_of
from edge.ledger.room import Room
from edge.ledger.rows import Marks, Row, last_of
from edge.ledger.shed import Shedder
from edge.ledger.shelf import Shelf
from edge.ledger.store import Span, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.contract.messages import Gap, Verdict
    from edge.ledger.audit import Audit
    from edge.ledger.mainfile import MainFile
    from edge.ledger.rows import Numbering

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""How often a disk that refused is asked again."""
SPARE_BYTES = 16 << 20
"""Of verdicts in memory while the disk refuses them."""
_BATCH = 500
_CHUNK = 200  # Looked at, or removed, in one go for their age.
_ANY = _ALL = 1 << 62


class Stores:
    """Where verdicts go: always somewhere. One thread calls it, but for `take`, `look` and `newest`, which any may."""

    def __init__(self, main: MainFile, budget: int, retention: Retention) -> None:
        """Take the file; `budget` is how many bytes of verdicts it may hold."""
        self._refused = ""
        self.marks = Marks()
        """How far the broker has them."""
        self.backlog: int | None = None
        """Behind which number a file that was opened late has verdicts that nobody took yet; None: there is none."""
        self._main = main
        self._main.on_opened = self._take_in_first
        self._room = Room(main.path.with_suffix(".reserve"), budget)
        self._retention = retention
        self._shelf = Shelf(main)
        self._last_in_memory = 0
        self._is_astray = False
        """Whether the file would be lost with the process: it was removed or replaced, and is not back."""
        self._retry_at = 0.0
        self._fresh: tuple[Sequence[Row], Sequence[Gap]] = (), ()  # What is being written.
        self._shedder = Shedder(main.moving)

    @property
    def last(self) -> int:
        """The number of the last verdict that was written."""
        return max(self._main.last, self._last_in_memory)

    @property
    def lost(self) -> int:
        """How many were shed before the broker had them."""
        return sum(self._shedder.lost.values())

    @property
    def trouble(self) -> str:
        """Why the file takes nothing at present, or cannot be read, or numbers are not safe; empty if all is well."""
        return "; ".join(filter(None, (self._refused or self._shelf.unread, self._main.numbers.unsecured)))

    @property
    def in_memory(self) -> bool:
        """Whether verdicts go to memory at present: the file takes nothing."""
        return self._shelf.spare is not None

    @property
    def doubt(self) -> str:
        """Why what `look` and `newest` do not find may be there nevertheless; empty if it is not."""
        return self._shelf.doubt(self._refused)

    def open(self) -> None:
        """Open the file, repaired where it is damaged; where that cannot be, memory has to do until `tend` can."""
        try:
            self._main.look_through()
            self._note_numbers()
        except OSError as error:
            self._main.expect(error)
            self._fall_back(error)
            self._retry_at = 0.0  # What kept it from opening may have been over a moment later.

    def take_over(self, rows: Sequence[Row], gaps: Sequence[Gap]) -> bool:
        """Go on where another thread ended, at any point; says whether what it was to write last surely is written."""
        self._main.numbers.renew()  # It may say that memory has some, though none got there.
        if self._shelf.spare is None and self._main.store is None and not self._main.damaged:
            self.open()
        try:
            if self._shelf.spare is None:
                self._main.use(lambda file: self._main.hold(file.last))
                return has_any(self._main.open(), rows, gaps)
        except OSError as error:  # Then memory gives the same numbers again: `unlike` asks the file once it can.
            self._fall_back(error)
        if (spare := self._shelf.spare) is None:
            return False
        self._last_in_memory = max(self._last_in_memory, spare.last)
        return has_any(spare, rows, gaps)

    def close(self, audits: Sequence[Audit]) -> int:
        """Write what is left and let go of the file; returns how many verdicts neither disk nor broker has."""
        self._retry_at = 0.0
        self.tend()
        return self.count_in_memory(self.marks.delivered) + self._main.close(self.marks, audits)

    def count_at_risk(self, delivered: int) -> int:
        """Return how many verdicts go with the process that the broker has not. Any thread may ask; no disk is."""
        return max(0, self.last - delivered) if self._is_astray else self.count_in_memory(delivered)

    def count_in_memory(self, delivered: int) -> int:
        """Return how many verdicts memory alone has that the broker has not."""
        spare = self._shelf.spare
        try:
            return spare.count_behind(delivered) if spare is not None else 0
        except LedgerError:  # It was closed just now: all is in the file.
            return 0

    def write(self, number: Numbering, marks: Marks | None = None, audits: Sequence[Audit] = ()) -> None:
        """Write verdicts and gaps, numbered from behind `last` on, commands, and the marks if they are given."""
        self.marks = marks or self.marks
        if self._shelf.spare is None:
            try:
                # Not before the file is found whole: a damaged one may not have known its last number.
                self._main.use(lambda file: self._add(file, *self._numbered(number), marks, audits))
            except OSError as error:  # Not only LedgerError: see `tend`.
                self._fall_back(error)
        if self._shelf.spare is not None:
            self._shelf.spare.add(*self._numbered(number), None, audits)
            self._shed(self._shelf.spare, SPARE_BYTES)
        rows, gaps = self._fresh
        self._fresh = (), ()
        self._shedder.count(gaps)  # Of what was shed on its way here.
        last = max([self.last, *(row.seq for row in rows[-1:]), *(gap.last for gap in gaps[-1:])])
        if self._shelf.spare is None:
            self._main.hold(last)
        else:
            self._last_in_memory = last

    def _numbered(self, number: Numbering) -> tuple[Sequence[Row], Sequence[Gap]]:
        rows, gaps = self._fresh = number(self.last + 1)
        self._main.numbers.cover(self.last + len(rows) + len(gaps))
        return rows, gaps

    def take(self, after: int, limit: int) -> list[Row | Gap]:
        """Return what `look` does of all behind a number; it is not shed any more. What is being shed comes later.

        What is missing there without a reason, and without a doubt, is told by gaps beyond `limit`. Up to what was
        delivered nothing is missed.
        """
        with self._main.moving:
            last = min(self.last, self._shedder.open_upto)  # Once: more is written meanwhile.
            found = self.look(Span(after, last), limit)
            if not self.doubt and self.backlog is None:
                known = max(after, self.marks.delivered, self.marks.passed)
                found = self._shelf.without_holes(found, known, last if len(found) < limit else last_of(found[-1]))
            self._shedder.taken = max([self._shedder.taken, *map(last_of, found[-1:])])
        return found

    def look(self, span: Span, limit: int) -> list[Row | Gap]:
        """Return the first `limit` verdicts and gaps of a span, in order; none while they cannot be read."""
        return self._shelf.look(span, limit)

    def newest(self, before: int, limit: int, verdict: Verdict | None) -> list[Row]:
        """Return the last `limit` verdicts below a number, of one kind or of all, the newest first."""
        return self._shelf.newest(before, limit, verdict)

    def tend(self) -> None:
        """Repair what `take` found damaged, go back to a disk that takes verdicts again, keep to budget and time."""
        try:
            self._is_astray = self._main.is_displaced
            is_due = time.monotonic() >= self._retry_at
            if is_due and self._main.damaged:
                self._main.mend()
            elif is_due and self._is_astray:
                self._main.put_back()
                self._retry_at = time.monotonic() + RETRY_SECONDS  # Who removes it again does not get a copy each time.
            self._is_astray = self._is_astray and self._main.is_displaced
            if self._shelf.spare is not None and is_due:
                self._go_back(self._shelf.spare)
            if self._shelf.spare is None:
                self._note_numbers()
                self._room.look()
                self._main.use(lambda file: self._shed(file, self._room.bytes))
                self._main.use(self._expire)
        except OSError as error:  # Not only LedgerError: a dying disk does not even tell how full it is.
            self._fall_back(error)

    def _note_numbers(self) -> None:
        """Have it recorded that the file has all, with gaps for what was lost with the memory of an earlier life."""
        self._main.numbers.note_memory(in_memory=False)
        self._main.numbers.cover(self._main.last)

    def _take_in_first(self, file: Store) -> None:
        """Hear how far the file was delivered; where it opened late, delivering has to go back to there.

        Memory's numbers, none of which it wrote there yet, make way before anybody reads file and memory as one.
        """
        marks, last = file.marks, file.last  # Before anything is changed: what fails is done once more.
        if (spare := self._shelf.spare) is not None:
            self.backlog = marks.delivered
            self.marks = Marks(marks.delivered, passed=self.marks.delivered)
            self._note_anew(make_way(spare, last, self.last))
        self.marks = self.marks.further(marks)
        self._main.on_opened = self._take_in

    def _take_in(self, file: Store) -> None:
        self.marks = self.marks.further(file.marks)

    def _add(
        self, file: Store, rows: Sequence[Row], gaps: Sequence[Gap], marks: Marks | None, audits: Sequence[Audit] = ()
    ) -> None:
        try:
            file.add(rows, gaps, marks, audits)
        except FullLedgerError:
            self._room.release()
            file.checkpoint()
            self._room.run_out(file.used)
            self._shed(file, self._room.bytes)
            file.checkpoint()
            file.add(rows, gaps, marks, audits)

    def _shed(self, store: Store, budget: int) -> None:
        self._shedder.shed(store, budget, delivered=self.marks.delivered, last=self.last)

    def _expire(self, file: Store) -> None:
        """Remove some of what is old enough and delivered, or else look for it: one step at a time."""
        retention, now = self._retention, time.monotonic()
        upto = min(retention.upto, self.marks.delivered)
        if upto > retention.removed:
            gone = file.expire(upto, _CHUNK)
            retention.removed = gone[-1].seq if len(gone) == _CHUNK else upto
            retention.on_removed({stamp_of(row).id for row in gone})
        elif retention.is_due(now):
            retention.look(file.read(Span(retention.looked, self.last), _CHUNK), now)

    def _fall_back(self, error: Exception) -> None:
        trouble = f"{error}; verdicts are kept in memory, and are lost if the device loses its power"
        if trouble != self._refused:
            log.error("%s", trouble)
        self._refused = trouble
        self._main.numbers.note_memory(in_memory=True)
        if self._shelf.spare is None:
            self._shelf.spare, self._main.is_another = Store(None), False  # From now on it numbers behind this file.
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _go_back(self, spare: Store) -> None:
        if self._main.store is None:
            self._main.look_through()
        self._main.use(lambda file: self._return_to_file(file, spare))

    def _return_to_file(self, file: Store, spare: Store) -> None:
        """Move what is in memory to the file; broken off, it goes on where it was, with a repaired file too."""
        while batch := spare.read(Span(0, self.last), _BATCH):
            # Whoever reads does not wait for the disk: until memory forgets them, both have them.
            others = self._restore(file, batch)
            with self._main.moving:
                self._note_anew(put_behind(spare, others, self.last))
                self._main.hold(last_of(batch[-1]))
                spare.forget(last_of(batch[-1]))
        self._add(file, (), (), None, [each.audit for each in reversed(spare.audits(_ANY, _ALL))])
        with self._main.moving:
            self._shelf.spare, self._refused = None, ""
            spare.close()
        log.warning("the ledger %s takes verdicts again", self._main.path)

    def _restore(self, file: Store, batch: Sequence[Row | Gap]) -> list[Row | Gap]:
        """Add what is not there yet, or nothing: a disk may have taken what it said it did not.

        A gap without the verdicts before it would look as if those were missing. Returns those whose numbers others
        have there.
        """
        rows, gaps, others = unlike(file, batch, is_another=self._main.is_another)
        # What memory knew was delivered says nothing of verdicts that a file which opened late has before those.
        most = self.marks.delivered
        fresh = [msgspec.structs.replace(row, delivered=min(row.delivered, most)) for row in rows]
        self._add(file, fresh, gaps, self.marks)
        return others

    def _note_anew(self, last: int) -> None:
        """Note up to where memory has new numbers now, which nobody has seen yet: the record of them was too old."""
        if last > self.last:
            count = last - self.last
            log.error("%s has others under the numbers of %d verdicts, which get new ones", self._main.path, count)
            self._main.numbers.cover(last)
            self._last_in_memory = last
