"""Shows a picture as the camera might have: turned, nearer, lit otherwise, noisier, through another scaler.

The order is that of a real frame: the part lies otherwise (one resampling for all geometry), the light differs, the
lens is softer, something covers a spot, the sensor adds noise, JPEG compresses. Most of the time goes by in Pillow's
and NumPy's loops, which let other threads run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from training.data import geometry, optics

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge.contract.preprocess import Pixels
    from training.recipe import Augmentation

VERSION = 1
"""Of what `vary` gives: one more whenever it gives other pixels, so that features of the former ones are not taken."""
_CLOCKWISE = (None, Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90)
"""By quarters."""
_CLOCKWISE_MIRRORED = (
    *(Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.TRANSPOSE),
    *(Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSVERSE),
)
"""The same, then mirrored."""
_SHARP = Image.Resampling.HAMMING
"""Of the one resampling: it keeps 0.89 of a grating with a period of 4 pixels where bilinear, as fast, keeps 0.80."""
_SCALERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
"""Kernels that a camera's scaler may have; all look at every pixel when they shrink, so that no thin line is lost."""
_SCALER_RANGE = 1.25
"""A camera's scaler leaves 1/1.25 to 1.25 times the canvas, which is then resized as on the device."""
_QUALITY = (50, 95)
"""Of JPEG, Pillow's scale: below 50 its 8x8 blocks are as large as a pore and look like one."""
_LONGEST = 4.0
"""How many times longer than wide an occlusion may be."""


class _Draw(NamedTuple):
    """A number in [0, 1) for every decision, used or not: switching one operation on leaves the others as they were."""

    mirror: float
    turn: float
    angle: float
    width: float
    height: float
    left: float
    top: float
    scaler: float
    kernel: float
    scale: float
    shift_x: float
    shift_y: float
    brightness: float
    contrast: float
    temperature: float
    blur: float
    occlusion: float
    area: float
    aspect: float
    cover_left: float
    cover_top: float
    fill: float
    noise: float
    stretch: float
    jpeg: float
    quality: float


def rng_of(seed: int, number: int, digest: str) -> np.random.Generator:
    """Return the generator of a picture's view: of the seed, the view's number and the picture's hash (hex) alone."""
    return np.random.default_rng([seed, number, int(digest, 16)])


def vary(picture: Pixels, augmentation: Augmentation, rng: np.random.Generator) -> Pixels:
    """Draw one view of a picture uint8 [h, w, 3]: a new contiguous array of the same shape.

    It depends on the picture, the augmentation and the generator's state alone. With everything off it is the picture.
    """
    draw = _Draw._make(rng.random(len(_Draw._fields)).tolist())
    lit = optics.light(
        _turn(_place(picture, augmentation, draw), augmentation, draw),
        contrast=1 + _either_way(draw.contrast, augmentation.contrast),
        brightness=_either_way(draw.brightness, augmentation.brightness),
        warmth=_either_way(draw.temperature, augmentation.temperature),
    )
    # Every second view stays as sharp as it is.
    values = optics.soften(np.asarray(lit), max(0.0, _either_way(draw.blur, augmentation.blur)))
    if draw.occlusion < augmentation.occlusion:
        values = optics.cover(values, *_rectangle(values, augmentation.occlusion_area, draw), mean=draw.fill < 1 / 2)
    values = optics.disturb(values, draw.noise * augmentation.noise, draw.stretch)
    if draw.jpeg < augmentation.jpeg:
        values = optics.compress(values, round(_between(draw.quality, *_QUALITY)))
    # Pillow gives its pixels out for reading only, which they still are if nothing came after it.
    return values if values.flags.writeable else values.copy()


def augment(pixels: Pixels, augmentation: Augmentation, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Vary pictures uint8 [n, h, w, 3] in turn and normalise them: float32 of the same shape in [-1, 1)."""
    varied = np.empty(pixels.shape, np.float32)
    for row, picture in enumerate(pixels):
        varied[row] = vary(picture, augmentation, rng)
    varied -= 128
    varied /= 128
    return varied


def _place(picture: Pixels, augmentation: Augmentation, draw: _Draw) -> Image.Image:
    """Move, zoom, stretch and rotate in one resampling; a camera's scaler adds the device's own after it."""
    rows, columns = picture.shape[:2]
    nearest, farthest = 1 - augmentation.crop, 1 + augmentation.pad
    width, height = columns * _between(draw.width, nearest, farthest), rows * _between(draw.height, nearest, farthest)
    # A window smaller than the picture lies within it; a larger one has it within.
    left, top = draw.left * (columns - width), draw.top * (rows - height)
    angle = math.radians(_either_way(draw.angle, augmentation.rotate))
    if draw.scaler >= augmentation.resampler:
        return geometry.sample(picture, geometry.Window(left, top, width, height, angle), (columns, rows), _SHARP)
    # Another scaler's pixel centres lie up to half a pixel elsewhere.
    window = geometry.Window(left + draw.shift_x - 1 / 2, top + draw.shift_y - 1 / 2, width, height, angle)
    factor = _SCALER_RANGE ** _either_way(draw.scale, 1)
    size = max(1, round(columns * factor)), max(1, round(rows * factor))
    scaled = geometry.sample(picture, window, size, _SCALERS[int(draw.kernel * len(_SCALERS))])
    return scaled.resize((columns, rows), Image.Resampling.BILINEAR)


def _turn(image: Image.Image, augmentation: Augmentation, draw: _Draw) -> Image.Image:
    """Turn by quarters and mirror: pixels change places, none changes."""
    quarters = int(draw.turn * 4) if image.width == image.height else int(draw.turn * 2) * 2
    mirrored = augmentation.mirror and draw.mirror < 1 / 2
    method = (_CLOCKWISE_MIRRORED if mirrored else _CLOCKWISE)[quarters * augmentation.quarter_turns]
    return image if method is None else image.transpose(method)


def _rectangle(values: Pixels, area: float, draw: _Draw) -> tuple[slice, slice]:
    """Return the rows and columns of an occlusion that covers at most `area` of the picture."""
    rows, columns = values.shape[:2]
    most = draw.area * area * rows * columns
    height = min(rows, max(1, int(math.sqrt(most) * _LONGEST ** _either_way(draw.aspect, 1 / 2))))
    width = min(columns, int(most / height))
    top, left = int(draw.cover_top * (rows - height + 1)), int(draw.cover_left * (columns - width + 1))
    return slice(top, top + height), slice(left, left + width)


def _between(number: float, low: float, high: float) -> float:
    return low + number * (high - low)


def _either_way(number: float, most: float) -> float:
    return (2 * number - 1) * most
