"""Looks now and then whether an accelerator still computes what it did when it was opened: else any part might pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edge.contract.preprocess import CHANNELS
from edge.errors import AcceleratorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.engine import Layout, Stored


class Examiner:
    """Compares outputs for one canvas, the sample: whole numbers, which are always the same.

    It costs as much as one frame. Golden frames would have to be decoded and preprocessed each time as well.
    """

    def __init__(self, layout: Layout, every_s: float) -> None:
        kind = np.iinfo(layout.taken.dtype)
        shape = (*layout.canvas, CHANNELS)
        self.sample: Stored = np.random.default_rng(1).integers(kind.min, kind.max + 1, shape, layout.taken.dtype)
        """A canvas [h, w, 3] with values of all sizes."""
        self._every = every_s
        self._known: Mapping[int, Stored] = {}
        self._looked = -math.inf

    def learn(self, outputs: Mapping[int, Stored], now: float) -> None:
        """Take what an accelerator gave for the sample, whose golden frames then came out right."""
        self._known = {index: output.copy() for index, output in outputs.items()}
        self._looked = now

    def look(self, run: Callable[[Stored], Mapping[int, Stored]], now: float) -> None:
        """Run the sample if it is time, in seconds on the monotonic clock; raises AcceleratorError, also as `run`."""
        if now - self._looked < self._every:
            return
        found = run(self.sample)
        if not all(np.array_equal(found[index], known) for index, known in self._known.items()):
            raise AcceleratorError("it computes otherwise than when it was opened; look at its power and its heat")
        self._looked = now
