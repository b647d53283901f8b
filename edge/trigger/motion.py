"""Motion: a part that came is judged once it has come to rest, however long it moved."""

from __future__ import annotations

import time
from itertools import count
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from edge.camera.base import BadFrame, Frame
from edge.trigger.base import PAUSED, Shot
from edge.trigger.free import FreeRunning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.capture import Capture
    from edge.contract.preprocess import Pixels
    from edge.sections.triggers import MotionConfig

_COLUMNS = 80
"""Of the picture that motion is looked for in: a part of a fiftieth of the frame's width still shows."""


class Rest:
    """When what moved has come to rest. Times are seconds on the monotonic clock; no I/O."""

    def __init__(self, settle_s: float, deadline_s: float) -> None:
        """Call it rest after `settle_s` without motion, and give up `deadline_s` after the motion began."""
        self._settle, self._deadline = settle_s, deadline_s
        self._began: float | None = None
        """When the motion began that has no verdict yet; None: there is none."""
        self._moved = -inf
        """When something last moved."""

    @property
    def deadline(self) -> float:
        """When the verdict about the present motion is due."""
        return inf if self._began is None else self._began + self._deadline

    def look(self, now: float, *, moves: bool) -> bool | None:
        """Note whether something moves; True: it came to rest, False: it did not in time, None: neither."""
        if moves:
            if self._began is None and now - self._moved >= self._settle:
                self._began = now
            self._moved = now
        if self._began is None:
            return None
        if now - self._moved >= self._settle:
            self._began = None
            return True
        if now >= self._began + self._deadline:
            self._began = None  # What goes on is the same motion: only behind a rest there is another.
            return False
        return None


class MotionTriggered:
    """Compares each frame with what stood still before, but not for longer than a part is to; see Trigger.

    Not with the frame before: from one to the next, the faster a camera is, the less a slow part moves.
    """

    def __init__(self, capture: Capture, config: MotionConfig, *, patience: float = inf) -> None:
        """Look at the frames of `capture`; after `patience` seconds without one the verdict is UNKNOWN."""
        self._frames = FreeRunning(capture, patience=patience)
        self._config = config
        self._rest = Rest(config.settle_s, config.deadline_s)
        self._before: Pixels | None = None
        self._before_at = -inf
        """When that was seen."""
        self._numbers = count(1)

    @property
    def ended(self) -> bool:
        """As in Trigger."""
        return self._frames.ended

    def next(self, timeout: float) -> Shot | None:
        """Return the frame on which what moved has come to rest, see Trigger."""
        shot = self._frames.next(timeout)
        if shot is None:
            return None
        if isinstance(shot.frame, BadFrame):
            return Shot(self._name(), shot.frame)
        return self._look(shot.frame)

    def leave(self, timeout: float) -> Shot | None:
        """Let frames go by, see Trigger: what moves meanwhile is no part's coming; what came before is told."""
        self._frames.leave(timeout)
        shot = next(self.give_up(PAUSED), None)
        self._before, self._before_at = None, -inf
        self._rest = Rest(self._config.settle_s, self._config.deadline_s)
        return shot

    def rest(self, timeout: float) -> None:
        """Let frames go by, see Trigger: a part that came meanwhile shows in the next frame, unless it left again."""
        self._frames.leave(timeout)

    def wake(self) -> None:
        """As in Trigger: the next frame does it."""

    def give_up(self, reason: str) -> Iterator[Shot]:
        """As in Trigger."""
        if self._rest.deadline < inf:
            yield Shot(self._name(), BadFrame(0, "", time.monotonic(), reason))

    def _look(self, frame: Frame) -> Shot | None:
        small = thumbnail(frame.pixels)
        deadline, now = self._rest.deadline, time.monotonic()
        moves = self._moves(small)
        if moves or now - self._before_at >= self._config.settle_s:
            self._before, self._before_at = small, now
        rested = self._rest.look(now, moves=moves)
        if rested is None:
            return None
        if rested:
            return Shot(self._name(), frame, deadline, is_optional=True)
        problem = f"what moved did not come to rest within {self._config.deadline_s:g} s"
        return Shot(self._name(), BadFrame(frame.number, frame.source, frame.exposed, problem))

    def _moves(self, small: Pixels) -> bool:
        if self._before is None or self._before.shape != small.shape:
            return False
        apart = np.abs(small.astype(np.int16) - self._before) > self._config.level
        return bool(apart.mean() > self._config.area)

    def _name(self) -> str:
        return f"motion-{next(self._numbers)}"


def thumbnail(pixels: Pixels) -> Pixels:
    """Return a grey picture of some _COLUMNS columns, uint8: the means of blocks of uint8 [h, w] or [h, w, 3].

    Means, because single pixels are noise. Of colours the green one, which sees most of the light (ITU-R BT.601).
    """
    grey = pixels if pixels.ndim == 2 else pixels[..., min(1, pixels.shape[2] - 1)]  # noqa: PLR2004 - axes
    height, width = grey.shape
    step = max(1, min(width // _COLUMNS, height))
    rows, columns = height // step, width // step
    blocks = grey[: rows * step, : columns * step].reshape(rows, step, columns, step)
    every = 2 if step > 2 else 1  # noqa: PLR2004 - every other line and column tell a block's mean well enough
    means: Pixels = blocks[:, ::every, :, ::every].mean(axis=(1, 3)).astype(np.uint8)
    return means
