"""Shows each picture as the camera might have: turned, mirrored, nearer, lit otherwise, noisier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels
    from training.recipe import Augmentation

_NOISE = np.random.default_rng(0).standard_normal(1 << 22, dtype=np.float32)
"""Drawn once: each picture takes a stretch of it, because drawing afresh costs more than all the rest."""


def augment(pixels: Pixels, recipe: Augmentation, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Vary pictures uint8 [n, size, size, 3] and normalise them: float32 [n, size, size, 3] in [-1, 1)."""
    varied = np.empty(pixels.shape, np.float32)
    for row, picture in enumerate(pixels):
        moved = np.ascontiguousarray(_move(picture, recipe, rng))
        np.add(_light(recipe, rng)[moved], _noise(moved.shape, recipe, rng), out=varied[row])
    return np.clip(varied, -1, 127 / 128, out=varied)


def vary(picture: Pixels, augmentation: Augmentation, rng: np.random.Generator) -> Pixels:
    """Vary one picture uint8 [h, w, 3]."""
    values = augment(picture[np.newaxis], augmentation, rng)[0]
    return np.round(values * 128 + 128).astype(np.uint8)


def _move(picture: Pixels, recipe: Augmentation, rng: np.random.Generator) -> Pixels:
    """Cut off up to `crop` of each axis, fill the size again, turn and mirror."""
    height, width = picture.shape[:2]
    side = np.array([width, height])
    keep = side * rng.uniform(1 - recipe.crop, 1, 2)
    left, top = rng.uniform(0, side - keep)
    box = (left, top, left + keep[0], top + keep[1])
    nearer: Pixels = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR, box=box))
    step = 1 if height == width else 2
    turned = np.rot90(nearer, int(rng.integers(4)) // step * step * recipe.quarter_turns)
    return turned[:, ::-1] if recipe.mirror and rng.integers(2) else turned


def _light(recipe: Augmentation, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return the normalised value of each of the 256 levels under another contrast and brightness."""
    contrast = rng.uniform(1 - recipe.contrast, 1 + recipe.contrast)
    # Normalised values span 2, the recipe's shares are of the full range.
    brightness = 2 * rng.uniform(-recipe.brightness, recipe.brightness)
    levels = (np.arange(256) - 128) / 128 * contrast + brightness
    return levels.astype(np.float32)


def _noise(shape: tuple[int, ...], recipe: Augmentation, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    count = int(np.prod(shape))
    start = rng.integers(max(1, _NOISE.size - count))
    deviation = np.float32(2 * rng.uniform(0, recipe.noise))
    # Pictures of more than 1182 pixels a side need the stretch more than once.
    return deviation * np.resize(_NOISE[start : start + count], shape)
