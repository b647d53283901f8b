"""What frames of good parts look like, and by how much a frame may differ from that: learned once, on the line. Pure.

The rule: a measure may lie 5 standard deviations from its median. The deviation is taken as 1.4826 times the median
absolute deviation, which a hand in a few frames does not change. Of frames that are spread normally, 3 in 10 million
are beyond one limit; 400 in 10 million where the deviation itself was learned from 50 frames. Each limit is widened to
what does not harm the judging, so that a baseline of equal frames does not refuse the next one; on a steady station
that is the wider one, and refuses nothing by mistake.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from edge.contract.names import NAME_PATTERN
from edge.contract.preprocess import Rotation
from edge.guard.measures import picture_shape
from edge.guard.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.contract.preprocess import Pixels
    from edge.guard.measures import Measures
    from edge.sections.cameras import CameraConfig

RETAKE = "take a new one with edge-inspect baseline"
FEWEST, MOST = 10, 500
"""Frames: fewer say nothing of their spread, more would only take longer."""
DEVIATIONS = 5.0
_TO_DEVIATION = 1.4826
"""A normal distribution's standard deviation by its median absolute deviation."""
_LUMA_PLAY = 0.2
"""Of the expected luma; training's augmentation moves a picture by about as much."""
_LEVELS = 4.0
"""By which luma may differ in any case, of 255."""
_SHARE_PLAY = 0.1
"""Of the pixels, by which more may be dark or bright: a defect may be."""
_SHARPNESS_PLAY = math.log(2)
"""In logarithms: down to half the sharpness, which a blur of half a pixel of the small copy takes."""
_SHARPNESS_LEAST = 0.01
"""So much is taken for what is less: a picture of one level has no logarithm."""
_LIKE = 0.5
"""The likeness to the reference that is always enough, for a defect must be judged: the worst of 288 rendered ones has
0.64, the best of 96 empty fixtures 0.11."""
_ALIKE, _STILL_ALIKE = 0.7, 0.3
"""The least likeness of frames that show one scene, typically and 5 deviations below: an empty fixture has less."""
_WIDEST = 300
"""No measure, nor the logarithm of one, is larger."""
PLACED = frozenset({"part", "fixture"})
"""The checks that compare a frame with a reference picture."""


class Spread(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a measure is spread over the frames that were learned from."""

    median: Annotated[float, msgspec.Meta(ge=-_WIDEST, le=_WIDEST)]
    deviation: Annotated[float, msgspec.Meta(ge=0, le=_WIDEST)]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the median and the standard deviation, robustly."""
        median = float(np.median(values))
        return cls(median, _TO_DEVIATION * float(np.median(np.abs(np.subtract(values, median)))))

    def play(self, least: float) -> float:
        """Return how far from the median is still right; `least` in any case."""
        return max(DEVIATIONS * self.deviation, least)


_Side = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was learned of one camera's view."""

    camera: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
    rotate: Rotation
    width: _Side
    """Pixels of the frame, as the camera delivers it."""
    height: _Side
    frames: Annotated[int, msgspec.Meta(ge=1)]
    """How many were learned from."""
    luma: Spread
    dark: Spread
    bright: Spread
    sharpness: Spread
    """Of its natural logarithm."""
    likeness: Spread
    part: bytes
    """The reference picture of good parts: luma, uint8, as `picture_shape` says, row by row."""
    empty: bytes = b""
    """The same of the fixture without a part; none if it was not taken."""

    def __post_init__(self) -> None:
        """Refuse pictures of another size; raises ValueError."""
        if {len(self.part), len(self.empty) or len(self.part)} != {math.prod(picture_shape(self.height, self.width))}:
            raise ValueError("a reference picture of another size")

    @property
    def luma_limits(self) -> tuple[float, float]:
        """The least and the greatest mean luma."""
        play = self.luma.play(max(_LEVELS, _LUMA_PLAY * self.luma.median))
        return self.luma.median - play, self.luma.median + play

    @property
    def most_dark(self) -> float:
        """The greatest share of dark pixels, 0-1."""
        return self.dark.median + self.dark.play(_SHARE_PLAY)

    @property
    def most_bright(self) -> float:
        """The greatest share of bright pixels, 0-1."""
        return self.bright.median + self.bright.play(_SHARE_PLAY)

    @property
    def least_sharpness(self) -> float:
        """The least sharpness."""
        return math.exp(self.sharpness.median - self.sharpness.play(_SHARPNESS_PLAY))

    @property
    def usual_sharpness(self) -> float:
        """The typical sharpness."""
        return math.exp(self.sharpness.median)

    @property
    def usual_likeness(self) -> float:
        """The likeness that good parts have at least, as a rule."""
        return self.likeness.median - self.likeness.play(0)

    @property
    def least_likeness(self) -> float:
        """The least likeness to the reference picture."""
        return min(_LIKE, self.usual_likeness)

    @property
    def alike(self) -> bool:
        """Whether the frames showed one scene, so that another can be compared with them."""
        return self.likeness.median >= _ALIKE and self.usual_likeness >= _STILL_ALIKE

    def reference(self, kind: Literal["part", "empty"]) -> Reference:
        """Return one of the reference pictures, to compare with."""
        shape = picture_shape(self.height, self.width)
        return Reference(np.frombuffer(getattr(self, kind), np.uint8).reshape(shape).astype(np.float32))

    def misfit(self, camera: CameraConfig, checks: Iterable[str]) -> str:
        """Say why this is not for a camera, or not for these checks; empty if it is."""
        if (self.camera, self.rotate) != (camera.name, camera.rotate):
            mine, yours = f"{self.camera!r}, rotate = {self.rotate}", f"{camera.name!r}, rotate = {camera.rotate}"
            return f"the baseline is of camera {mine}, not {yours}; {RETAKE}"
        if not self.alike and not PLACED.isdisjoint(checks):
            found = f"likeness {self.likeness.median:.2f}, down to {self.usual_likeness:.2f}"
            return (
                f"the baseline's frames differ too much to compare others with ({found}; {_ALIKE:g} and "
                f"{_STILL_ALIKE:g} are needed): let good parts rest in one place and {RETAKE}, "
                'or leave "part" and "fixture" out of guard.checks'
            )
        return ""

    def other_size(self, height: int, width: int) -> str:
        """Say that a frame is of another size than this, in pixels; empty if it is not."""
        if (height, width) == (self.height, self.width):
            return ""
        return f"the frame has {width}x{height} pixels, the baseline {self.width}x{self.height}; {RETAKE}"


def learn(camera: CameraConfig, size: tuple[int, int], measured: Sequence[Measures]) -> Baseline:
    """Learn from the measures of some frames, all of the same size (height, width) in pixels."""
    typical = median_picture(measured)
    reference = Reference(typical.astype(np.float32))
    return Baseline(
        camera=camera.name,
        rotate=camera.rotate,
        height=size[0],
        width=size[1],
        frames=len(measured),
        luma=Spread.of([each.luma for each in measured]),
        dark=Spread.of([each.dark for each in measured]),
        bright=Spread.of([each.bright for each in measured]),
        sharpness=Spread.of([math.log(max(each.sharpness, _SHARPNESS_LEAST)) for each in measured]),
        likeness=Spread.of([reference.place(each.picture).likeness for each in measured]),
        part=typical.tobytes(),
    )


def median_picture(measured: Sequence[Measures]) -> Pixels:
    """Return what most frames show at each place: luma, uint8 [h, w]."""
    typical: Pixels = np.rint(np.median([each.picture for each in measured], axis=0)).astype(np.uint8)
    return typical
