"""A rendered station for tests of the guard: one fixture, one lamp, one kind of part, whose faults are known."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.camera.base import Frame
from edge.guard.baseline import learn
from edge.guard.measures import measure
from edge.record import Record
from edge.sections.cameras import FolderConfig
from edge.synthetic.damage import draw_wound, inflict
from edge.synthetic.dice import Dice
from edge.synthetic.optics import defocus, lamp, read_out
from edge.synthetic.shapes import draw_grid, draw_outline
from edge.synthetic.surface import draw_scene

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels
    from edge.guard.baseline import Baseline
    from edge.synthetic import Label

HEIGHT, WIDTH = 360, 640
_ROWS, _COLUMNS = 40, 70
"""Pixels all around that are rendered too, to be moved into sight."""
_FOCUS = 0.3
"""The lens' own blur in pixels squared."""


class PartDice(Dice):
    """The same scalars for every part of a station (its kind, its pose, the lamp), other arrays: finish and noise."""

    def __init__(self, station: int, part: int, stream: int) -> None:
        super().__init__(station, 0, stream)
        self._array_bits = Dice(station, part, stream)._array_bits


class Shot(Record, frozen=True):
    """How a picture is taken."""

    label: Label = "intact"
    empty: bool = False
    light: float = 1.0
    blur: float = 0.0
    """Pixels, beside the lens' own."""
    shift: tuple[int, int] = (0, 0)
    """Pixels to the right and down."""


GOOD = Shot()


@cache
def photograph(station: int, part: int, shot: Shot = GOOD) -> Pixels:
    """Take a picture of a station's part: uint8 [HEIGHT, WIDTH, 3], RGB."""
    dice, optics = PartDice(station, part, 1), PartDice(station, part, 2)
    outline = draw_outline(dice)
    scene = draw_scene(dice, draw_grid(dice, outline, HEIGHT + 2 * _ROWS, WIDTH + 2 * _COLUMNS), outline)
    if shot.label != "intact":
        inflict(scene, draw_wound(scene, shot.label, station, part, 0.012))
    if shot.empty:
        scene.albedo[:] = scene.floor
        scene.relief[:] = 0
        scene.metal[:] = 0
    planes = defocus(scene.albedo * lamp(scene, optics) * np.float32(shot.light), _FOCUS + shot.blur**2)
    top, left = _ROWS - shot.shift[1], _COLUMNS - shot.shift[0]
    return read_out(np.ascontiguousarray(planes[:, top : top + HEIGHT, left : left + WIDTH]), optics)


def frame(pixels: Pixels, number: int = 1) -> Frame:
    """Wrap pixels as a camera does."""
    return Frame(number, str(number), 0.0, pixels)


def at_rest(station: int, parts: range) -> list[Pixels]:
    """Take good parts as they lie in a fixture: each within two thirds of a percent of the others."""
    rng = np.random.default_rng(station)
    play = rng.integers(-2, 3, (parts.stop, 2)).tolist()
    return [photograph(station, part, Shot(shift=(play[part][0], play[part][1]))) for part in parts]


CAMERA = FolderConfig(path=Path())


def taught(pictures: list[Pixels]) -> Baseline:
    """Learn a baseline of these pictures."""
    return learn(CAMERA, pictures[0].shape[:2], [measure(each, "RGB") for each in pictures])
