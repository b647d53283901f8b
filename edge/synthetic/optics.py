"""Lamp, lens and sensor: the painted scene becomes the camera's picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge.synthetic.dice import Dice, Floats
    from edge.synthetic.surface import Scene

_GAIN = 0.9
"""How much a slope of 1 towards the lamp brightens a surface."""
_DARKEST, _BRIGHTEST = 0.35, 1.9
"""Limits of a slope's effect: stray light fills shadows, and no metal is a mirror."""
_SHARP = 1e-3
"""Less blur than this, in pixels squared, shows nothing."""
BLUR = (0.05, 0.9)
"""Least and most, pixels squared of a picture with a short side of BLUR_SIDE."""
BLUR_SIDE = 128


def expose(scene: Scene, dice: Dice) -> npt.NDArray[np.uint8]:
    """Light, focus and read out one picture; uint8 [height, width, 3], RGB."""
    planes = scene.albedo
    planes *= lamp(scene, dice)
    short = min(planes.shape[1:])
    blurred = defocus(planes, dice.uniform(*BLUR) * (short / BLUR_SIDE) ** 2)
    return read_out(blurred, dice)


def lamp(scene: Scene, dice: Dice) -> Floats:
    """Return each pixel's brightness, float [h, w]: the relief's shading, the lamp's falloff, one soft reflection."""
    grid, angle = scene.grid, dice.uniform(0, math.tau)
    x, y = math.cos(angle), math.sin(angle)
    gain = dice.uniform(0.6, 1.2) * _GAIN / (2 * grid.pixel)
    light = np.ones_like(scene.relief)
    light[:, 1:-1] += (gain * x) * (scene.relief[:, 2:] - scene.relief[:, :-2])
    light[1:-1] += (gain * y) * (scene.relief[2:] - scene.relief[:-2])
    np.minimum(light, _BRIGHTEST, out=light)
    np.maximum(light, _DARKEST, out=light)
    light *= _falloff(grid.u, grid.v, (x, y), dice)
    light += _reflection(scene, dice)
    return light


def _falloff(u: Floats, v: Floats, towards: tuple[float, float], dice: Dice) -> Floats:
    """Return the lamp's light: more towards it, less in the picture's corners, about 1 in the middle."""
    slope, corner = dice.uniform(0.05, 0.3), dice.uniform(0, 0.12)
    columns = 1 - (slope * towards[0]) * u - corner * u * u
    rows = (slope * towards[1]) * v + corner * v * v
    field: Floats = columns - rows[:, np.newaxis]
    return field


def _reflection(scene: Scene, dice: Dice) -> Floats:
    """Return a broad band of glare across the metal."""
    angle, width = dice.uniform(0, math.tau), dice.uniform(0.15, 0.5)
    across = scene.grid.plane(math.cos(angle) / width, math.sin(angle) / width, dice.uniform(-0.6, 0.6) / width)
    bell: Floats = np.reciprocal(1 + across * across)
    bell *= bell
    bell *= dice.uniform(0, 0.45)
    return bell * scene.metal


def defocus(planes: Floats, variance: float) -> Floats:
    """Blur planes [n, h, w] by [w, 1 - 2w, w] along both axes, at halving distances.

    They add up to `variance`, in pixels squared.
    """
    while variance > _SHARP:
        step = 1 << int(math.log2(max(1.0, math.sqrt(2 * variance))))
        weight = min(0.25, variance / (2 * step * step))
        planes = _spread(_spread(planes, step, weight).swapaxes(1, 2), step, weight).swapaxes(1, 2)
        variance -= 2 * weight * step * step
    return planes


def _spread(planes: Floats, step: int, weight: float) -> Floats:
    """Give a share of every row to the rows `step` above and below; what would leave the picture stays."""
    share = planes * weight
    result = planes - 2 * share
    result[:, step:] += share[:, :-step]
    result[:, :-step] += share[:, step:]
    result[:, :step] += share[:, :step]
    result[:, -step:] += share[:, -step:]
    return result


def read_out(planes: Floats, dice: Dice) -> npt.NDArray[np.uint8]:
    """Read planes [3, h, w] out: white balance, exposure, noise that grows with brightness; uint8 [h, w, 3]."""
    exposure = dice.uniform(230, 300)
    for channel in range(len(planes)):
        planes[channel] *= exposure * dice.uniform(0.96, 1.04)
    noise = dice.triangular(*planes.shape)
    noise *= dice.uniform(2, 8)
    noise *= 0.5 + planes * (0.5 / 128)
    planes += noise
    planes += 0.5
    np.minimum(planes, 255, out=planes)
    np.maximum(planes, 0, out=planes)
    return np.ascontiguousarray(planes.astype(np.uint8).transpose(1, 2, 0))
