"""Pictures of cutting inserts seen from above, intact or damaged, and the truth about each.

Part (seed, index) is always the same, whatever was rendered before it, and its intact twin differs from it
only by the damage. Same seed, same bytes: shown for numpy 1.26 and 2 on x86-64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge.record import Record
from edge.synthetic.damage import LABELS, Label, draw_wound, inflict
from edge.synthetic.dice import Dice
from edge.synthetic.optics import expose
from edge.synthetic.shapes import SHAPES, Shape, draw_grid, draw_outline
from edge.synthetic.surface import draw_scene

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge.contract.preprocess import Pixels

__all__ = ["LABELS", "MIN_AREA", "SHAPES", "Label", "Part", "Shape", "render", "truth"]

MIN_AREA = 0.012
"""No damage covers less of the picture than this, unless `render` is told so: 197 pixels of 128 x 128."""

_TRUTH, _SCENE, _OPTICS = range(3)


class Part(Record, frozen=True):
    """One picture and what it shows."""

    pixels: Pixels
    """uint8 [height, width, 3], RGB."""
    mask: npt.NDArray[np.bool_]
    """Bool [height, width]: the damaged pixels, before the lens blurs them; empty for an intact part."""
    label: Label
    shape: Shape


def truth(seed: int, index: int) -> Label:
    """Return what part (seed, index) is without rendering it: half are intact, the rest evenly damaged."""
    dice = Dice(seed, index, _TRUTH)
    return "intact" if dice.chance(0.5) else dice.pick(LABELS[1:])


def render(  # noqa: PLR0913 - each is one plain choice
    seed: int, index: int, *, height: int, width: int, label: Label | None = None, min_area: float = MIN_AREA
) -> Part:
    """Render part (seed, index), both >= 0, at any size from 32 pixels; `label` overrides the truth.

    `min_area` is the least share of the picture that a damage covers, 0-1.
    """
    label = label or truth(seed, index)
    dice = Dice(seed, index, _SCENE)
    outline = draw_outline(dice)
    grid = draw_grid(dice, outline, height, width)
    scene = draw_scene(dice, grid, outline)
    mask = np.zeros((height, width), np.bool_)
    if label != "intact":
        wound = draw_wound(scene, label, seed, index, min_area)
        mask = wound.mask
        inflict(scene, wound)
    return Part(expose(scene, Dice(seed, index, _OPTICS)), mask, label, outline.shape)
