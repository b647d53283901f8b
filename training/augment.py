"""Shows each picture as the camera might have: turned, mirrored, shifted, lit otherwise, noisier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels
    from training.recipe import Recipe


def augment(pixels: Pixels, recipe: Recipe, rng: np.random.Generator) -> Any:
    """Vary pictures uint8 [n, size, size, 3] and normalise them: float32 tensor [n, size, size, 3] in [-1, 1)."""
    count, size = pixels.shape[:2]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=_transforms(count, size, recipe, rng),
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    contrast = rng.uniform(1 - recipe.contrast, 1 + recipe.contrast, (count, 1, 1, 1)).astype(np.float32)
    # Normalised values span 2, the recipe's shares are of the full range.
    brightness = 2 * rng.uniform(-recipe.brightness, recipe.brightness, (count, 1, 1, 1)).astype(np.float32)
    deviation = 2 * rng.uniform(0, recipe.noise, (count, 1, 1, 1)).astype(np.float32)
    noise = tf.random.stateless_normal(pixels.shape, rng.integers(1 << 31, size=2))
    varied = (tf.cast(moved, tf.float32) / 128 - 1) * contrast + brightness + noise * deviation
    return tf.clip_by_value(varied, -1.0, 127 / 128)


def _transforms(count: int, size: int, recipe: Recipe, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw maps from output to input pixels, [n, 8]: a b c, d e f, and two zeros for the projective part."""
    turns = rng.integers(4, size=count) * recipe.quarter_turns * (np.pi / 2)
    mirror = np.where(rng.integers(2, size=count) * recipe.mirror, -1.0, 1.0)
    scale = rng.uniform(1 - recipe.scale, 1 + recipe.scale, count)
    cosine, sine = np.cos(turns) * scale, np.sin(turns) * scale
    centre = (size - 1) / 2
    shift = rng.uniform(-recipe.shift, recipe.shift, (2, count)) * size
    a, b, d, e = cosine * mirror, -sine, sine * mirror, cosine
    # The centre stays where it is, but for the shift.
    c, f = centre - (a + b) * centre + shift[0], centre - (d + e) * centre + shift[1]
    zero = np.zeros(count)
    return np.stack([a, b, c, d, e, f, zero, zero], axis=1).astype(np.float32)
