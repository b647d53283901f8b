"""Takes verdicts without waiting, numbers them, and has them on the disk within a tenth of a second."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from edge.contract.messages import Gap, Verdict, encode
from edge.ledger.audit import Trail
from edge.ledger.claim import Claim
from edge.ledger.mainfile import MainFile
from edge.ledger.numbers import GROUP
from edge.ledger.pending import Pending
from edge.ledger.retention import Retention
from edge.ledger.rows import Marks, Row, joined
from edge.ledger.shed import SHED
from edge.ledger.stores import Stores
from edge.threads import Pulse, fatal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from edge.contract.messages import Event
    from edge.ledger.audit import Audit
    from edge.ledger.pending import Batch
    from edge.ledger.store import Span

log = logging.getLogger(__name__)

FILE = "ledger.db"
IDLE_SECONDS = 0.5
"""After so long without a verdict the delivered mark is written by itself; else it goes with the verdicts."""
HANG_SECONDS = 5.0
"""For one turn of the writer, after which the status says so: a worn card may come back after seconds, or never."""


class Ledger:
    """Every verdict, until the broker has it. Nothing here blocks the caller but `close`."""

    def __init__(self, folder: Path, budget: int, retention: Retention | None = None) -> None:
        """Take a folder, how many bytes of verdicts it may hold, and for how long (None: as long as there is room).

        Raises ClaimedLedgerError if another process has it, LedgerError if the disk does not tell.
        """
        self._delivered = 0
        self._backlog: int | None = None
        self._going_back = threading.Lock()
        """Held while either changes: whoever delivers says how far, and the writer that it has to go back."""
        self._claim = Claim(folder)
        self._retention = retention or Retention()
        self._stores = Stores(MainFile(folder / FILE, self._claim), budget, self._retention)
        self._trail = Trail()
        self._pending = Pending()
        self._closing = False
        self._stranded: int | None = None
        """Verdicts that are lost with the end: the disk did not take them, nor did the broker. None: no end yet."""
        self._error: Exception | None = None
        self._pulse = Pulse()
        self._writer: threading.Thread | None = None
        self._heir: threading.Thread | None = None
        """Writes what a writer left that was ended."""

    @property
    def delivered(self) -> int:
        """The number up to which the broker has all; who delivers keeps it up to date."""
        return self._delivered

    @delivered.setter
    def delivered(self, number: int) -> None:
        with self._going_back:
            if self._backlog is None:  # Else whoever delivers does not know yet that it has to go back.
                self._delivered = number

    def take_backlog(self) -> int | None:
        """Return the number behind which delivering has to begin again, once; None: it may go on.

        A file that could not be opened at the start was opened: verdicts of the last life are in it.
        """
        with self._going_back:
            backlog, self._backlog = self._backlog, None
            return backlog

    @property
    def waiting(self) -> int:
        """How many verdicts the broker does not have yet."""
        return len(self._pending) + max(0, self._stores.last - self.delivered)

    @property
    def unwritten(self) -> int:
        """How many verdicts are not on the disk yet."""
        return len(self._pending)

    @property
    def idle(self) -> bool:
        """Whether all that was appended is written and was said to be, or never will be."""
        return self._pending.empty or self._error is not None

    @property
    def appended(self) -> int:
        """How many verdicts were appended since the start."""
        return self._pending.added

    @property
    def kept(self) -> int:
        """How many of them, the first, are written and were said to be."""
        return self._pending.done

    @property
    def lost(self) -> int:
        """How many were shed before the broker had them, since the start."""
        return self._stores.lost

    @property
    def trouble(self) -> str:
        """Why the disk takes nothing at present, or not all; empty if it does. The judging thread asks."""
        if self._pulse.silent > HANG_SECONDS:
            problem = (
                f"the ledger has written nothing for {HANG_SECONDS:g} s: its disk hangs, or a large file is repaired"
            )
            return f"{problem}; verdicts wait in memory, and are lost with the power; if it stays so, change the card"
        return self._stores.trouble

    def start(self, on_written: Callable[[int], None]) -> None:
        """Begin to open the ledger, and to write.

        `on_written` hears, in a thread of the ledger's, the number of the last verdict each time that there are more.
        """
        self._writer = threading.Thread(target=self._run, args=(on_written,), name="ledger", daemon=True)
        self._writer.start()

    def append(self, event: Event) -> None:
        """Take a verdict; it gets the next number when it is written.

        Raises what ended the writer, if that ended: then `close` writes it.
        """
        self._pending.add(event)
        self.check()

    def check(self) -> None:
        """Raise what ended the writer, if that ended."""
        if self._error is not None:
            raise self._error

    def record(self, audit: Audit) -> None:
        """Take the record of a command; it is written with the next verdicts, or in IDLE_SECONDS."""
        self._trail.add(audit, time.monotonic())

    def take(self, after: int, limit: int) -> list[Row | Gap]:
        """Return the next `limit` verdicts and gaps behind a number, to deliver them: they are not shed any more.

        None while some of them are just being shed: whoever delivers asks again, and does not wait for the disk.
        """
        return self._stores.take(after, limit)

    def look(self, span: Span, limit: int) -> list[Row | Gap]:
        """Return the first `limit` verdicts and gaps of a span."""
        return self._stores.look(span, limit)

    def newest(self, before: int, limit: int, verdict: Verdict | None = None) -> list[Row]:
        """Return the last `limit` verdicts below a number, of one kind or of all, the newest first."""
        return self._stores.newest(before, limit, verdict)

    @property
    def doubt(self) -> str:
        """Why what `look` and `newest` do not find may be there nevertheless; empty if it is not."""
        return self._stores.doubt

    def hurry(self) -> None:
        """Have what was appended written now: somebody waits for it."""
        self._pending.wake()

    def flush(self, timeout: float) -> None:
        """Have everything that was appended written, waiting this long at most."""
        self._pending.wake()
        if self._error is None:
            self._pending.wait_empty(timeout)

    def close(self, timeout: float) -> int:
        """Write what is pending and let go of the file; returns how many verdicts the disk did not take in time.

        Where the writer was ended, what it had taken and did not write comes first.
        """
        deadline = time.monotonic() + timeout
        self._closing = True
        self._pending.wake()
        if self._writer is not None:
            self._writer.join(timeout)
        if self._error is not None and self._heir is None:
            log.error("the ledger was ended by %r", self._error)
            self._heir = self._writer = threading.Thread(target=self._inherit, name="ledger-heir", daemon=True)
            self._heir.start()
        if self._heir is not None:
            self._heir.join(max(0.0, deadline - time.monotonic()))
        if self._writer is None or not self._writer.is_alive():  # Else the folder is its own until the process ends.
            self._claim.close()
        stranded = self._stranded
        if stranded is None:
            stranded = self._stores.count_at_risk(self._delivered)
        return len(self._pending) + stranded

    def _run(self, on_written: Callable[[int], None]) -> None:
        try:
            self._stores.open()
            self.delivered = self._stores.marks.delivered
            on_written(self._stores.last)
            self._write_until_closed(on_written)
        except BaseException as error:  # noqa: BLE001 - whatever it is, `append` raises it in the judging thread
            self._error = fatal(error)

    def _inherit(self) -> None:
        """Write what a writer left that was ended at any point, and close; nobody delivers it any more in this life."""
        try:
            if self._stores.take_over(*self._pending.taken.numbered):
                self._pending.let_go()
            self._write_until_closed(lambda _: None)
        except BaseException as error:  # noqa: BLE001 - `close` goes on, and tells what is lost
            log.error("what it left cannot be written: %r", fatal(error))  # noqa: TRY400 - one line

    def _write_until_closed(self, on_written: Callable[[int], None]) -> None:
        while not self._closing or len(self._pending):
            self._pending.wait(IDLE_SECONDS)
            # All that waits goes to memory at once: before each look at a disk that refuses, which may take long.
            while self._write(self._pending.take(GROUP)):
                on_written(self._stores.last)
                if not self._stores.in_memory:
                    break
            self._stores.tend()
            if self._stores.backlog is not None:
                self._go_back(self._stores.backlog)
                on_written(self._stores.last)
        self._stores.marks = self._stores.marks.further(Marks(self.delivered))
        self._stranded = self._stores.close(self._trail.take(None))

    def _go_back(self, backlog: int) -> None:
        with self._going_back:
            self._delivered = self._backlog = backlog
        self._stores.backlog = None

    def _write(self, batch: Batch) -> bool:
        self._pulse.beat()
        delivered, now = self.delivered, time.monotonic()
        audits = self._trail.take(now)

        def number(first: int) -> tuple[Sequence[Row], Sequence[Gap]]:
            batch.numbered = numbered(batch.items, first, delivered)
            return batch.numbered

        if batch.items:
            self._note_times(batch.items, now)
            self._stores.write(number, audits=audits)
            self._pending.let_go()
            self._stores.marks = self._stores.marks.further(Marks(delivered))
        elif audits or delivered != self._stores.marks.delivered:
            self._stores.write(lambda _: ((), ()), self._stores.marks.further(Marks(delivered)), audits)
        return bool(batch.items)

    def _note_times(self, items: Iterable[Event | Verdict], now: float) -> None:
        for item in items:
            if not isinstance(item, Verdict) and item.clock_synced:
                self._retention.note(item.time, now)


def numbered(items: Iterable[Event | Verdict], first: int, delivered: int) -> tuple[list[Row], list[Gap]]:
    """Return verdicts numbered from `first` on; bare ones were shed before they had a number, and make gaps."""
    rows: list[Row] = []
    gaps: list[Gap] = []
    for seq, item in enumerate(items, start=first):
        if isinstance(item, Verdict):
            gap = Gap(first=seq, last=seq, reason=SHED, verdicts={item: 1})
            gaps.append(joined(gaps.pop(), gap) if gaps and gaps[-1].last + 1 == seq else gap)
        else:
            rows.append(Row(seq, item.verdict, encode(msgspec.structs.replace(item, seq=seq)), delivered))
    return rows, gaps
