"""How a daemon is told to stop, and how long it may take."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import FrameType

QUICK_SECONDS = 0.6
"""For the last verdicts after SIGTERM: with the camera's end, within the 2 s that a stop may take."""
_AGAIN_SECONDS = 0.01
_IMPORTER = "<frozen importlib._bootstrap>"
_LOCKING = frozenset({"cb", "acquire", "release", "_get_module_lock", "__enter__", "__exit__"})
"""What holds the import system's locks there: broken off it would never let go of them, and the next import hangs."""


class StoppedEarlyError(BaseException):
    """A stop signal while stages were opening; not an Exception, so that nothing on the way translates it."""


class StopSignals:
    """SIGTERM, SIGINT and a closed terminal: they set `stop`, and break off a slow start."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._asked = False
        self._opening = False
        self._before: dict[int, Any] = {}

    def break_off(self) -> None:
        """From now on a signal breaks off what this thread does; raises StoppedEarlyError if one came already."""
        self._opening = True
        if self.stop.is_set():
            self._opening = False
            raise StoppedEarlyError

    def only_set(self) -> None:
        """From now on a signal only sets `stop`, as before `break_off`."""
        self._opening = False

    def __enter__(self) -> Self:
        asked = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # As nohup leaves it.
            asked.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._on_signal) for number in asked}
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._break_off)
        return self

    def __exit__(self, *exc: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A signal may come while this runs for the one before, inside `set`, whose lock would wait for itself. A
        # parent's end alone sends two: one as its main thread dies, one as its last does.
        if self._asked:
            return
        self._asked = True
        self.stop.set()
        self._break_off(number, frame)

    def _break_off(self, _number: int, frame: FrameType | None) -> None:
        if not self._opening:
            return
        if _holds_import_lock(frame):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
            return
        self._opening = False
        raise StoppedEarlyError


def _holds_import_lock(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTER and frame.f_code.co_name in _LOCKING:
            return True
        frame = frame.f_back
    return False
