"""Free-running: each frame that the camera gives is to be judged."""

from __future__ import annotations

import time
from itertools import count
from math import inf
from typing import TYPE_CHECKING

from edge.camera.base import BadFrame
from edge.trigger.base import Shot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.capture import Capture


class FreeRunning:
    """The newest frame, as often as one is judged; none for a while is a part that nobody saw."""

    def __init__(self, capture: Capture, *, rate: float = 0.0, patience: float = inf) -> None:
        """Trigger by the frames of `capture`, `rate` a second at most (0: all that there is time for).

        After `patience` seconds without one the verdict is UNKNOWN.
        """
        self._capture = capture
        self._patience = patience
        self._period = 1 / rate if rate else 0.0
        self._due = -inf
        """When the next frame is to be judged."""
        self._numbers = count(1)
        self._told_at = time.monotonic()
        """When the last frame came, or that there is none was last told."""
        self._is_blind = False
        """Whether it was told since the last frame."""

    @property
    def ended(self) -> bool:
        """As in Trigger."""
        return self._capture.ended

    def next(self, timeout: float) -> Shot | None:
        """Return the newest frame that nobody judged yet, see Trigger."""
        if (early := self._due - time.monotonic()) > 0:
            self._capture.leave(min(early, timeout))
            if early > timeout:
                return None
        taken, now = self._capture.take(timeout), time.monotonic()
        frame = taken or self._missing(now)
        if frame is None:
            return None
        self._told_at, self._is_blind = now, taken is None
        self._due = max(self._due, now - self._period) + self._period
        return Shot(f"free-{next(self._numbers)}", frame)

    def leave(self, timeout: float) -> None:
        """Let frames go by, see Trigger: whom nobody judges has no trigger."""
        self._capture.leave(timeout)
        self._told_at = time.monotonic()

    def rest(self, timeout: float) -> None:
        """Let frames go by, see Trigger."""
        self.leave(timeout)

    def wake(self) -> None:
        """Do nothing, see Trigger: the next frame does it."""

    def give_up(self, _reason: str) -> Iterator[Shot]:
        """Yield nothing, see Trigger: what nobody took is counted as dropped."""
        return iter(())

    def _missing(self, now: float) -> BadFrame | None:
        """Return what stands for the frames that do not come, at once and then now and then; None: not yet."""
        trouble = self._capture.trouble
        if now - self._told_at < self._patience and (self._is_blind or not trouble):
            return None
        return BadFrame(0, "", now, trouble or f"no frame for {self._patience:g} s")
