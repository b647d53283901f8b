"""How a daemon is told to stop, and how long it may take."""

from __future__ import annotations

import signal
import threading
from typing import Any, Self

QUICK_SECONDS = 0.6
"""For the last verdicts after SIGTERM: with the camera's end, within the 2 s that a stop may take."""


class StoppedEarlyError(BaseException):
    """A stop signal while stages were opening; not an Exception, so that nothing on the way translates it."""


class StopSignals:
    """SIGTERM and SIGINT: they break off a slow start, and set `stop` once the loop runs."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._asked = False
        self._opening = True
        self._before: dict[int, Any] = {}

    def only_set(self) -> None:
        """From now on a signal only sets `stop`."""
        self._opening = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, *_: object) -> None:
        # A signal may come while this runs for the one before, inside `set`, whose lock would wait for itself. A
        # parent's end alone sends two: one as its main thread dies, one as its last does.
        if self._asked:
            return
        self._asked = True
        self.stop.set()
        if self._opening:
            self._opening = False
            raise StoppedEarlyError
