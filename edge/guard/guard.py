"""Looks at each frame before it is judged."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

from edge.errors import DataError
from edge.guard import baseline_file
from edge.guard.fitness import Fitness
from edge.guard.measures import Glance, measure, plain
from edge.guard.scene import Scene
from edge.sections.cameras import FolderConfig, SyntheticConfig, VideoConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.camera.base import Frame
    from edge.config import Config
    from edge.contract.preprocess import Pixels
    from edge.guard.baseline import Baseline
    from edge.sections.cameras import CameraConfig
    from edge.sections.guard import Guard as Rules

ALL_OF_IT = 0.999
"""The share of a frame, 0-1, that must be dark, bright or of one colour for it to show nothing: a hot pixel is no
picture."""
FROZEN = "the camera is frozen: it shows the same picture again and again"
FROZEN_AFTER = 3
"""Equal pictures in a row, at least."""
_SAMPLED = 31
"""One row of so many is compared first."""
KEY_FRAME_SECONDS = 10.0
"""No camera's encoder lets a stream's viewers wait longer for a picture that is encoded anew."""


def open_guard(config: Config, folder: Path) -> Guard:
    """Return the guard of the configured camera, with the baseline of a state folder, if one was taken.

    A baseline that cannot be used raises nothing: whoever took one relies on it, so no frame is fit until it is
    mended, and each says why.
    """
    still_s = may_be_still_s(config.camera)
    try:
        baseline = baseline_file.read(folder / baseline_file.FILE)
    except DataError as error:
        return Guard(config.guard, None, still_s=still_s, trouble=str(error))
    if baseline is None:
        return Guard(config.guard, None, still_s=still_s)
    return Guard(config.guard, baseline, still_s=still_s, trouble=baseline.misfit(config.camera, config.guard.checks))


def guard_for(config: Config, folder: Path) -> Guard | None:
    """Return who says whether a frame is fit; None: rendered parts, of which nobody took a baseline, are."""
    is_rendered = isinstance(config.camera, SyntheticConfig)
    return None if is_rendered and not (folder / baseline_file.FILE).exists() else open_guard(config, folder)


def may_be_still_s(camera: CameraConfig) -> float:
    """Return for how many seconds a camera that works may show equal pictures; recorded ones may for ever.

    A sensor's noise lets no two be equal. A stream's encoder repeats what hardly changed, until its next key frame.
    """
    if isinstance(camera, VideoConfig) and camera.is_stream:
        return KEY_FRAME_SECONDS
    return math.inf if isinstance(camera, FolderConfig | VideoConfig | SyntheticConfig) else 0.0


class Guard:
    """Inspects the frames of one camera in turn; without a baseline, only for what needs none."""

    def __init__(self, rules: Rules, baseline: Baseline | None, *, still_s: float, trouble: str = "") -> None:
        """`still_s`: for how long equal pictures are right; `trouble`: why no frame can be fit, whatever it shows."""
        self._checks = frozenset(rules.checks)
        self._baseline = baseline
        self._trouble = trouble
        watched = "frozen" in self._checks and still_s < math.inf
        self._stillness = Stillness(still_s) if watched else None
        self._scene = Scene(baseline, rules) if baseline and not trouble else None

    def inspect(self, frame: Frame) -> Fitness:
        """Say whether a frame is fit to be judged; it raises nothing, and what is no picture is not fit."""
        try:
            glance = Glance(frame.pixels)
        except ValueError as error:
            return Fitness(str(error))
        if reason := self._trouble or next(self._blind(frame, glance), ""):
            return Fitness(reason)
        if self._scene is None or self._baseline is None:
            return Fitness()
        if reason := self._baseline.other_size(*frame.pixels.shape[:2]):
            return Fitness(reason)
        return self._scene.judge(measure(frame.pixels, frame.order))

    def _blind(self, frame: Frame, glance: Glance) -> Iterator[str]:
        """Yield what is wrong whatever the camera should see."""
        frozen = self._stillness is not None and self._stillness.lasts(frame)
        if "light" in self._checks and glance.may_be_blank(ALL_OF_IT):
            measures = measure(frame.pixels, frame.order)
            if measures.dark >= ALL_OF_IT:
                yield "the picture is black"
            if measures.bright >= ALL_OF_IT:
                yield "the picture is white"
            if plain(frame.pixels) >= ALL_OF_IT:  # What a decoder or a grabber shows that has no picture.
                yield "the picture is of one colour"
        if frozen:
            yield FROZEN


class Stillness:
    """Notices that pictures are equal, down to the last bit, and for too long."""

    def __init__(self, still_s: float) -> None:
        self._still_s = still_s
        self._sample: Pixels | None = None
        self._sum: int | None = None
        self._count = 0
        self._since = 0.0
        self._last = 0, -math.inf
        """The frame's number and exposure: its name."""

    def lasts(self, frame: Frame) -> bool:
        """Add a frame, and say whether the camera is frozen. Triggers may share one: it is no repeat of itself.

        All of a frame is summed only where some of its rows are the same, which a moving or noisy picture's never are:
        so the first of a row is taken at their word.
        """
        if (frame.number, frame.exposed) != self._last:
            self._add(frame)
        return self._count >= FROZEN_AFTER and frame.exposed - self._since >= self._still_s

    @property
    def repeats(self) -> bool:
        """Whether the last picture is the one before it once more, where no two may be equal."""
        return self._still_s == 0 and self._count > 1

    def _add(self, frame: Frame) -> None:
        sample = frame.pixels[::_SAMPLED].copy()
        same = self._sample is not None and np.array_equal(self._sample, sample)
        total = zlib.crc32(np.ascontiguousarray(frame.pixels).data) if same else None
        if same and self._sum in (None, total):
            self._count += 1
        else:
            self._count, self._since = 1, frame.exposed
        self._sample, self._sum, self._last = sample, total, (frame.number, frame.exposed)
