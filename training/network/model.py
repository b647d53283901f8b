"""MobileNetV2 with the fully convolutional head of contract 3, built from three parts that can be trained apart."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from edge.errors import DataError
from training.recipe import IMAGENET

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels
    from training.recipe import Recipe

_TRUNK_ENDS = "block_12_add"
"""Below it: general edges and textures. Above it: a quarter of the arithmetic and most of the weights."""
_LONGEST_REASON = 200
"""Characters of a foreign error that a message repeats."""


@dataclass(frozen=True, slots=True)
class Network:
    """The model in three parts: whole(x) is head(tail(trunk(x))).

    `trunk` takes normalised pixels float32 [n, size, size, 3]; `head` and with it `whole` give a dict:
    `embedding` [n, d], `logit_map` [n, h, w, classes], `logits` [n, classes].
    """

    trunk: Any
    tail: Any
    head: Any
    whole: Any


def normalise(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Return (u8 - 128) / 128, float32 in [-1, 1): what int8 input quantization (1/128, 0) means."""
    return (pixels.astype(np.float32) - np.float32(128)) / np.float32(128)


def build(labels: int, recipe: Recipe, weights: str | None) -> Network:
    """Build the network for so many labels.

    `weights` is IMAGENET (downloaded as Keras does), a .h5 file of MobileNetV2 without its top, or None: random.
    Raises DataError if they cannot be had or do not fit the recipe's alpha.
    """
    base = _random_base(recipe) if weights is None else _pretrained_base(recipe, weights)
    cut = base.get_layer(_TRUNK_ENDS).output
    trunk, tail = keras.Model(base.input, cut), keras.Model(cut, base.output)
    head = _head(base.output.shape[-1], labels, recipe)
    return Network(trunk, tail, head, join(trunk, tail, head))


def join(*parts: Any) -> Any:
    """Chain models into one: the first one's input to the last one's outputs."""
    start = keras.Input(parts[0].input.shape[1:])
    value = start
    for part in parts:
        value = part(value)
    return keras.Model(start, value)


def batch_norms(model: Any) -> list[Any]:
    """Return every batch normalisation of a trunk or tail."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def _head(depth: int, labels: int, recipe: Recipe) -> Any:
    """Features [h, w, depth] to the three outputs. The mean commutes with the 1x1 convolution."""
    features = keras.Input((None, None, depth))
    kept = keras.layers.Dropout(recipe.model.dropout)(features)
    logit_map = keras.layers.Conv2D(labels, 1, kernel_initializer="zeros", name="logit_map")(kept)
    outputs = {
        "embedding": keras.layers.GlobalAveragePooling2D(name="embedding")(features),
        "logit_map": logit_map,
        "logits": keras.layers.GlobalAveragePooling2D(name="logits")(logit_map),
    }
    return keras.Model(features, outputs)


def _mobilenet(recipe: Recipe, weights: str | None) -> Any:
    return keras.applications.MobileNetV2(
        input_shape=(recipe.model.height, recipe.model.width, 3),
        alpha=recipe.model.alpha,
        include_top=False,
        weights=weights,
    )


def _pretrained_base(recipe: Recipe, weights: str) -> Any:
    base = _download(recipe) if weights == IMAGENET else _from_file(recipe, Path(weights))
    for layer in batch_norms(base):
        # In Keras 3 only this holds the moving statistics still during training.
        layer.trainable = False
    return base


def _download(recipe: Recipe) -> Any:
    try:
        with warnings.catch_warnings():
            # For a size without weights of its own Keras takes those of 224 and says so; that is what we want.
            warnings.filterwarnings("ignore", message="`input_shape` is undefined")
            return _mobilenet(recipe, IMAGENET)
    except Exception as error:
        # Keras raises a bare Exception for a failed download.
        raise DataError(
            f"the ImageNet weights cannot be downloaded ({_one_line(error)}); "
            "give a file with --weights FILE, or --weights none to train from scratch"
        ) from error


def _from_file(recipe: Recipe, path: Path) -> Any:
    base = _mobilenet(recipe, None)
    kernels = [layer for layer in base.layers if hasattr(layer, "kernel")]
    before = [layer.kernel.numpy() for layer in kernels]
    try:
        with warnings.catch_warnings():
            # Keras looks for every layer in several places and warns of each that older versions did not write.
            warnings.filterwarnings("ignore", message="Skipping nested container")
            base.load_weights(path)
    except Exception as error:
        # Depending on what the file is: OSError, ValueError, KeyError, ...
        raise _unfit(path, recipe, _one_line(error)) from error
    if any(np.array_equal(old, layer.kernel.numpy()) for old, layer in zip(before, kernels, strict=True)):
        raise _unfit(path, recipe, "some of its layers are missing")
    return base


def _unfit(path: Path, recipe: Recipe, reason: str) -> DataError:
    return DataError(
        f"--weights {path}: not the weights of MobileNetV2 alpha {recipe.model.alpha:g} without its top ({reason}); "
        "give the --alpha they were made with"
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "..."


def _random_base(recipe: Recipe) -> Any:
    """Return MobileNetV2 with random weights and batch normalisation that trains fast."""

    def clone(layer: Any) -> Any:
        slow = isinstance(layer, keras.layers.BatchNormalization)
        return (_FusedNormalization if slow else type(layer)).from_config(layer.get_config())

    return keras.models.clone_model(_mobilenet(recipe, None), clone_function=clone)


class _FusedNormalization(keras.layers.BatchNormalization):  # type: ignore[misc] # Keras ships no types
    """Keras' batch normalisation trained by TensorFlow's fused kernel: 1.8 times the pictures a second on a CPU."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: FBT001 - Keras' own
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        result, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return result
