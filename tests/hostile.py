"""A small trained network, and what makes it hostile to int8 while its float predictions stay the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from training.data.dataset import Dataset
    from training.network.model import Network

CHANNELS = 16
SHRUNK = 2e-4
"""What the hostile layer makes of most channels: far below one step of the widest one."""


def build(side: int, labels: int) -> Network:
    """Return an untrained network of a few convolutions with all that the real ones have: padding, sums, ReLU6."""
    import keras
    from keras import layers

    from training.network.model import Network, build_head, join
    from training.recipe import Recipe

    def block(value: Any, name: str, *, residual: bool = False) -> Any:
        wide = layers.Conv2D(2 * CHANNELS, 1, use_bias=False, name=f"{name}_expand")(value)
        wide = layers.ReLU(6.0)(layers.BatchNormalization(name=f"{name}_expand_bn")(wide))
        wide = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depth")(wide)
        wide = layers.ReLU(6.0)(layers.BatchNormalization(name=f"{name}_depth_bn")(wide))
        narrow = layers.Conv2D(CHANNELS, 1, use_bias=False, name=f"{name}_project")(wide)
        narrow = layers.BatchNormalization(name=f"{name}_project_bn")(narrow)
        return layers.Add()([value, narrow]) if residual else narrow

    start = keras.Input((side, side, 3))
    value = layers.ZeroPadding2D(((0, 1), (0, 1)))(start)
    value = layers.Conv2D(CHANNELS, 3, strides=2, use_bias=False, name="stem")(value)
    value = layers.ReLU(6.0)(layers.BatchNormalization(name="stem_bn")(value))
    trunk = keras.Model(start, block(value, "first"))
    middle = keras.Input(trunk.output.shape[1:])
    value = layers.Conv2D(CHANNELS, 3, strides=2, padding="same", use_bias=False, name="shrink")(middle)
    tail = keras.Model(middle, block(layers.BatchNormalization(name="shrink_bn")(value), "second", residual=True))
    last = build_head([CHANNELS], labels, Recipe())
    return Network(trunk, tail, last, join(trunk, tail, last))


def train(network: Network, data: Dataset, epochs: int = 30) -> None:
    """Fit it to a small set."""
    import keras
    import tensorflow as tf

    from training.network.model import normalise

    pixels, truth = normalise(data.pixels), data.truth
    optimizer = keras.optimizers.Adam(1e-2)

    @tf.function
    def step(inputs: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            logits = network.whole(inputs, training=True)["logits"]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        variables = network.whole.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    rng = np.random.default_rng(1)
    for part in (network.trunk, network.tail):
        for layer in part.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.8
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(truth)), max(1, len(truth) // 16)):
            step(pixels[rows], truth[rows])


def spoil(network: Network) -> None:
    """Make all but one channel of a depthwise layer's input tiny and its weights large in return; drop that one.

    In float that is one channel less; in int8, whose one step serves all channels, the tiny ones become 0.
    """
    norm, depth = network.trunk.get_layer("first_expand_bn"), network.trunk.get_layer("first_depth")
    factor = np.full(2 * CHANNELS, SHRUNK, np.float32)
    factor[0] = 1
    norm.gamma.assign(norm.gamma * factor)
    norm.beta.assign(norm.beta * factor)
    rest = np.where(factor == 1, 0, 1 / factor).astype(np.float32)
    depth.kernel.assign(depth.kernel * rest[:, np.newaxis])
