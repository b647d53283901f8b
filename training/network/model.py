"""A backbone with the fully convolutional head of contract 3, in parts that can be trained apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.network import backbones

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels
    from training.recipe import Recipe

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Network:
    """The model of one tile in three parts: whole(x) is head(tail(trunk(x))).

    `trunk` takes normalised pixels float32 [n, height, width, 3] and ends where the blocks begin that are tuned;
    `tail` gives the features that the head reads, a list of the finer and the coarser ones if it reads both;
    `head` and with it `whole` give a dict: `embedding` [n, d], `logit_map` [n, h, w, classes], `logits`
    [n, classes], the map's mean.
    """

    trunk: Any
    tail: Any
    head: Any
    whole: Any


def normalise(pixels: Pixels) -> Floats:
    """Return (u8 - 128) / 128, float32 in [-1, 1): what int8 input quantization (1/128, 0) means."""
    return (pixels.astype(np.float32) - np.float32(128)) / np.float32(128)


def build(labels: int, recipe: Recipe, weights: str | None) -> Network:
    """Build the network for so many labels; raises as `backbones.build`."""
    base = backbones.build(recipe.model, weights)
    read = [layer.output for layer in backbones.outputs(base, recipe.model)]
    cut = backbones.boundary(base, recipe.model, recipe.top.blocks).output
    trunk = keras.Model(base.input, cut)
    tail = keras.Model(cut, read if len(read) > 1 else read[0])
    head = build_head([features.shape[-1] for features in read], labels, recipe)
    return Network(trunk, tail, head, join(trunk, tail, head))


def join(*parts: Any) -> Any:
    """Chain models into one: the first one's input to the last one's outputs."""
    start = keras.Input(parts[0].input.shape[1:])
    value = start
    for part in parts:
        value = part(value)
    return keras.Model(start, value)


def batch_norms(network: Network) -> list[Any]:
    """Return every batch normalisation of a network."""
    return [*backbones.batch_norms(network.trunk), *backbones.batch_norms(network.tail)]


class _Doubled(keras.layers.UpSampling2D):  # type: ignore[misc] # Keras ships no types
    """Each value in two rows and two columns, as the one operator that the Edge TPU takes for it.

    Keras' own layer converts to tensors of five axes.
    """

    def call(self, inputs: Any) -> Any:
        """Take [n, h, w, c], give [n, 2h, 2w, c]."""
        sides = inputs.shape[1:3]
        known = None not in sides  # Of a whole network they are not, until it runs.
        doubled = [2 * side for side in sides] if known else 2 * tf.shape(inputs)[1:3]
        return tf.compat.v1.image.resize_nearest_neighbor(inputs, doubled)


def build_head(depths: list[int], labels: int, recipe: Recipe) -> Any:
    """Features [h, w, depth] to the three outputs. The mean commutes with the 1x1 convolution.

    Of two depths the second is of maps half as high and wide: their logits are added to the finer ones', each for
    its four cells, so that the mean is still the product of both embeddings with one kernel.
    """
    features = [keras.Input((None, None, depth)) for depth in depths]
    maps = []
    for index, given in enumerate(features):
        kept = keras.layers.Dropout(recipe.model.dropout)(given)
        layer = keras.layers.Conv2D(
            labels,
            1,
            use_bias=not index,
            kernel_initializer="zeros",
            kernel_regularizer=keras.regularizers.L1L2(recipe.loss.l1, recipe.loss.l2),
            name=f"logits_of_level_{index}",
        )
        maps.append(layer(kept))
    means = [keras.layers.GlobalAveragePooling2D()(given) for given in features]
    outputs = {
        "embedding": means[0] if len(means) == 1 else keras.layers.Concatenate()(means),
        "logit_map": maps[0] if len(maps) == 1 else keras.layers.Add()([maps[0], _Doubled(name="doubled")(maps[1])]),
    }
    outputs["logits"] = keras.layers.GlobalAveragePooling2D()(outputs["logit_map"])
    return keras.Model(features if len(features) > 1 else features[0], outputs)
