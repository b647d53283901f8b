"""The intact insert on its background: what every material reflects, and the relief that the light finds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edge.synthetic.dice import smooth_noise

if TYPE_CHECKING:
    from edge.synthetic.dice import Dice, Floats
    from edge.synthetic.shapes import Grid, Outline

Tint: TypeAlias = tuple[float, float, float]
"""Red, green, blue gains; about 1."""

CARBIDE: Tint = (1.0, 0.99, 0.97)
_COATINGS: tuple[tuple[Tint, float, float], ...] = (
    (CARBIDE, 0.42, 0.62),
    ((0.97, 1.0, 1.05), 0.42, 0.62),
    ((1.16, 0.94, 0.5), 0.46, 0.62),  # titanium nitride: gold
    ((1.06, 0.92, 1.06), 0.3, 0.42),  # titanium aluminium nitride: violet grey
)
"""Tint and the least and greatest share of the light that it reflects."""
_FIXTURES: tuple[Tint, ...] = ((1.0, 1.0, 1.0), (0.86, 0.97, 1.16), (1.1, 1.0, 0.86), (0.88, 1.06, 0.94))
_CAMOUFLAGE = 0.12
"""An insert as grey as its background would have no outline: its brightness differs by this at least."""
_STREAKS = 1024
"""Length of the table of brush streaks; it repeats far beyond an insert's width."""


@dataclass(slots=True)
class Scene:
    """A picture being painted: arrays of float32 [height, width], `albedo` with 3 colour planes before them."""

    grid: Grid
    outline: Outline
    depth: Floats
    """Distance inward from the outline, in insert units; negative outside."""
    metal: Floats
    """The share of each pixel that the insert covers, its hole left out, 0-1."""
    albedo: Floats
    """The share of the light that each pixel reflects."""
    floor: Floats
    """The albedo under the insert."""
    relief: Floats
    """Height above the honed edge in insert units; 0 outside the insert."""

    def paint(self, cover: Floats, level: Floats | float, tint: Tint) -> None:
        """Lay a material over the picture; `cover` is its share of each pixel, 0-1."""
        for channel, gain in enumerate(tint):
            plane = self.albedo[channel]
            plane += cover * (level * gain - plane)

    def near(self, x: float, y: float, radius: float) -> Scene:
        """Return the part of the scene around a disc; painting it paints the whole."""
        window = self.grid.window(x, y, radius)
        planes = (slice(None), *window)
        return Scene(
            grid=self.grid.crop(*window),
            outline=self.outline,
            depth=self.depth[window],
            metal=self.metal[window],
            albedo=self.albedo[planes],
            floor=self.floor[planes],
            relief=self.relief[window],
        )

    def share_below(self, distance: Floats, limit: float = 0.0) -> Floats:
        """Return the share of each pixel, 0-1, where a distance (insert units) is below a limit."""
        share = distance * (-1 / self.grid.pixel)
        share += 0.5 + limit / self.grid.pixel
        return unit(share)


def unit(values: Floats) -> Floats:
    """Clip to 0-1, in place."""
    np.minimum(values, 1, out=values)
    return np.maximum(values, 0, out=values)


def draw_scene(dice: Dice, grid: Grid, outline: Outline) -> Scene:
    """Draw the background and an intact insert on it."""
    albedo, level = _background(dice, grid)
    depth = -outline.distance(grid)
    scene = Scene(grid, outline, depth, np.empty_like(depth), albedo, albedo, np.zeros_like(depth))
    scene.metal = scene.share_below(-depth)
    _cast_shadow(scene, dice)
    scene.floor = albedo.copy()
    _insert(scene, dice, level)
    _hole(scene, dice)
    _innocent_marks(scene, dice)
    return scene


def _background(dice: Dice, grid: Grid) -> tuple[Floats, float]:
    """Draw a dark fixture plate: blotches and a gradient."""
    level = dice.uniform(0.08, 0.2)
    field = smooth_noise(dice, grid.shape, dice.uniform(0.15, 0.5))
    field *= dice.uniform(0.03, 0.12)
    field += dice.uniform(0.01, 0.06) * smooth_noise(dice, grid.shape, 0.03)
    angle, slope = dice.uniform(0, math.tau), dice.uniform(0, 0.12)
    field += grid.plane(slope * math.cos(angle), slope * math.sin(angle), 1)
    field *= level
    albedo = np.stack([field * gain for gain in dice.pick(_FIXTURES)])
    return albedo, level


def _cast_shadow(scene: Scene, dice: Dice) -> None:
    """Darken the background near the insert, more on the side away from the lamp."""
    width, strength = dice.uniform(0.05, 0.25), dice.uniform(0.2, 0.6)
    angle = dice.uniform(0, math.tau)
    near = unit(1 + scene.depth * (1 / width))
    side = unit(scene.grid.plane(0.5 * math.cos(angle), 0.5 * math.sin(angle), 0.5))
    scene.albedo *= 1 - strength * near * near * side


def _insert(scene: Scene, dice: Dice, background: float) -> None:
    """Paint the ground land, the chip-breaker groove and the brushed plateau; carve groove and honed edge."""
    tint, low, high = dice.pick(_COATINGS)
    level = dice.uniform(low, high)
    if abs(level - background) < _CAMOUFLAGE:
        level += _CAMOUFLAGE
    size = scene.outline.inradius
    land, groove = size * dice.uniform(0.06, 0.16), size * dice.uniform(0.12, 0.3)
    share = unit((scene.depth - land) * (1 / groove))
    hollow = share * (1 - share)
    scene.relief -= dice.uniform(0.5, 1.3) * groove * hollow * hollow * 4
    hone = dice.uniform(0.02, 0.05)
    worn = unit(1 - scene.depth * (1 / hone))
    scene.relief += dice.uniform(0.2, 0.6) * hone * (1 - worn * worn)
    plateau = unit((scene.depth - (land + groove)) * 40)
    tone = (1 - dice.uniform(0, 0.25) * 4 * hollow) * level
    tone *= 1 + (0.25 + 0.75 * plateau) * _brush(scene, dice)
    scene.paint(scene.metal, tone, tint)


def _brush(scene: Scene, dice: Dice) -> Floats:
    """Return the brushed finish as relative brightness around 0: streaks along one direction, of uneven strength."""
    grid, angle = scene.grid, dice.uniform(0, math.tau)
    table = dice.triangular(_STREAKS)
    pitch = dice.uniform(0.008, 0.025)
    across = grid.plane(math.cos(angle) / pitch, math.sin(angle) / pitch, _STREAKS)
    streaks: Floats = table.take(across.astype(np.int32) & (_STREAKS - 1))
    wide: Floats = table.take((across * 0.23).astype(np.int32) & (_STREAKS - 1))
    streaks += wide
    patches = smooth_noise(dice, grid.shape, 0.2)
    streaks *= dice.uniform(0.03, 0.14) * (1 + 0.6 * patches)
    return streaks


def _hole(scene: Scene, dice: Dice) -> None:
    """Drill the centre hole: a countersink that catches the light and a dark bore."""
    grid, size = scene.grid, scene.outline.inradius
    radius, sink = size * dice.uniform(0.34, 0.48), size * dice.uniform(0.08, 0.18)
    distance = grid.distance(0, 0)
    wall = unit(1 - (distance - radius) * (1 / sink))
    scene.relief -= dice.uniform(0.4, 0.9) * sink * wall
    bore = scene.share_below(distance, radius)
    angle = dice.uniform(0, math.tau)
    glint = grid.plane(0.2 * math.cos(angle) / radius, 0.2 * math.sin(angle) / radius, 0.3)
    scene.paint(bore, dice.uniform(0.1, 0.35) * glint, CARBIDE)
    scene.metal *= 1 - bore


def _innocent_marks(scene: Scene, dice: Dice) -> None:
    """Add what no inspector minds: a stain, straight scratches, dust."""
    if dice.chance(0.4):
        stain = smooth_noise(dice, scene.depth.shape, 0.3)
        scene.albedo *= 1 - dice.uniform(0.1, 0.35) * unit(2 * stain)
    for _ in range(int(dice.uniform(0, 3.5))):
        _scratch(scene, dice)
    for _ in range(int(dice.uniform(0, 6))):
        _dust(scene, dice)


def _scratch(scene: Scene, dice: Dice) -> None:
    angle, offset = dice.uniform(0, math.tau), dice.uniform(-0.5, 0.5)
    across = np.abs(scene.grid.plane(math.cos(angle), math.sin(angle), offset))
    along = np.abs(scene.grid.plane(-math.sin(angle), math.cos(angle), dice.uniform(-0.5, 0.5)))
    cover = scene.share_below(across, dice.uniform(0.001, 0.006))
    cover *= scene.share_below(along, dice.uniform(0.1, 0.5)) * scene.metal
    scene.albedo *= 1 + dice.uniform(-0.2, 0.45) * cover


def _dust(scene: Scene, dice: Dice) -> None:
    """Put one speck anywhere in the picture."""
    radius, x, y = dice.uniform(0.008, 0.022), dice.uniform(-1, 1), dice.uniform(-1, 1)
    level = dice.pick((dice.uniform(0.05, 0.2), dice.uniform(0.7, 0.95)))
    spot = scene.near(x, y, radius)
    spot.paint(spot.share_below(spot.grid.distance(x, y), radius), level, CARBIDE)
