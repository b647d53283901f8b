"""Runs parts of the network forward: predictions, and the frozen base's features that training learns from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import tensorflow as tf

from training import progress
from training.data.augment import augment
from training.network.model import normalise

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from training.data.dataset import Dataset, Integers
    from training.recipe import Recipe

Inputs: TypeAlias = "npt.NDArray[np.floating[Any]]"
"""What one part of the network takes: [n, h, w, channels]."""


def inference(model: Any, batch: int) -> Callable[[Inputs], npt.NDArray[np.float32]]:
    """Return a function from inputs to the model's logits [n, classes], or to its features if it gives no logits."""

    def forward(inputs: Any) -> Any:
        outputs = model(inputs, training=False)
        return outputs["logits"] if isinstance(outputs, dict) else outputs

    run = tf.function(forward, reduce_retracing=True)

    def infer(inputs: Inputs) -> npt.NDArray[np.float32]:
        rows = batches(np.arange(len(inputs)), batch)
        return np.concatenate([run(inputs[part].astype(np.float32)).numpy() for part in rows])

    return infer


def batches(rows: Integers, size: int) -> list[Integers]:
    """Divide rows evenly: no batch is so small that its statistics mean little."""
    return np.array_split(rows, math.ceil(len(rows) / size))


def cache(trunk: Any, data: Dataset, recipe: Recipe, rng: np.random.Generator) -> Inputs:
    """Return the trunk's features of every picture, plain and then augmented, float16 [passes, n, h, w, c]."""
    count = len(data.sources)
    fewest, most = recipe.features.passes
    passes = min(most, max(fewest, math.ceil(recipe.features.pictures / count)))
    features = np.empty((passes, count, *trunk.output.shape[1:]), np.float16)
    parts = batches(np.arange(count), recipe.batch)
    infer = inference(trunk, recipe.batch)
    with progress.stage("computing features", passes * len(parts)) as advance:
        for index in range(passes):
            for rows in parts:
                pixels = data.pixels[rows]
                features[index, rows] = infer(augment(pixels, recipe.augmentation, rng) if index else normalise(pixels))
                advance()
    return features


def pool(tail: Any, features: Inputs, recipe: Recipe) -> Inputs:
    """Finish the base and take the mean: [n, h, w, c] to float32 [n, 1, 1, d], which the head takes like a map."""
    infer = inference(tail, recipe.batch)
    parts = batches(np.arange(len(features)), recipe.batch)
    return np.concatenate([infer(features[rows]).mean(axis=(1, 2), keepdims=True) for rows in parts])
