"""The ledger's file, and memory in its place while the disk takes nothing more."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from edge.contract.messages import Gap
from edge.errors import DamagedLedgerError, FullLedgerError, LedgerError, UsedNumberError
from edge.ledger.numbers import Numbers
from edge.ledger.repair import DAMAGED, asked_for, finish_repair, looks_whole, repair
from edge.ledger.retention import Retention, stamp_of
from edge.ledger.room import Room
from edge.ledger.rows import VERDICTS, Marks, Row, first_of, last_of
from edge.ledger.shed import order, remove_some
from edge.ledger.store import Span, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge.contract.messages import Verdict
    from edge.ledger.audit import Audit
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

    def __init__(self, path: Path, budget: int, retention: Retention) -> None:
        """Name the file; `budget` is how many bytes of verdicts it may hold."""
        self._refused = ""
        self.lost = dict.fromkeys(VERDICTS, 0)
        """How many were shed before the broker had them."""
        self.marks = Marks()
        """How far the broker has them."""
        self.last = 0
        """The number of the last verdict that was written."""
        self.backlog: int | None = None
        """Behind which number a file that was opened late has verdicts that nobody took yet; None: there is none."""
        self._path = path
        self._numbers = Numbers(path.with_suffix(".numbers"))
        self._room = Room(path.with_suffix(".reserve"), budget)
        self._retention = retention
        self._file: Store | None = None
        self._spare: Store | None = None
        self._known = False
        """Whether the file has said in this start which number is its last."""
        self._damaged = False
        self._unread = ""
        self._retry_at = 0.0
        self._fresh: tuple[Sequence[Row], Sequence[Gap]] = (), ()  # What is being written.
        self._taken = 0
        """What was read for the broker up to here is not shed any more."""
        self._moving = threading.RLock()
        """Held while verdicts are read, and while they go or change their place: each is seen once, where it is."""

    @property
    def trouble(self) -> str:
        """Why the file takes nothing at present, or cannot be read; empty if it does and can."""
        return self._refused or self._unread

    @property
    def doubt(self) -> str:
        """Why what `look` and `newest` do not find may be there nevertheless; empty if it is not."""
        if self._damaged or self._file is None:
            return self._unread or self._refused or "the ledger is being opened or repaired; ask again"
        return self._unread

    def open(self) -> None:
        """Open the file, repaired where it is damaged; where that cannot be, memory has to do until `tend` can."""
        try:
            self._look_through()
        except OSError as error:
            self.last = self._numbers.beyond()  # What the file holds has numbers up to this.
            self._fall_back(error)
            self._retry_at = 0.0  # What kept it from opening may have been over a moment later.

    def close(self, audits: Sequence[Audit]) -> int:
        """Write what is left and let go of the file; returns how many verdicts neither disk nor broker has."""
        self._retry_at = 0.0
        self.tend()
        kept = self._spare.read(Span(self.marks.delivered, self.last), _ALL) if self._spare is not None else []
        if self._file is not None:
            try:
                self._file.add((), (), self.marks, audits)
                self._file.close()
            except LedgerError as error:
                log.warning("the ledger could not be closed in order: %s", error)
        return sum(isinstance(entry, Row) for entry in kept)

    def write(self, number: Numbering, marks: Marks | None = None, audits: Sequence[Audit] = ()) -> None:
        """Write verdicts and gaps, numbered from behind `last` on, commands, and the marks if they are given."""
        self.marks = marks or self.marks
        if self._spare is None:
            try:
                # Not before the file is found whole: a damaged one may not have known its last number.
                self._on_file(lambda file: self._add(file, *self._numbered(number), marks, audits))
            except LedgerError as error:
                self._fall_back(error)
        if self._spare is not None:
            self._spare.add(*self._numbered(number), None, audits)
            self._shed(self._spare, SPARE_BYTES)
        rows, gaps = self._fresh
        self._fresh = (), ()
        for gap in gaps:  # Of what was shed on its way here.
            for verdict, count in gap.verdicts.items():
                self.lost[verdict] += count
        self.last = max([self.last, *(row.seq for row in rows[-1:]), *(gap.last for gap in gaps[-1:])])

    def _numbered(self, number: Numbering) -> tuple[Sequence[Row], Sequence[Gap]]:
        rows, gaps = self._fresh = number(self.last + 1)
        self._numbers.cover(self.last + len(rows) + len(gaps))
        return rows, gaps

    def take(self, after: int, limit: int) -> list[Row | Gap]:
        """Return what `look` does of all behind a number; it is not shed any more."""
        with self._moving:
            found = self.look(Span(after, self.last), limit)
            self._taken = max([self._taken, *map(last_of, found[-1:])])
        return found

    def look(self, span: Span, limit: int) -> list[Row | Gap]:
        """Return the first `limit` verdicts and gaps of a span, in order; none while they cannot be read."""
        return self._ask(lambda store, left: store.read(span, left), limit)

    def newest(self, before: int, limit: int, verdict: Verdict | None) -> list[Row]:
        """Return the last `limit` verdicts below a number, of one kind or of all, the newest first."""
        found = self._ask(lambda store, left: store.newest(before, left, verdict), limit, reverse=True)
        return [entry for entry in found if isinstance(entry, Row)]

    def _ask(
        self, question: Callable[[Store, int], Sequence[Row | Gap]], limit: int, *, reverse: bool = False
    ) -> list[Row | Gap]:
        found: list[Row | Gap] = []
        with self._moving:
            stores = [store for store in (self._file, self._spare) if store is not None and not self._damaged]
            try:
                for store in reversed(stores) if reverse else stores:
                    if len(found) < limit:
                        found += question(store, limit - len(found))
            except DamagedLedgerError:
                self._damaged = True  # `tend` repairs it.
                return []
            except LedgerError as error:
                self._unread = str(error)
                return []
            self._unread = ""
        return found

    def tend(self) -> None:
        """Repair what `take` found damaged, go back to a disk that takes verdicts again, keep to budget and time."""
        try:
            if self._damaged:
                self._mend()
            if self._spare is not None and time.monotonic() >= self._retry_at:
                if self._file is None:
                    self._look_through()
                self._return_to_file(self._open_file(), self._spare)
            if self._spare is None:
                self._room.look()
                self._on_file(lambda file: self._shed(file, self._room.bytes))
                self._on_file(self._expire)
        except OSError as error:  # Not only LedgerError: a dying disk does not even tell how full it is.
            self._fall_back(error)

    def _look_through(self) -> None:
        finish_repair(self._path)
        if asked_for(self._path).exists() or not looks_whole(self._path):
            repair(self._path, self._used())
            asked_for(self._path).unlink(missing_ok=True)
        self._on_file(lambda _: None)

    def _before_spare(self) -> int | None:
        """Return the number up to which verdicts can be in the file because those in memory follow; None: none do."""
        kept = self._spare.read(Span(0, self.last), 1) if self._spare is not None else []
        return first_of(kept[0]) - 1 if kept else None

    def _used(self) -> int:
        """Return the number up to which a damaged file may have had verdicts."""
        if (before := self._before_spare()) is not None:
            return before
        return self.last if self._known else self._numbers.claimed

    def _on_file(self, act: Callable[[Store], None]) -> None:
        """Do something with the file, opened if need be; if that finds it damaged, once more with the repaired one."""
        try:
            act(self._open_file())
        except DamagedLedgerError as error:
            log.warning("%s", error)
            self._known = self._known and not isinstance(error, UsedNumberError)
            act(self._mend())

    def _mend(self) -> Store:
        self._damaged = True
        with self._moving:
            if self._file is not None:
                with suppress(LedgerError):  # It is damaged; what it says now is no news.
                    self._file.close()
                self._file = None
        repair(self._path, self._used())
        file = self._open_file()
        self._damaged = False
        return file

    def _open_file(self) -> Store:
        if self._file is None:
            file = Store(self._path)
            if file.last < (last := self._last_in(file)):  # Not even the numbers of its last verdicts were left.
                file.add((), [Gap(first=file.last + 1, last=last, reason=DAMAGED, verdicts={})])
            if self._spare is not None and not self._known:
                self.backlog, self.marks = file.marks.delivered, file.marks
            self.last, self.marks = max(self.last, last), self.marks.further(file.marks)
            self._known = True
            self._file = file
        return self._file

    def _last_in(self, file: Store) -> int:
        """Return the number up to which verdicts are in a file that was just opened, or were."""
        if (before := self._before_spare()) is not None:
            return before
        if self._known:
            return max(self.last, file.last)
        # One that is new, or behind verdicts that were in memory alone, does not know the last number.
        return max(file.last, self._numbers.claimed if self._numbers.in_memory or not file.last else 0)

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
        while store.used > budget:
            with self._moving:
                steps = order(delivered=self.marks.delivered, taken=self._taken, last=self.last)
                count, step = remove_some(store, steps)
            if step is None:
                return
            self.lost[step.verdict] += count if step.reason else 0

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
        self._numbers.note_memory(in_memory=True)
        self._spare = self._spare or Store(None)
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _return_to_file(self, file: Store, spare: Store) -> None:
        while batch := spare.read(Span(0, self.last), _BATCH):
            rows = [entry for entry in batch if isinstance(entry, Row)]
            with self._moving:
                self._restore(file, rows, [entry for entry in batch if isinstance(entry, Gap)])
                spare.forget(last_of(batch[-1]))
        self._add(file, (), (), None, [each.audit for each in reversed(spare.audits(_ANY, _ALL))])
        with self._moving:
            spare.close()
            self._spare, self._refused = None, ""
        self._numbers.note_memory(in_memory=False)
        log.warning("the ledger %s takes verdicts again", self._path)

    def _restore(self, file: Store, rows: Sequence[Row], gaps: Sequence[Gap]) -> None:
        """Add what is not there yet: a disk may have taken what it said it did not."""
        self._add(file, (), gaps, self.marks)
        span = Span(rows[0].seq - 1, rows[-1].seq) if rows else Span(0, 0)
        known = {first_of(entry) for entry in file.read(span, 2 * _BATCH)}
        self._add(file, [row for row in rows if row.seq not in known], (), None)
