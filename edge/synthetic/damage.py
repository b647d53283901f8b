"""The four kinds of damage: how much of each pixel they cover, what shows there, and the relief they leave."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from edge.record import Record
from edge.synthetic.dice import Dice, smooth_noise
from edge.synthetic.surface import CARBIDE, unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from edge.synthetic.dice import Floats
    from edge.synthetic.shapes import Grid, Point
    from edge.synthetic.surface import Scene, Tint

Label: TypeAlias = Literal["intact", "chipped_corner", "flank_wear", "crack", "built_up_edge"]
LABELS: tuple[Label, ...] = get_args(Label)

_STREAM = 3
_GROWTH = 1.25
_STEEL: tuple[Tint, ...] = ((0.82, 0.96, 1.24), (1.2, 0.98, 0.68))
"""What sticks to an edge: workpiece steel that the cut's heat has coloured blue or straw."""
_SEEN = 0.35
"""A pixel counts as damaged from this share."""


class Wound(Record, frozen=True):
    """One damage, float32 [height, width] each."""

    cover: Floats
    """The share of each pixel that it covers, 0-1."""
    level: Floats
    """The share of the light that the material there reflects."""
    tint: Tint
    relief: Floats
    """Height to add, in insert units."""
    lost: Floats | None = None
    """The share of each pixel where the insert is gone and the background shows."""

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """The damaged pixels."""
        return self.cover > _SEEN


def draw_wound(scene: Scene, label: Label, seed: int, index: int, min_area: float) -> Wound:
    """Draw one damage that covers at least `min_area` of the picture (0-1): a smaller draw is grown until it does."""
    size = 1.0
    while True:
        wound = _KINDS[label](scene, Dice(seed, index, _STREAM), size)
        if np.count_nonzero(wound.mask) >= min_area * wound.cover.size:
            return wound
        size *= _GROWTH


def inflict(scene: Scene, wound: Wound) -> None:
    """Paint one damage into the picture."""
    scene.paint(wound.cover, wound.level, wound.tint)
    scene.relief += wound.relief
    if wound.lost is not None:
        scene.albedo += wound.lost * (scene.floor - scene.albedo)
        scene.relief *= 1 - wound.lost


def _chipped_corner(scene: Scene, dice: Dice, size: float) -> Wound:
    """Break a shell-shaped piece off: its outer part is gone, a rough facet slopes down to it."""
    site = scene.outline.corner(dice)
    radius = size * dice.uniform(0.13, 0.3)
    centre = site.inward(radius * dice.uniform(-0.35, 0.15), radius * dice.uniform(-0.3, 0.3))
    edge = scene.grid.distance(*centre)
    edge += radius * (0.35 * smooth_noise(dice, edge.shape, 0.07) - 1)
    facet = radius * dice.uniform(0.25, 0.6)
    rough = smooth_noise(dice, edge.shape, 0.025)
    cover = scene.share_below(edge) * scene.share_below(-scene.depth)
    relief = np.minimum(edge, 0) * dice.uniform(0.3, 0.9) + 0.02 * rough
    level = dice.uniform(0.12, 0.32) * (1 + 0.4 * rough)
    return Wound(cover, level, CARBIDE, relief * cover, lost=scene.share_below(edge, -facet) * cover)


def _flank_wear(scene: Scene, dice: Dice, size: float) -> Wound:
    """Rub a band of the cutting edge away: bright striae across it, a dark burnt line where it ends."""
    site = scene.outline.edge(dice)
    (nx, ny), (tx, ty) = site.normal, site.tangent
    length = min(size * dice.uniform(0.2, 0.45), site.room + 0.5 * scene.outline.nose)
    width = size * dice.uniform(0.07, 0.14)
    along = scene.grid.plane(tx, ty, -tx * site.x - ty * site.y)
    share = along * (1 / length)
    ragged = smooth_noise(dice, along.shape, 0.05)
    inward = scene.depth if scene.outline.shape == "round" else scene.grid.plane(-nx, -ny, nx * site.x + ny * site.y)
    edge = inward - width * unit(2 * (1 - share * share)) * (0.85 + 0.4 * ragged)
    cover = scene.share_below(edge) * scene.share_below(np.abs(along), length) * scene.metal
    cover *= scene.share_below(scene.grid.plane(-nx, -ny))
    table = dice.triangular(256)
    striae = table.take((along * (1 / dice.uniform(0.012, 0.03))).astype(np.int32) & 255)
    burnt = unit(edge * (-2 / width))
    level = dice.uniform(0.72, 0.95) * (0.12 + 0.88 * burnt) * (1 + 0.4 * striae)
    recession = scene.share_below(edge, -0.85 * width)
    return Wound(cover, level, CARBIDE, np.minimum(edge, 0) * cover * 0.3, lost=recession * cover)


def _crack(scene: Scene, dice: Dice, size: float) -> Wound:
    """Open a jagged line that starts at the edge and narrows inward."""
    path = _crack_path(scene, dice, size * dice.uniform(0.4, 0.75))
    width = size * dice.uniform(0.011, 0.02)
    edge = np.ones_like(scene.depth)
    for number, (start, end) in enumerate(pairwise(path)):
        taper = 1 - 0.6 * number / (len(path) - 2)
        middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        window = scene.grid.window(*middle, math.dist(start, end) / 2 + width)
        near = _segment(scene.grid.crop(*window), start, end) - width * taper
        np.minimum(edge[window], near, out=edge[window])
    cover = scene.share_below(edge) * scene.metal
    level = np.full_like(edge, dice.uniform(0.03, 0.1))
    return Wound(cover, level, CARBIDE, -1.5 * width * cover)


def _crack_path(scene: Scene, dice: Dice, length: float) -> list[Point]:
    site = dice.pick((scene.outline.edge, scene.outline.corner))(dice)
    heading = math.atan2(-site.normal[1], -site.normal[0]) + dice.uniform(-0.5, 0.5)
    path = [(site.x, site.y)]
    for _ in range(6):
        angle, step = heading + dice.uniform(-0.7, 0.7), length / 6 * dice.uniform(0.7, 1.3)
        x, y = path[-1]
        path.append((x + step * math.cos(angle), y + step * math.sin(angle)))
    return path


def _segment(grid: Grid, start: Point, end: Point) -> Floats:
    """Return every pixel's distance from a line segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    square = dx * dx + dy * dy
    share = unit(grid.plane(dx / square, dy / square, -(start[0] * dx + start[1] * dy) / square))
    x = grid.plane(1, 0, -start[0]) - dx * share
    y = grid.plane(0, 1, -start[1]) - dy * share
    field: Floats = np.sqrt(x * x + y * y)
    return field


def _built_up_edge(scene: Scene, dice: Dice, size: float) -> Wound:
    """Weld a lump of workpiece steel on the edge; it sticks out over the outline."""
    site = dice.pick((scene.outline.edge, scene.outline.corner))(dice)
    (nx, ny), (tx, ty) = site.normal, site.tangent
    width = size * dice.uniform(0.07, 0.13)
    length = width * (dice.uniform(1.5, 2.6) if site.room else dice.uniform(0.9, 1.4))
    x, y = site.inward(width * dice.uniform(-0.1, 0.4))
    along = scene.grid.plane(tx / length, ty / length, -(tx * x + ty * y) / length)
    across = scene.grid.plane(nx / width, ny / width, -(nx * x + ny * y) / width)
    edge: Floats = np.sqrt(along * along + across * across)
    edge += 0.45 * smooth_noise(dice, edge.shape, 0.06) - 1
    rough = smooth_noise(dice, edge.shape, 0.03)
    cover = scene.share_below(edge * width)
    relief = cover * (0.08 * unit(-2 * edge) + 0.025 * rough)
    level = dice.uniform(0.5, 0.8) * (1 + 0.25 * rough)
    return Wound(cover, level, dice.pick(_STEEL), relief)


_KINDS: Mapping[str, Callable[[Scene, Dice, float], Wound]] = {
    "chipped_corner": _chipped_corner,
    "flank_wear": _flank_wear,
    "crack": _crack,
    "built_up_edge": _built_up_edge,
}
