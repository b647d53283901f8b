"""What light, lens, sensor and JPEG do to a picture: each a function of uint8 [h, w, 3] and of how much.

Most of the time goes by in Pillow's and NumPy's loops, which let other threads run.
"""

from __future__ import annotations

import io
import math
import threading
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge.contract.preprocess import NEUTRAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.contract.preprocess import Pixels

_Words: TypeAlias = npt.NDArray[np.uint16]

_LEVELS = (np.arange(256) + 1 / 2) / 256
_LOG_ODDS = np.log(_LEVELS / (1 - _LEVELS))
_MOST_LIGHT = 0.9
"""Of the full range: all that brightness and warmth together may move a level."""
MOST_NOISE = 0.1
"""Largest standard deviation of the noise, of the full range: what 16 bits of arithmetic hold."""
_LONGEST_KERNEL = 128
"""Pixels; twice what a deviation of 8 needs."""
_NOISE_VALUES = 1 << 22
_NOISE_STEPS = 25.4
"""Steps of the drawn noise in a standard deviation; it ends at five deviations, 127 steps."""


def light(image: Image.Image, *, contrast: float, brightness: float, warmth: float) -> Image.Image:
    """Change brightness, contrast and colour by a curve of levels for each channel, all in one table.

    Mid-grey moves by `brightness` (of the full range), levels about it spread by the factor `contrast`, and red moves
    up and blue down by `warmth` besides. Black stays black and white stays white: the curve bends instead of clipping
    (it is a line between log odds), because a pit in a highlight that was clipped is gone.
    """
    if contrast == 1 and not brightness and not warmth:
        return image
    moved = np.add.outer([_log_odds(brightness + warmth * side) for side in (1, 0, -1)], contrast * _LOG_ODDS)
    levels = np.rint(256 / (1 + np.exp(-moved)) - 1 / 2)
    return image.point(levels.astype(np.uint8).ravel().tolist())


def _log_odds(share: float) -> float:
    """Return how far log odds move for the level that moves most to move by this share of the range."""
    return 4 * math.atanh(max(-_MOST_LIGHT, min(_MOST_LIGHT, share)))


def soften(values: Pixels, deviation: float) -> Pixels:
    """Blur with a Gaussian of this standard deviation in pixels; the edges go on beyond.

    Fixed point, a fifth of what Pillow's box blurs cost: 256 weights of at most 255 just fit in 16 bits.
    """
    weights = _gaussian(round(deviation, 2))
    reach = len(weights) - 1
    if not reach:
        return values
    rows, columns, channels = values.shape
    taller = (rows, columns + 2 * reach, channels)
    wide, down, both, across = _scratch((rows + 2 * reach, *taller[1:]), taller, taller, values.shape)
    wide[reach : reach + rows, reach : reach + columns] = values
    wide[:reach], wide[reach + rows :] = wide[reach], wide[reach + rows - 1]
    wide[:, :reach], wide[:, reach + columns :] = wide[:, reach, None], wide[:, reach + columns - 1, None]
    _weigh([wide[at : at + rows] for at in range(2 * reach + 1)], weights, down, both)
    _weigh([down[:, at : at + columns] for at in range(2 * reach + 1)], weights, across, both[:, :columns])
    return across.astype(np.uint8)


def _weigh(shifted: Sequence[_Words], weights: Sequence[int], total: _Words, both: _Words) -> None:
    """Fill `total` with the weighted mean of a picture's shifted copies, the unshifted one in their middle."""
    reach = len(weights) - 1
    np.multiply(shifted[reach], np.uint16(weights[0]), out=total)
    total += 128  # to round
    for distance in range(1, reach + 1):
        np.add(shifted[reach - distance], shifted[reach + distance], out=both)
        np.multiply(both, np.uint16(weights[distance]), out=both)
        np.add(total, both, out=total)
    np.right_shift(total, 8, out=total)


@cache
def _gaussian(deviation: float) -> Sequence[int]:
    """Return the weights of the middle and of each distance, in 256ths that sum to 256 over both sides.

    The discrete analogue of the Gaussian (Lindeberg 1990), whose spectrum is exp(deviation^2 (cos w - 1)): a sampled
    one is far too narrow below one pixel.
    """
    spectrum = np.exp(deviation**2 * (np.cos(np.linspace(0, np.pi, _LONGEST_KERNEL // 2 + 1)) - 1))
    tail = np.rint(256 * np.fft.irfft(spectrum)[1 : _LONGEST_KERNEL // 2]).astype(int)
    sides: list[int] = tail[tail > 0].tolist()
    return [256 - 2 * sum(sides), *sides]


def cover(values: Pixels, rows: slice, columns: slice, *, mean: bool) -> Pixels:
    """Cover a rectangle with the picture's mean colour or with mid-grey."""
    colour = np.asarray(Image.fromarray(values).resize((1, 1), Image.Resampling.BOX))[0, 0] if mean else NEUTRAL
    covered = values.copy()
    covered[rows, columns] = colour
    return covered


def disturb(values: Pixels, deviation: float, where: float) -> Pixels:
    """Add Gaussian noise of this standard deviation (of the full range, 0 to MOST_NOISE), other in every channel.

    `where`, in [0, 1), chooses the stretch of the noise that was drawn once.
    """
    if not deviation:
        return values
    noise = _noise()
    start = int(where * max(1, noise.size - values.size))
    # A picture of more than 1182 pixels a side needs all of it more than once.
    part = noise[start : start + values.size] if values.size <= noise.size else np.resize(noise, values.size)
    noisy = _scratch(values.shape)[0].view(np.int16)
    # 127 steps times 257, which MOST_NOISE comes to, and 128 to round: just within 16 bits.
    factor = np.int16(round(256 * 255 * deviation / _NOISE_STEPS))
    np.multiply(part.reshape(values.shape), factor, out=noisy)
    noisy += 128
    noisy >>= 8
    noisy += values
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


@cache
def _noise() -> npt.NDArray[np.int16]:
    """Draw once what each picture takes a stretch of: drawing afresh costs more than all the rest."""
    drawn = np.random.default_rng(0).standard_normal(_NOISE_VALUES, dtype=np.float32)
    steps: npt.NDArray[np.int16] = np.clip(np.rint(drawn * _NOISE_STEPS), -127, 127).astype(np.int16)
    return steps


def compress(values: Pixels, quality: int) -> Pixels:
    """Write JPEG of Pillow's `quality` and read it again."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image)


class _Memory(threading.local):
    words: _Words = np.empty(0, np.uint16)


_memory = _Memory()


def _scratch(*shapes: tuple[int, ...]) -> list[_Words]:
    """Return arrays of these shapes in the thread's own memory: to get fresh memory takes longer than to use it."""
    sizes = [math.prod(shape) for shape in shapes]
    if _memory.words.size < sum(sizes):
        _memory.words = np.empty(sum(sizes), np.uint16)
    starts = accumulate(sizes, initial=0)
    parts = zip(starts, sizes, shapes, strict=False)
    return [_memory.words[start : start + size].reshape(shape) for start, size, shape in parts]
