"""A plan as a tf_keras model: in float, or with int8's rounding simulated by tensorflow-model-optimization.

Only the worker process imports this: tf_keras and Keras 3 do not share a process.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras.quantize_layer import QuantizeLayer
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import QuantizeWrapperV2
from tensorflow_model_optimization.quantization.keras import QuantizeConfig, quantizers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge.classifier import Floats
    from edge.contract.preprocess import Pixels
    from training.int8.plan import Arrays, Node, Plan

_KEEPS_SCALE = frozenset({"pad", "upsample", "max-pool"})
"""They pass on values as they are; TFLite wants the same step before and after."""
_PIXELS = (-1.0, 127 / 128)
"""The input's range, so that its quantization is (1/128, 0)."""


def build(plan: Plan, arrays: Arrays, *, quantized: bool) -> Any:
    """Return a model from normalised pixels float32 [n, h, w, 3] to a dict of every node's values by name."""
    start = tf_keras.Input(plan.shape, name="pixels")
    values: dict[str, Any] = {}
    for node in plan.nodes:
        if node.kind == "input":
            values[node.name] = QuantizeLayer(_Pixels())(start) if quantized else start
            continue
        given = [values[name] for name in node.inputs]
        layer = _layer(node, arrays)
        if quantized and node.kind not in _KEEPS_SCALE:
            layer = QuantizeWrapperV2(layer, _Config(node.kind))
        values[node.name] = layer(given if len(given) > 1 else given[0])
    model = tf_keras.Model(start, values)
    for node in plan.nodes:
        if f"{node.name}/kernel" in arrays:
            layer = model.get_layer(f"quant_{node.name}" if quantized else node.name)
            # Once it is called, the wrapped layer's own kernel is the rounded one; the wrapper knows the trained one.
            kernel = layer._weight_vars[0][0] if quantized else _kernel(layer)  # noqa: SLF001
            kernel.assign(arrays[f"{node.name}/kernel"])
            (layer.layer if quantized else layer).bias.assign(arrays[f"{node.name}/bias"])
    return model


def set_ranges(model: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Start each simulated activation of a quantized model from a measured (lowest, highest)."""
    for layer in model.layers:
        if isinstance(layer, QuantizeWrapperV2):
            lowest, highest = ranges[layer.layer.name]
            found = layer._output_quantizer_vars  # noqa: SLF001 - tfmot has no other way to them
            found["min_var"].assign(min(lowest, 0.0))
            found["max_var"].assign(max(highest, 0.0))


def _layer(node: Node, arrays: Arrays) -> Any:
    activation = {"relu6": tf.nn.relu6}.get(node.activation, node.activation)
    details: dict[str, Any] = {"name": node.name}
    if node.kind in _WINDOWS:
        details |= {"strides": node.strides, "padding": node.padding}
    if node.kind in ("conv", "depthwise"):
        details |= {"dilation_rate": node.dilation}
    if node.kind in ("conv", "depthwise", "add", "activation"):
        details |= {"activation": activation}
    return _LAYERS[node.kind](node, arrays)(**details)


class _Add(tf_keras.layers.Layer):  # type: ignore[misc] # tf_keras ships no types
    """A sum with its activation in the same operator."""

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = tf_keras.activations.get(activation)

    def call(self, inputs: list[Any]) -> Any:
        return self.activation(inputs[0] + inputs[1])


_WINDOWS = frozenset({"conv", "depthwise", "max-pool", "average-pool"})
_LAYERS: dict[str, Callable[[Node, Arrays], Callable[..., Any]]] = {
    "conv": lambda node, arrays: partial(
        tf_keras.layers.Conv2D, filters=arrays[f"{node.name}/bias"].size, kernel_size=node.size
    ),
    "depthwise": lambda node, _: partial(tf_keras.layers.DepthwiseConv2D, kernel_size=node.size),
    "pad": lambda node, _: partial(tf_keras.layers.ZeroPadding2D, padding=node.pads),
    "upsample": lambda node, _: partial(_Enlarge, size=node.size),
    "max-pool": lambda node, _: partial(tf_keras.layers.MaxPooling2D, pool_size=node.size),
    "average-pool": lambda node, _: partial(tf_keras.layers.AveragePooling2D, pool_size=node.size),
    "concat": lambda *_: tf_keras.layers.Concatenate,
    "mean": lambda *_: tf_keras.layers.GlobalAveragePooling2D,
    "activation": lambda *_: tf_keras.layers.Activation,
    "add": lambda *_: _Add,
}


class _Enlarge(tf_keras.layers.UpSampling2D):  # type: ignore[misc]
    """Repeats each value, without the half-pixel centres that the Edge TPU leaves to the CPU."""

    def call(self, inputs: Any) -> Any:
        sides = [side * factor for side, factor in zip(inputs.shape[1:3], self.size, strict=True)]
        return tf.compat.v1.image.resize_nearest_neighbor(inputs, sides)


class _Config(QuantizeConfig):  # type: ignore[misc] # tfmot ships no types
    """Weights int8 by channel, symmetric; the result int8 with one step."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Return the kernel of a convolution and how it is rounded; other layers have none."""
        if self.kind not in ("conv", "depthwise"):
            return []
        rules = {"num_bits": 8, "per_axis": True, "symmetric": True, "narrow_range": True}
        quantizer = _ByDepth(**rules) if self.kind == "depthwise" else quantizers.LastValueQuantizer(**rules)
        return [(_kernel(layer), quantizer)]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        if quantize_weights:
            setattr(layer, "depthwise_kernel" if self.kind == "depthwise" else "kernel", quantize_weights[0])

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        del layer
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Nothing: the activation is the layer's own, and what comes out of it is quantized."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        del layer
        return [quantizers.MovingAverageQuantizer(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)]

    def get_config(self) -> dict[str, Any]:
        return {"kind": self.kind}


class _ByDepth(quantizers.LastValueQuantizer):  # type: ignore[misc]
    """Quantizes [h, w, channels, 1] by channel: tfmot takes the last axis, so the channels are moved there."""

    def build(self, tensor_shape: Any, name: str, layer: Any) -> Any:
        return super().build(tf.TensorShape([1, *tensor_shape[:3]]), name, layer)

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        shape = inputs.shape
        quantized = super().__call__(tf.reshape(inputs, [1, *shape[:3]]), training, weights, **kwargs)
        return tf.reshape(quantized, shape)


class _Pixels(quantizers.Quantizer):  # type: ignore[misc]
    """The pixels' range, which no training moves."""

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        del tensor_shape, name, layer
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        del training, weights, kwargs
        return tf.quantization.fake_quant_with_min_max_args(inputs, *_PIXELS)

    def get_config(self) -> dict[str, Any]:
        return {}


def _kernel(layer: Any) -> Any:
    return layer.depthwise_kernel if isinstance(layer, tf_keras.layers.DepthwiseConv2D) else layer.kernel


def measure(model: Any, pixels: Sequence[Pixels], batch: int) -> dict[str, tuple[Floats, Floats]]:
    """Return the lowest and highest value of every node by channel, float32 [c], over pictures uint8 [h, w, 3]."""
    run = tf.function(
        lambda x: {
            name: (
                tf.reduce_min(value, axis=list(range(len(value.shape) - 1))),
                tf.reduce_max(value, axis=list(range(len(value.shape) - 1))),
            )
            for name, value in model(x, training=False).items()
        },
        reduce_retracing=True,
    )
    parts = [pixels[start : start + batch] for start in range(0, len(pixels), batch)]
    found = [run((np.stack(part).astype(np.float32) - 128) / 128) for part in parts]
    return {
        name: (
            np.min([one[name][0] for one in found], axis=0),
            np.max([one[name][1] for one in found], axis=0),
        )
        for name in found[0]
    }
