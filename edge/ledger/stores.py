"""The ledger's file, and memory in its place while the disk takes nothing more."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from edge.contract.messages import Gap
from edge.errors import DamagedLedgerError, FullLedgerError, LedgerError
from edge.ledger.numbers import Numbers
from edge.ledger.repair import DAMAGED, asked_for, finish_repair, looks_whole, repair
from edge.ledger.retention import Retention, stamp_of
from edge.ledger.rows import VERDICTS, Marks, Row, first_of, last_of
from edge.ledger.shed import order, remove_some
from edge.ledger.store import Span, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge.contract.messages import Verdict
    from edge.ledger.audit import Audit

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""How often a disk that refused is asked again."""
SPARE_BYTES = 16 << 20
"""Of verdicts in memory while the disk refuses them."""
RESERVE_BYTES = 1 << 20
"""Of the disk, held by a file that gives way when it is full: removing verdicts needs room for the log first."""
_ROOM_BYTES = 256 << 10
"""Freed at a time on a full disk."""
_BATCH = 500
_CHUNK = 200
"""Looked at, or removed, in one go for their age."""
_ANY = _ALL = 1 << 62


Numbering: TypeAlias = "Callable[[int], tuple[Sequence[Row], Sequence[Gap]]]"
"""Gives verdicts and gaps the numbers from this one on."""


class Stores:
    """Where verdicts go: always somewhere. One thread calls it, but for `take`, which another may call."""

    def __init__(self, path: Path, budget: int, retention: Retention) -> None:
        """Name the file; `budget` is how many bytes of verdicts it may hold."""
        self.trouble = ""
        """Why the file takes nothing at present; empty if it does."""
        self.lost = dict.fromkeys(VERDICTS, 0)
        """How many were shed before the broker had them."""
        self.marks = Marks()
        """How far the broker has them."""
        self.last = 0
        """The number of the last verdict that was written."""
        self._path = path
        self._reserve = path.with_suffix(".reserve")
        self._numbers = Numbers(path.with_suffix(".numbers"))
        self._budget = self._cap = budget
        self._retention = retention
        self._file: Store | None = None
        self._spare: Store | None = None
        self._damaged = False
        self._retry_at = 0.0
        self._fresh: tuple[Sequence[Row], Sequence[Gap]] = (), ()
        """What is being written."""
        self._taken = 0
        self._taking = threading.Lock()
        """What is being read for the broker is not shed meanwhile, and not afterwards."""

    def open(self) -> None:
        """Open the file, repaired where it is damaged; where that cannot be, memory has to do until `tend` can."""
        try:
            self._look_through()
        except (LedgerError, OSError) as error:
            self.last = max(self.last, self._numbers.claimed)  # What the file holds has numbers up to this.
            self._fall_back(error)
            self._retry_at = 0.0  # What kept it from opening may have been over a moment later.

    def close(self, audits: Sequence[Audit]) -> None:
        """Write the marks and the last commands, and let go of the file."""
        if self._file is None:
            return
        try:
            self._file.add((), (), self.marks, audits)
            self._file.close()
        except LedgerError as error:
            log.warning("the ledger could not be closed in order: %s", error)

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
        self.last = max([self.last, *(row.seq for row in rows[-1:]), *(gap.last for gap in gaps[-1:])])

    def _numbered(self, number: Numbering) -> tuple[Sequence[Row], Sequence[Gap]]:
        rows, gaps = self._fresh = number(self.last + 1)
        self._numbers.cover(self.last + len(rows) + len(gaps))
        return rows, gaps

    def take(self, after: int, limit: int) -> list[Row | Gap]:
        """Return the next `limit` verdicts and gaps behind a number, which are not shed any more; see `look`."""
        with self._taking:
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
        stores = [store for store in (self._file, self._spare) if store is not None and not self._damaged]
        found: list[Row | Gap] = []
        try:
            for store in reversed(stores) if reverse else stores:
                if len(found) < limit:
                    found += question(store, limit - len(found))
        except DamagedLedgerError:
            self._damaged = True  # `tend` repairs it.
            return []
        except LedgerError as error:
            self._complain(str(error))
            return []
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
                self._look_for_room()
                self._on_file(lambda file: self._shed(file, min(self._budget, self._cap)))
                self._on_file(self._expire)
        except (LedgerError, OSError) as error:  # OSError: a dying disk does not even tell how full it is.
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
        before = self._before_spare()
        return self._numbers.claimed if before is None else before

    def _on_file(self, act: Callable[[Store], None]) -> None:
        """Do something with the file, opened if need be; if that finds it damaged, once more with the repaired one."""
        try:
            act(self._open_file())
        except DamagedLedgerError as error:
            log.warning("%s", error)
            act(self._mend())

    def _mend(self) -> Store:
        self._damaged = True
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
            before = self._before_spare()
            last = max(self.last, file.last or self._numbers.claimed) if before is None else before
            if file.last < last:  # Not even the numbers of the last verdicts were left of a damaged one.
                file.add((), [Gap(first=file.last + 1, last=last, reason=DAMAGED, verdicts={})])
            self.last, self.marks = max(self.last, last), self.marks.further(file.marks)
            self._file = file
        return self._file

    def _add(
        self, file: Store, rows: Sequence[Row], gaps: Sequence[Gap], marks: Marks | None, audits: Sequence[Audit] = ()
    ) -> None:
        try:
            file.add(rows, gaps, marks, audits)
        except FullLedgerError:
            self._reserve.unlink(missing_ok=True)
            file.checkpoint()
            # The file cannot grow: what is new takes the place of what goes. A small one has the reserve's room.
            self._cap = max(file.used - _ROOM_BYTES, RESERVE_BYTES // 2)
            self._shed(file, self._cap)
            file.checkpoint()
            file.add(rows, gaps, marks, audits)

    def _shed(self, store: Store, budget: int) -> None:
        while store.used > budget:
            with self._taking:
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
        self._complain(f"{error}; verdicts are kept in memory")
        self._spare = self._spare or Store(None)
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _complain(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.error("%s", trouble)
        self.trouble = trouble

    def _return_to_file(self, file: Store, spare: Store) -> None:
        while batch := spare.read(Span(0, self.last), _BATCH):
            rows = [entry for entry in batch if isinstance(entry, Row)]
            self._add(file, rows, [entry for entry in batch if isinstance(entry, Gap)], self.marks)
            spare.forget(last_of(batch[-1]))
        self._add(file, (), (), None, [each.audit for each in reversed(spare.audits(_ANY, _ALL))])
        spare.close()
        self._spare, self.trouble = None, ""
        log.warning("the ledger %s takes verdicts again", self._path)

    def _look_for_room(self) -> None:
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < 2 * RESERVE_BYTES:
            return
        self._cap = self._budget
        if not self._reserve.exists():
            with suppress(OSError), self._reserve.open("wb") as file:  # Others were quicker: the next time, then.
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)

    @property
    def doubt(self) -> str:
        """Why what `look` and `newest` do not find may be there nevertheless; empty if it is not."""
        if self._damaged or self._file is None:
            return self.trouble or "the ledger is being opened or repaired; ask again"
        return self.trouble
