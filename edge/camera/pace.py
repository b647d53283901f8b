"""Waits that keep a rate on the monotonic clock and end at once when a camera is closed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BEAT_SECONDS = 5.0
"""How often who pauses tells that it goes on."""


class Pacer:
    """Lets one thread through `rate` times a second, until any thread calls `stop`."""

    def __init__(self, rate: float) -> None:
        """`rate` is per second; 0 means without waiting."""
        self._period = 1 / rate if rate else 0.0
        self._due = 0.0
        self._stop = threading.Event()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    @property
    def left(self) -> float:
        """Seconds until the next turn is due; 0: it is."""
        return max(0.0, self._due - time.monotonic())

    def wait(self) -> bool:
        """Wait until the next turn is due (the first at once); False: stopped.

        A turn that came late moves the later ones: no burst makes up for it.
        """
        now = time.monotonic()
        if self._due > now:
            self._stop.wait(min(self._due - now, threading.TIMEOUT_MAX))
        self._due = max(self._due, now) + self._period
        return not self.stopped

    def pause(self, seconds: float) -> Iterator[None]:
        """Wait so long, and yield None now and then: whoever does so is well, only not due."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > BEAT_SECONDS and not self._stop.wait(BEAT_SECONDS):
            yield None
        self._stop.wait(max(0.0, left))

    def stop(self) -> None:
        """End every wait, now and later, with False."""
        self._stop.set()
