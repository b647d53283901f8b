"""Takes verdicts without waiting, numbers them, and has them on the disk within a tenth of a second."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from edge.contract.messages import Verdict, encode
from edge.ledger.pending import Pending
from edge.ledger.rows import Gap, Marks, Row
from edge.ledger.shed import SHED
from edge.ledger.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from edge.contract.messages import Event

log = logging.getLogger(__name__)

FILE = "ledger.db"
GROUP = 500
"""Verdicts in one commit, at most."""
MARKS_SECONDS = 1.0
"""How old the delivered mark on the disk may be: so much is sent again after a crash."""


class Ledger:
    """Every verdict, until the broker has it. Nothing here blocks the caller but `close`."""

    def __init__(self, folder: Path, *, budget: int, on_written: Callable[[int], None]) -> None:
        """Begin to open the ledger of a folder.

        `on_written` hears, in a thread of the ledger's, the number of the last verdict each time that there are more.
        """
        self._stores = Stores(folder / FILE, budget)
        self._pending = Pending()
        self._on_written = on_written
        self._delivered = 0
        self._marked_at = 0.0
        self._closing = False
        self._error: BaseException | None = None
        self._writer = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._writer.start()

    def append(self, event: Event) -> None:
        """Take a verdict; it gets the next number when it is written. Raises what ended the writer, if that ended."""
        if self._error is not None:
            raise self._error
        self._pending.add(event)

    def take(self, after: int, limit: int) -> list[Row | Gap]:
        """Return the next `limit` verdicts and gaps behind a number, to deliver them: they are not shed any more."""
        return self._stores.take(after, limit)

    def delivered(self, number: int) -> None:
        """Note that the broker has all up to this number."""
        self._delivered = number

    def close(self, timeout: float) -> int:
        """Write what is pending and let go of the file; returns how many verdicts the disk did not take in time."""
        self._closing = True
        self._pending.wake()
        self._writer.join(timeout)
        return len(self._pending)

    def _run(self) -> None:
        try:
            self._stores.open()
            self._delivered = self._stores.marks.delivered
            self._on_written(self._stores.last)
            while not self._closing or len(self._pending):
                self._pending.wait(MARKS_SECONDS)
                self._write(self._pending.take(GROUP))
                self._stores.tend()
            self._stores.close()
        except BaseException as error:  # noqa: BLE001 - whatever it is, `append` raises it in the judging thread
            self._error = error

    def _write(self, items: list[Event | Verdict]) -> None:
        marks = self._due_marks()
        if not items and marks is None:
            return
        rows, gaps = numbered(items, self._stores.last + 1)
        self._stores.write(rows, gaps, marks)
        if items:
            self._on_written(self._stores.last)

    def _due_marks(self) -> Marks | None:
        before, now = self._stores.marks, time.monotonic()
        marks = Marks(self._delivered, before.pictured)
        if marks == before or (now - self._marked_at < MARKS_SECONDS and not self._closing):
            return None
        self._marked_at = now
        return marks


def numbered(items: Iterable[Event | Verdict], first: int) -> tuple[list[Row], list[Gap]]:
    """Return verdicts numbered from `first` on; bare ones were shed before they had a number, and make gaps."""
    rows: list[Row] = []
    gaps: list[Gap] = []
    for seq, item in enumerate(items, start=first):
        if isinstance(item, Verdict):
            gaps.append(Gap(seq, seq, SHED, {item: 1}))
        else:
            rows.append(Row(seq, item.verdict, encode(msgspec.structs.replace(item, seq=seq))))
    return rows, gaps
