"""Does harm to the real daemon from within its process: ends its threads, and sets its clock."""

from __future__ import annotations

import ctypes
import threading
import time
from datetime import UTC, datetime, timedelta

from edge import clock


class Saboteur:
    """What a test has done in the daemon's process."""

    def __init__(self) -> None:
        self._off = 0.0
        self._wall = time.time

    def kill(self, name: str) -> None:
        """End the threads whose names begin so, as soon as they run again: Python lets nothing end them in a wait."""
        for thread in threading.enumerate():
            if thread.name.startswith(name) and thread.ident is not None:
                number, error = ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
                assert ctypes.pythonapi.PyThreadState_SetAsyncExc(number, error) == 1

    def hang(self) -> None:
        """Have the judging thread wait for ever, as a library may that it calls."""
        clock.is_synchronized = lambda: threading.Event().wait()

    def stick(self) -> None:
        """Have the camera's thread wait for ever, as in a driver that does not come back."""
        time.sleep = lambda _: threading.Event().wait()

    def jump(self, seconds: str) -> None:
        """Set the wall clock off by so much."""
        self._off = float(seconds)
        time.time = lambda: self._wall() + self._off
        time.time_ns = lambda: int(time.time() * 1e9)
        clock.now = lambda: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time.time())
