"""Where the program's log goes, and that what repeats itself does not fill it."""

from __future__ import annotations

import copy
import logging
import os
import re
import select
import sys
import threading
import time
from collections import OrderedDict, deque
from contextlib import suppress
from typing import TYPE_CHECKING

from edge import journal
from edge.command import printable

if TYPE_CHECKING:
    from typing import TextIO

BURST = 5
"""Lines of a kind in a window; of more than these only how many there were is told, when it ends."""
WINDOW_SECONDS = 60.0
_KINDS = 256
"""How many are followed at once; the longest unheard goes first."""
_NUMBERS = re.compile(r"\d+")
_LONGEST_KIND = 200
MOST_UNREAD = 200
"""Lines that wait for who reads the log; of more than these only how many there were is told."""
_WRITE_SECONDS = 0.05
"""For a line to be written, which takes far less, unless nobody reads it."""
_LAST_SECONDS = 0.5
"""The same before the program's last word: a busy machine may take longer, and what is not written then is lost."""


class _Kind:
    """Lines that differ in numbers only, within one window."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.passed = 0
        self.held: list[logging.LogRecord] = []
        """The last that was held back, if any."""
        self.count = 0
        """How many were."""


class Repeats:
    """Decides which lines are said. Times are seconds on the monotonic clock; no I/O."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[tuple[int, str], _Kind] = OrderedDict()

    def look(self, record: logging.LogRecord, now: float) -> list[logging.LogRecord]:
        """Return what is to be said now: of windows that are over, and the record itself unless it repeats."""
        name = (record.levelno, _NUMBERS.sub("#", record.getMessage()[:_LONGEST_KIND]))
        said = self.over(now)
        kind = self._kinds.get(name)
        if kind is None:
            if len(self._kinds) >= _KINDS:
                said += _summary(self._kinds.popitem(last=False)[1])
            kind = self._kinds[name] = _Kind(now)
        if kind.passed < BURST:
            kind.passed += 1
            return [*said, record]
        kind.held, kind.count = [record], kind.count + 1
        return said

    def over(self, now: float) -> list[logging.LogRecord]:
        """Return how often each line came that was held back in a window which is over."""
        said = []
        while self._kinds and now - next(iter(self._kinds.values())).began >= WINDOW_SECONDS:
            said += _summary(self._kinds.popitem(last=False)[1])
        return said

    def due(self) -> float | None:
        """Return when the first window with anything held back ends; None: there is none."""
        held = (kind.began for kind in self._kinds.values() if kind.count)
        began = next(held, None)
        return None if began is None else began + WINDOW_SECONDS


def _summary(kind: _Kind) -> list[logging.LogRecord]:
    """Return the one record that stands for all that were held back."""
    said = [copy.copy(record) for record in kind.held]
    for each in said:
        each.msg, each.args = f"{each.getMessage()} (the last of {kind.count} more like it)", ()
    return said


class Calm(logging.Handler):
    """Hands on what is to be said to another handler, and the rest as a number when its time has come."""

    def __init__(self, target: logging.Handler) -> None:
        super().__init__()
        self._target = target
        self._repeats = Repeats()
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, or count it. Held under the handler's lock."""
        try:
            said = self._repeats.look(record, time.monotonic())
        except Exception:  # noqa: BLE001 - as in logging's own handlers
            self.handleError(record)
        else:
            self._say(said)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Leave it at one line: neither a library's slip of the pen nor a log that is gone ends who says something."""
        problem = f"{record.name} said what cannot be logged ({sys.exception()!r}): {record.msg!r}"
        with suppress(Exception):
            print(printable(problem), file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Say how often what was held back came."""
        with self._locked():
            self._say(self._repeats.over(float("inf")))
        self._target.flush()

    def close(self) -> None:
        """Say it for the last time."""
        self.flush()
        self._target.close()
        super().close()

    def _say(self, records: list[logging.LogRecord]) -> None:
        for each in records:
            try:
                self._target.handle(each)
            except Exception:  # noqa: BLE001 - as above
                self.handleError(each)
        due = self._repeats.due()
        if due is None and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None and self._timer is None:
            timer = threading.Timer(max(0.0, due - time.monotonic()), self._wind_up)
            timer.daemon = True
            with suppress(RuntimeError):  # No thread is to be had: the next line tells.
                timer.start()
                self._timer = timer

    def _wind_up(self) -> None:
        with self._locked():
            self._timer = None
            self._say(self._repeats.over(time.monotonic()))

    def _locked(self) -> threading.RLock:
        assert self.lock is not None  # noqa: S101 - for mypy: logging makes one
        return self.lock


class OneLine(logging.Formatter):
    """Makes each record one line, whatever a stranger's file or a traceback puts into it."""

    def format(self, record: logging.LogRecord) -> str:
        """As in Formatter."""
        return printable(super().format(record))


class Stream(logging.Handler):
    """Writes to a stream by a thread of its own, for judging would stop with it.

    A terminal whose reader stops reading takes nothing more, after Ctrl-S or where its connection is cut, and a file's
    disk may hang.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._file = stream.fileno()  # Not by the stream: who flushes that at the end would wait for the thread.
        self._encoding = stream.encoding
        self._lines: deque[bytes] = deque()
        """What is to be written."""
        self._lost = 0
        """Lines beyond MOST_UNREAD, since these were written."""
        self._changed = threading.Lock()
        self._writer: threading.Thread | None = None
        self._patience = _LAST_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        """Have a line written, or count it; it is written afterwards, unless that takes long."""
        line = f"{self.format(record)}\n".encode(self._encoding, "backslashreplace")
        with self._changed:
            if len(self._lines) >= MOST_UNREAD:
                self._lost += 1
                return
            self._lines.append(line)
            if self._writer is not None:  # One is held up.
                return
            writer = threading.Thread(target=self._write, name="log", daemon=True)
            writer.start()
            self._writer = writer
        writer.join(_WRITE_SECONDS)

    def flush(self) -> None:
        """Wait for what is to be written, but once only where nobody reads it."""
        with self._changed:
            writer = self._writer
        if writer is not None:
            writer.join(self._patience)
            self._patience = 0.0 if writer.is_alive() else _LAST_SECONDS

    def _write(self) -> None:
        while (line := self._next()) is not None:
            with suppress(OSError):  # It is gone, and with it whoever could be told.
                self._put(line)

    def _put(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._file, line) :]
            except BlockingIOError:  # Another program that has the same terminal may have made it so.
                select.select((), (self._file,), ())

    def _next(self) -> bytes | None:
        """Return what is to be written now, and forget it; None: nothing is left."""
        with self._changed:
            if self._lines:
                return self._lines.popleft()
            lost, self._lost = self._lost, 0
            if lost:
                return f"({lost} lines behind this one were lost: nobody read them)\n".encode()
            self._writer = None
            return None


def wind_up() -> None:
    """Say what was held back: the program's last word is about to follow, and is to be the last."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def set_up() -> None:
    """Log to the journal where systemd started us, else to stderr; `logging.shutdown` ends it."""
    handler: logging.Handler
    if journal.reads(sys.stderr):
        handler = journal.JournalHandler()
        handler.setFormatter(OneLine("%(message)s"))
    else:
        handler = Stream(sys.stderr)
        handler.setFormatter(OneLine("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[Calm(handler)])
    logging.getLogger("paho").setLevel(logging.WARNING)
    logging.getLogger("linuxpy").setLevel(logging.ERROR)  # It tells of each buffer and each format that it passes over.
