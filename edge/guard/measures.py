"""What a frame's pixels say of how it was taken: light, focus, and what is left of it for comparisons. Pure.

All of it is measured on one small copy of the frame, so that it costs little and means the same for any camera.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from edge.contract.preprocess import require_picture
from edge.record import Record

if TYPE_CHECKING:
    from edge.contract.preprocess import ChannelOrder, Pixels

Floats: TypeAlias = npt.NDArray[np.float32]

LONGEST = 320
"""Pixels of the small copy's longer side at most. It is reduced by a whole factor, so a large frame's has over half."""
DARK, BRIGHT = 16, 240
"""Levels, 0-255, up to and from which a pixel of the small copy shows nothing: video's black (ITU-R BT.601), and what a
block of pixels is that are nearly all clipped."""
_GLANCED = 8
"""A glance is at one row of so many."""
LUMA = {"RGB": (0.299, 0.587, 0.114), "BGR": (0.114, 0.587, 0.299)}
"""The channels' shares in luma (ITU-R BT.601)."""
_GREY = 2
"""Axes of a picture without colour."""
_LEAST = 3
"""Pixels a side, below which there is no Laplacian."""
_ROUNDING = 1.0
"""Levels squared: a picture that varies less is one level and its rounding."""
_PLAIN = 1
"""Levels by which each channel of a pixel may differ from the middle one's in a picture of one colour."""


class Measures(Record, frozen=True):
    """What was measured on one frame."""

    luma: float
    """The mean, 0-255."""
    dark: float
    """The share of pixels, 0-1, of which each channel is at most DARK."""
    bright: float
    """The share of pixels, 0-1, of which any channel is at least BRIGHT: coloured light clips one of them first."""
    sharpness: float
    """The variance of the Laplacian in percent of the variance of luma, both of the small copy.

    Brighter light scales both alike. A ratio of two finer scales would depend less on what the part looks like, but
    far out of focus both are noise, and it rises again.
    """
    picture: Floats
    """Luma, 0-255, float32 [h, w] as `picture_shape` says."""


def measure(pixels: Pixels, order: ChannelOrder) -> Measures:
    """Measure a frame, uint8 [h, w], [h, w, 1] or [h, w, 3] in `order`; raises ValueError for anything else."""
    luma, top = _luma_and_top(_small(pixels), order)
    return Measures(
        luma=float(luma.mean()),
        dark=float(np.mean(top <= DARK)),
        bright=float(np.mean(top >= BRIGHT)),
        sharpness=100 * _laplacian_variance(luma) / max(float(luma.var()), _ROUNDING),
        picture=halved(luma),
    )


def plain(pixels: Pixels) -> float:
    """Return the share of the small copy, 0-1, that has the colour of its middle level; pixels as for `measure`."""
    small = _small(pixels)
    colours = small.reshape(-1, 1 if small.ndim == _GREY else small.shape[2])
    apart = np.abs(colours - np.median(colours, axis=0)).max(axis=1)
    return float(np.mean(apart <= _PLAIN))


class Glance:
    """Every eighth row of the small copy: by it most frames are known to show something."""

    def __init__(self, pixels: Pixels) -> None:
        """Take it of a frame as for `measure`; raises ValueError for what is no picture."""
        require_picture(pixels)
        self._factor = _factor(*pixels.shape[:2])
        rows, step = pixels.shape[0], _GLANCED * self._factor
        strips = [pixels[row : row + self._factor] for row in range(0, rows - self._factor + 1, step)]
        self._strips: Pixels = np.concatenate(strips) if strips else pixels[:0]
        """The frame's rows that it was made of, each small one's `_factor` of them, uint8 as the frame."""
        height, width = (-(-length // self._factor) for length in pixels.shape[:2])
        self._whole = height * width

    def may_be_blank(self, share: float) -> bool:
        """Say whether such a share of the small copy, 0-1, may be dark, bright or of one colour.

        Only `measure` and `plain` say that it is. Where more pixels of these rows alone are none of that than the rest
        of the share leaves, it surely is not.
        """
        others = self._whole * (1 - share)
        if self._strips.size == 0:
            return True
        small = _reduced(self._strips, self._factor)
        top = small if small.ndim == _GREY else _brightest(small)
        if top.size <= 2 * others:
            return True  # Its middle level may be one of the others'.
        level = np.median(top)
        alike = (level - 2 * _PLAIN <= top) & (top <= level + 2 * _PLAIN)
        return any(top.size - int(np.count_nonzero(blank)) <= others for blank in (top <= DARK, top >= BRIGHT, alike))


def picture_shape(height: int, width: int) -> tuple[int, int]:
    """Return what `Measures.picture` has as (height, width) for a frame of a height and width in pixels."""
    factor = _factor(height, width)
    rows, columns = (max(1, -(-length // factor) // 2) for length in (height, width))
    return rows, columns


def halved(luma: Floats) -> Floats:
    """Return the means of 2 x 2 pixels; an odd last row or column is left out, a single one stays."""
    for axis in (0, 1):
        even = luma.shape[axis] // 2 * 2
        if even:
            lines = luma.swapaxes(0, axis)
            luma = ((lines[:even:2] + lines[1:even:2]) * np.float32(0.5)).swapaxes(0, axis)
    return luma


def _factor(height: int, width: int) -> int:
    return -(-max(height, width) // LONGEST)


def _small(pixels: Pixels) -> Pixels:
    require_picture(pixels)
    return _reduced(pixels, _factor(*pixels.shape[:2]))


def _reduced(pixels: Pixels, factor: int) -> Pixels:
    if pixels.ndim > _GREY and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if factor == 1:
        return pixels
    from PIL.Image import fromarray

    return np.asarray(fromarray(np.ascontiguousarray(pixels)).reduce(factor))


def _luma_and_top(small: Pixels, order: ChannelOrder) -> tuple[Floats, Pixels]:
    """Return each pixel's luma and its brightest channel."""
    if small.ndim == _GREY:
        return small.astype(np.float32), small
    luma: Floats = small.astype(np.float32) @ np.array(LUMA[order], np.float32)
    return luma, _brightest(small)


def _brightest(small: Pixels) -> Pixels:
    """Return each pixel's brightest channel."""
    return np.maximum(np.maximum(small[..., 0], small[..., 1]), small[..., 2])


def _laplacian_variance(luma: Floats) -> float:
    """Return a measure of focus (Pech-Pacheco et al., 2000), in levels squared."""
    if min(luma.shape) < _LEAST:
        return 0.0
    laplacian = 4 * luma[1:-1, 1:-1]
    for neighbour in (luma[1:-1, :-2], luma[1:-1, 2:], luma[:-2, 1:-1], luma[2:, 1:-1]):
        laplacian -= neighbour
    return float(laplacian.var())
