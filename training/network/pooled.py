"""A model of whole regions: parts of the network run on each tile, and the pooling that the bundle declares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from edge.contract.pooling import LogSumExp, TopK, top_count
from training import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.contract.pooling import Pooling
    from edge.contract.preprocess import Pixels
    from training.network.model import Floats, Network
    from training.recipe import Recipe

_PIXELS_AT_ONCE = 64 * 224 * 224
"""How many a prediction takes in one step, to bound its memory."""


class Pooled(keras.Model):  # type: ignore[misc] # Keras ships no types
    """Chained parts, the last one the head: inputs [n, tiles, h, w, c], or a list of them, to logits [n, classes].

    What is trainable in the parts is trainable here.
    """

    def __init__(self, parts: Sequence[Any], pooling: Pooling) -> None:
        super().__init__()
        self.parts = list(parts)
        self.pooling = pooling

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001 - Keras' own
        """Run every tile through the parts and pool the logits of all places of a region."""
        given = tf.nest.flatten(inputs)
        # Tiles become rows of the batch.
        rows = [tf.reshape(each, [-1, *each.shape[2:]]) for each in given]
        value: Any = rows if len(rows) > 1 else rows[0]
        for part in self.parts:
            value = part(value, training=training)
        logits = value["logit_map"]
        places = given[0].shape[1] * math.prod(logits.shape[1:3])
        return pool(tf.reshape(logits, [-1, places, logits.shape[-1]]), self.pooling)


def pool(logits: Any, pooling: Pooling) -> Any:
    """Do what `edge.contract.pooling.pool` does: logits [n, places, classes], `places` known, to [n, classes]."""
    match pooling:
        case TopK(share=share):
            by_class = tf.transpose(logits, [0, 2, 1])
            count = top_count(logits.shape[1], share)
            return tf.reduce_mean(tf.math.top_k(by_class, count).values, axis=-1)
        case LogSumExp(sharpness=sharpness):
            mean = tf.reduce_logsumexp(logits * sharpness, axis=1) - math.log(logits.shape[1])
            return mean / sharpness
    return tf.reduce_mean(logits, axis=1)


class Normalise(keras.layers.Layer):  # type: ignore[misc] # Keras ships no types
    """Pixels 0-255 to (pixel - 128) / 128, as `model.normalise` does."""

    def call(self, pixels: Any, training: bool | None = None) -> Any:  # noqa: ARG002, FBT001 - Keras' own
        """Take and return float32 of any shape."""
        return (pixels - 128.0) / 128.0


def tiled(canvases: Pixels, recipe: Recipe) -> Pixels:
    """Cut canvases uint8 [n, H, W, 3] into tiles uint8 [n, tiles, height, width, 3]; a lone tile is not copied.

    Raises InspectError if there is no room for them.
    """
    model, tiles = recipe.model, recipe.preprocess.tiles
    if tiles.count == 1:
        return canvases[:, np.newaxis]
    found = scratch.empty((len(canvases), tiles.count, model.height, model.width, 3), np.uint8)
    for row, canvas in zip(found, canvases, strict=True):
        row[:] = tiles.cut(canvas, model.height, model.width)
    return found


def predict(network: Network, canvases: Pixels, recipe: Recipe) -> Floats:
    """Return the float model's pooled logits [n, classes] of canvases uint8 [n, H, W, 3]."""
    model = Pooled([Normalise(), network.trunk, network.tail, network.head], recipe.pooling)
    batch = max(1, _PIXELS_AT_ONCE // math.prod(recipe.canvas))
    infer = inference(model, batch)
    blocks = np.array_split(np.arange(len(canvases)), math.ceil(len(canvases) / batch))
    return np.concatenate([infer(tiled(canvases[rows[0] : rows[-1] + 1], recipe)) for rows in blocks])


def inference(model: Any, batch: int) -> Callable[[Any], Floats]:
    """Return a function from inputs [n, ...], an array or a list of them, to the model's logits [n, classes].

    Of a model that gives none, to its outputs.
    """

    def forward(inputs: Any) -> Any:
        outputs = model(inputs, training=False)
        return outputs["logits"] if isinstance(outputs, dict) else outputs

    run = tf.function(forward, reduce_retracing=True)

    def infer(inputs: Any) -> Floats:
        count = len(tf.nest.flatten(inputs)[0])
        parts = np.array_split(np.arange(count), math.ceil(count / batch))
        return np.concatenate([run(_rows(inputs, rows)).numpy() for rows in parts])

    return infer


def _rows(inputs: Any, rows: Any) -> Any:
    return tf.nest.map_structure(lambda given: given[rows].astype(np.float32), inputs)
