"""Makes a baseline of what some frames showed, or says why they teach nothing. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge.errors import DataError
from edge.guard.baseline import FEWEST, learn, median_picture
from edge.guard.measures import measure
from edge.guard.scene import Scene

if TYPE_CHECKING:
    from edge.camera.base import Frame
    from edge.config import Config
    from edge.guard.baseline import Baseline
    from edge.guard.measures import Measures

_MOST_UNFIT = 0.1
"""The share of the frames, 0-1, that may be unlike the others: a hand, a part that was being changed."""


class Lesson:
    """What frames of one scene showed."""

    def __init__(self) -> None:
        self._size = (0, 0)
        self._measured: list[Measures] = []

    def __len__(self) -> int:
        return len(self._measured)

    def add(self, frame: Frame) -> None:
        """Measure another frame; raises DataError for one of another size than those before."""
        height, width = frame.pixels.shape[:2]
        if self._measured and self._size != (height, width):
            before = f"{self._size[1]}x{self._size[0]}"
            raise DataError(f"{frame.source}: {width}x{height} pixels, the frames before had {before}; set one size")
        self._size = (height, width)
        self._measured.append(measure(frame.pixels, frame.order))

    def of_good_parts(self, config: Config) -> Baseline:
        """Return what these frames teach; raises DataError if they are too few, or do not agree."""
        self._require_enough()
        baseline = learn(config.camera, self._size, self._measured)
        if reason := baseline.misfit(config.camera, config.guard.checks):
            raise DataError(reason)
        scene = Scene(baseline, config.guard)
        reasons = [reason for each in self._measured if (reason := scene.judge(each).reason)]
        if len(reasons) > _MOST_UNFIT * len(self):
            raise DataError(
                f"{len(reasons)} of {len(self)} frames do not fit what the others show, the first: {reasons[0]}; "
                "let good parts rest in one place in steady light, or leave out of guard.checks what cannot be"
            )
        return baseline

    def of_the_empty_fixture(self, before: Baseline) -> Baseline:
        """Return a baseline that knows the empty fixture too; raises DataError if it looks as it does with a part."""
        self._require_enough()
        if self._size != (before.height, before.width):
            raise DataError(before.other_size(*self._size))
        picture = median_picture(self._measured)
        found = before.reference("part").place(picture.astype(np.float32)).likeness
        if found >= before.usual_likeness:
            usual = f"likeness {found:.3f}, parts have {before.usual_likeness:.3f} or more"
            raise DataError(f"the fixture looks as it does with a part ({usual}); take the part away")
        return msgspec.structs.replace(before, empty=picture.tobytes())

    def _require_enough(self) -> None:
        if len(self) < FEWEST:
            raise DataError(f"only {len(self)} frames came, at least {FEWEST} are needed")
