"""The networks whose features the head reads: MobileNets as Keras builds them, and a small residual network."""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np
import tensorflow as tf
from msgspec.structs import replace

from edge.contract.preprocess import STRIDE
from edge.errors import ConfigError, DataError
from training.recipe import IMAGENET

if TYPE_CHECKING:
    from training.recipe import Model

_LONGEST_REASON = 200
"""Characters of a foreign error that a message repeats."""
_BLOCK = re.compile(r"(?:block|expanded_conv|conv_pw|residual)_?(\d*)(?:_\w+)?")
"""How the layers of a block are named: block_3_add, expanded_conv_project_BN (Keras' first), conv_pw_11_relu."""


def build(model: Model, weights: str | None) -> Any:
    """Build a backbone without its top: normalised pixels [n, height, width, 3] to features at stride 32.

    `weights` is IMAGENET (downloaded as Keras does), a .h5 file, or None: random, with batch normalisation that
    trains fast. Raises DataError if they cannot be had or do not fit, ConfigError for a backbone that has none.
    """
    if weights is None:
        return _random(model)
    if model.backbone == "residual":
        raise ConfigError("--weights: the residual backbone has no weights to start from; say --weights none")
    base = _download(model) if weights == IMAGENET else _from_file(model, Path(weights))
    for layer in batch_norms(base):
        # In Keras 3 only this holds the moving statistics still during training.
        layer.trainable = False
    return base


def batch_norms(model: Any) -> list[Any]:
    """Return every batch normalisation of a model."""
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def outputs(base: Any, model: Model) -> list[Any]:
    """Return the layers that the head reads, the finer one first."""
    fine_side = (2 * model.height // STRIDE, 2 * model.width // STRIDE)
    finest = [layer for layer in base.layers if tuple(layer.output.shape[1:3]) == fine_side]
    coarse = base.layers[-1]
    return {"stride-32": [coarse], "stride-16": finest[-1:], "both": [finest[-1], coarse]}[model.level]


def boundary(base: Any, model: Model, blocks: int) -> Any:
    """Return the layer that ends the frozen part, if the top `blocks` blocks below the head are to learn.

    Everything the head reads lies above it.
    """
    first = outputs(base, model)[0]
    ends: dict[str, Any] = {}
    for layer in base.layers:
        if layer is first:
            break
        if found := _BLOCK.match(layer.name):
            ends[found[1]] = layer
    if model.level != "stride-32":
        ends.popitem()  # The block that holds the finest features is not all below them.
        blocks -= 1
    layers = list(ends.values())
    return layers[max(0, len(layers) - 1 - blocks)]


def _keras(model: Model, weights: str | None) -> Any:
    shape = {"input_shape": (model.height, model.width, 3), "include_top": False, "weights": weights}
    match model.backbone:
        case "mobilenet-v1":
            return keras.applications.MobileNet(alpha=model.alpha, **shape)
        case "mobilenet-v2":
            return keras.applications.MobileNetV2(alpha=model.alpha, **shape)
    # Minimalistic: without hard swish and squeeze-and-excite, which the Edge TPU does not take.
    version = "MobileNetV3Small" if model.backbone == "mobilenet-v3-small" else "MobileNetV3Large"
    return getattr(keras.applications, version)(
        alpha=model.alpha, minimalistic=True, include_preprocessing=False, **shape
    )


def _download(model: Model) -> Any:
    try:
        with warnings.catch_warnings():
            # For a size without weights of its own Keras takes those of 224 and says so; that is what we want.
            warnings.filterwarnings("ignore", message="`input_shape` is undefined")
            if model.alpha <= 1:
                return _keras(model, IMAGENET)
            # Of the widest there are weights at 224 pixels alone, and Keras would ask for others. They fit any size.
            whole = _keras(replace(model, height=224, width=224), IMAGENET)
            base = _keras(model, None)
            base.set_weights(whole.get_weights())
            return base
    except Exception as error:
        # Keras raises a bare Exception for a failed download.
        raise DataError(
            f"the ImageNet weights cannot be downloaded ({_one_line(error)}); "
            "give a file with --weights FILE, or --weights none to train from scratch"
        ) from error


def _from_file(model: Model, path: Path) -> Any:
    base = _keras(model, None)
    kernels = [layer for layer in base.layers if hasattr(layer, "kernel")]
    before = [layer.kernel.numpy() for layer in kernels]
    try:
        with warnings.catch_warnings():
            # Keras looks for every layer in several places and warns of each that older versions did not write.
            warnings.filterwarnings("ignore", message="Skipping nested container")
            _load(base, path)
    except Exception as error:
        # Depending on what the file is: OSError, ValueError, KeyError, ...
        raise _unfit(path, model, _one_line(error)) from error
    if not _sound(base):
        raise DataError(f"--weights {path}: some of its values are no numbers, or no variances: get the file anew")
    if any(np.array_equal(old, layer.kernel.numpy()) for old, layer in zip(before, kernels, strict=True)):
        raise _unfit(path, model, "some of its layers are missing")
    return base


def _load(base: Any, path: Path) -> None:
    """Read what Keras 3 or an older one saved: Keras goes by the name, this by the content."""
    with h5py.File(path) as file:
        ending = ".weights.h5" if "layers" in file else ".h5"
    with tempfile.TemporaryDirectory(prefix="edge-train-weights-") as folder:
        named = Path(folder, f"weights{ending}")
        named.symlink_to(path.absolute())
        base.load_weights(named)


def _sound(base: Any) -> bool:
    """Whether every value is a number, and no variance is below 0."""
    finite = all(np.isfinite(weight).all() for weight in base.get_weights())
    return finite and all((norm.moving_variance.numpy() >= 0).all() for norm in batch_norms(base))


def _unfit(path: Path, model: Model, reason: str) -> DataError:
    return DataError(
        f"--weights {path}: not the weights of {model.backbone} alpha {model.alpha:g} without its top ({reason}); "
        "give the backbone and the alpha they were made with"
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "..."


def _random(model: Model) -> Any:
    def clone(layer: Any) -> Any:
        """Copy a layer, with the quicker normalisation in place of Keras' own."""
        slow = isinstance(layer, keras.layers.BatchNormalization)
        return (_FusedNormalization if slow else type(layer)).from_config(layer.get_config())

    if model.backbone == "residual":
        return _residual(model)
    return keras.models.clone_model(_keras(model, None), clone_function=clone)


def _residual(model: Model) -> Any:
    """Two convolutions around each shortcut (He et al. 2016), five halvings: quick to train from scratch."""
    start = keras.Input((model.height, model.width, 3))
    value = _convolve(start, _wide(64, model), 3, 2, "stem")
    for index, (width, stride) in enumerate(((64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))):
        name = f"residual_{index}"
        inner = _convolve(value, _wide(width, model), 3, stride, f"{name}_a")
        inner = _convolve(inner, _wide(width, model), 3, 1, f"{name}_b", activate=False)
        if stride > 1 or value.shape[-1] != inner.shape[-1]:
            value = _convolve(value, _wide(width, model), 1, stride, f"{name}_shortcut", activate=False)
        value = keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([inner, value]))
    return keras.Model(start, value)


def _convolve(  # noqa: PLR0913 - what a convolution is
    value: Any, width: int, side: int, stride: int, name: str, *, activate: bool = True
) -> Any:
    value = keras.layers.Conv2D(width, side, stride, "same", use_bias=False, name=name)(value)
    value = _FusedNormalization(name=f"{name}_bn")(value)
    return keras.layers.ReLU(name=f"{name}_relu")(value) if activate else value


def _wide(width: int, model: Model) -> int:
    return max(8, round(width * model.alpha / 8) * 8)


class _FusedNormalization(keras.layers.BatchNormalization):  # type: ignore[misc] # Keras ships no types
    """Keras' batch normalisation trained by TensorFlow's fused kernel: 1.8 times the pictures a second on a CPU."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: FBT001 - Keras' own
        """Normalise [n, h, w, c] by the batch's statistics while training, else by the moving ones."""
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        result, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return result
