"""Looks at each frame before it is judged."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from edge.config import FolderConfig, SyntheticConfig, VideoConfig
from edge.errors import DataError
from edge.guard import baseline_file
from edge.guard.fitness import Fitness
from edge.guard.measures import measure
from edge.guard.scene import PLACED, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.camera.base import Frame
    from edge.config import CameraConfig, Config
    from edge.contract.preprocess import Pixels
    from edge.guard.baseline import Baseline
    from edge.guard.measures import Floats, Measures
    from edge.sections import Guard as Rules

ALL_OF_IT = 0.999
"""The share of a frame, 0-1, that must be dark, or bright, for it to show nothing: a hot pixel is no picture."""
FROZEN_AFTER = 3
"""Equal pictures in a row from a live camera, whose sensor's noise lets no two be equal."""


def open_guard(config: Config, folder: Path) -> Guard:
    """Return the guard of the configured camera, with the baseline of a state folder, if one was taken.

    A baseline that cannot be used raises nothing: whoever took one relies on it, so no frame is fit until it is
    mended, and each says why.
    """
    live = shows_the_present(config.camera)
    try:
        baseline = baseline_file.read(folder / baseline_file.FILE)
    except DataError as error:
        return Guard(config.guard, None, live=live, trouble=str(error))
    if baseline is None:
        return Guard(config.guard, None, live=live)
    compare = bool(PLACED & set(config.guard.checks))
    return Guard(config.guard, baseline, live=live, trouble=baseline.misfit(config.camera, compare=compare))


def shows_the_present(camera: CameraConfig) -> bool:
    """Say whether a camera has a sensor that is read out now, so that no two of its pictures are equal."""
    if isinstance(camera, VideoConfig):
        return camera.is_stream
    return not isinstance(camera, FolderConfig | SyntheticConfig)


class Guard:
    """Inspects the frames of one camera in turn; without a baseline, only for what needs none."""

    def __init__(self, rules: Rules, baseline: Baseline | None, *, live: bool, trouble: str = "") -> None:
        """`live`: whether equal pictures are a fault; `trouble`: why no frame can be fit, whatever it shows."""
        self._checks = frozenset(rules.checks)
        self._baseline = baseline
        self._trouble = trouble
        self._stillness = _Stillness() if live and "frozen" in self._checks else None
        self._scene = Scene(baseline, rules) if baseline and not trouble else None

    def inspect(self, frame: Frame) -> Fitness:
        """Say whether a frame is fit to be judged; it raises nothing, and what is no picture is not fit."""
        try:
            measures = measure(frame.pixels, frame.order)
        except ValueError as error:
            return Fitness(str(error))
        if reason := self._trouble or next(self._blind(frame.pixels, measures), ""):
            return Fitness(reason)
        if self._scene is None or self._baseline is None:
            return Fitness()
        if reason := self._baseline.other_size(*frame.pixels.shape[:2]):
            return Fitness(reason)
        return self._scene.judge(measures)

    def _blind(self, pixels: Pixels, measures: Measures) -> Iterator[str]:
        """Yield what is wrong whatever the camera should see."""
        repeated = self._stillness.after(pixels, measures.picture) if self._stillness else 0
        if "light" in self._checks and measures.dark >= ALL_OF_IT:
            yield "the picture is black"
        if "light" in self._checks and measures.bright >= ALL_OF_IT:
            yield "the picture is white"
        if repeated >= FROZEN_AFTER:
            yield "the camera is frozen: it shows the same picture again and again"


class _Stillness:
    """Counts how many pictures in a row were equal, down to the last bit."""

    def __init__(self) -> None:
        self._small: Floats | None = None
        self._sum: int | None = None
        self._count = 0

    def after(self, pixels: Pixels, small: Floats) -> int:
        """Return how many there are with this one.

        All of it is summed only where the small copy is the same, which a moving or noisy picture's never is: so the
        first of a row is taken at its small copy's word.
        """
        same = self._small is not None and np.array_equal(self._small, small)
        total = zlib.crc32(np.ascontiguousarray(pixels).data) if same else None
        if same and self._sum in (None, total):
            self._count += 1
        else:
            self._count = 1
        self._small, self._sum = small, total
        return self._count
