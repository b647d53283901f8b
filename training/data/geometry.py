"""Shows a window of a picture, turned or not, in one resampling, and reflects the picture beyond its edges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels

_SOFT = (Image.Resampling.NEAREST, Image.Resampling.BOX, Image.Resampling.BILINEAR)
_TURNED_REACH = 2
"""Pixels that a bicubic kernel needs on each side."""


class Window(NamedTuple):
    """The part of a picture to be seen: a rectangle in pixels that may leave it, turned about its own middle."""

    left: float
    top: float
    width: float
    height: float
    angle: float
    """Radians."""


def sample(picture: Pixels, window: Window, size: tuple[int, int], kernel: Image.Resampling) -> Image.Image:
    """Fill `size` (width, height) with what the window shows; beyond its edges the picture is reflected."""
    rows, columns = picture.shape[:2]
    cos, sin = math.cos(window.angle), math.sin(window.angle)
    middle_x, middle_y = window.left + window.width / 2, window.top + window.height / 2
    reach_x = (abs(cos) * window.width + abs(sin) * window.height) / 2
    reach_y = (abs(sin) * window.width + abs(cos) * window.height) / 2
    # Where Pillow turns, it gives black to what its kernel cannot reach.
    spare = _TURNED_REACH if window.angle else 0
    above, below = _beyond(middle_y - reach_y, middle_y + reach_y, rows, spare)
    before, after = _beyond(middle_x - reach_x, middle_x + reach_x, columns, spare)
    if above or below or before or after:
        picture = _reflect(picture, (above, below), (before, after))
    image = Image.fromarray(picture)
    if not window.angle:
        left, top = window.left + before, window.top + above
        return image.resize(size, kernel, box=(left, top, left + window.width, top + window.height))
    step_x, step_y = window.width / size[0], window.height / size[1]
    across = cos * step_x, -sin * step_y
    down = sin * step_x, cos * step_y
    left = before + middle_x - (across[0] * size[0] + across[1] * size[1]) / 2
    top = above + middle_y - (down[0] * size[0] + down[1] * size[1]) / 2
    # Pillow knows only these two kernels then.
    turned = Image.Resampling.BILINEAR if kernel in _SOFT else Image.Resampling.BICUBIC
    return image.transform(size, Image.Transform.AFFINE, (*across, left, *down, top), turned)


def _beyond(first: float, last: float, length: int, spare: int) -> tuple[int, int]:
    """Return how many pixels a stretch reaches beyond each end of 0 to `length`."""
    return max(0, math.ceil(spare - first)), max(0, math.ceil(spare + last - length))


def _reflect(picture: Pixels, vertical: tuple[int, int], horizontal: tuple[int, int]) -> Pixels:
    """Add so many pixels (before, after) on each axis: NumPy's symmetric padding, but a quarter of its time."""
    rows, columns = picture.shape[:2]
    if max(vertical) > rows or max(horizontal) > columns:
        return np.pad(picture, (vertical, horizontal, (0, 0)), mode="symmetric")
    (top, below), (left, after) = vertical, horizontal
    bottom, right = top + rows, left + columns
    wide = np.empty((bottom + below, right + after, picture.shape[2]), np.uint8)
    wide[top:bottom, left:right] = picture
    wide[top:bottom, :left] = wide[top:bottom, left : 2 * left][:, ::-1]
    wide[top:bottom, right:] = wide[top:bottom, right - after : right][:, ::-1]
    wide[:top] = wide[top : 2 * top][::-1]
    wide[bottom:] = wide[bottom - below : bottom][::-1]
    return wide
