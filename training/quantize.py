"""The trained network to an int8 TFLite flatbuffer whose input is the pixel minus 128, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from edge.errors import BundleError
from training.model import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from edge.contract.preprocess import Pixels
    from training.dataset import Dataset
    from training.model import Network

CALIBRATION_PICTURES = 300
"""In all, the same number of each class: more did not change the ranges."""
_INPUT_QUANTIZATION = (1 / 128, 0)
_ALLOWED_OPS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "PAD"})
"""What MobileNetV2 and the head come to. Above all no FULLY_CONNECTED: older runtimes get it silently wrong."""


def quantize(network: Network, data: Dataset, *, seed: int) -> bytes:
    """Convert to int8 throughout, with ranges measured on a stratified sample of `data`.

    Outputs: embedding [1, d], logit_map [1, h, w, n], logits [1, n]. Raises BundleError if the converter
    gave another input quantization or operators than the device's contract allows.
    """
    sample = pin_range(data.pixels[_stratified(data, seed)])
    spec = tf.TensorSpec([1, *sample.shape[1:]], tf.float32, name="pixels")
    graph = tf.function(lambda pixels: network.whole(pixels, training=False)).get_concrete_function(spec)
    # Passing the model as well would fail with READ_VARIABLE.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _one_by_one(sample)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    model = bytes(converter.convert())
    check(model)
    return model


def check(model: bytes) -> None:
    """Raise BundleError unless a model keeps the contract: input (1/128, 0), int8 tensors, known operators."""
    interpreter = tf.lite.Interpreter(model_content=model)
    found = interpreter.get_input_details()[0]["quantization"]
    if found != _INPUT_QUANTIZATION:
        raise BundleError(f"the converter quantized the input as {found}, not {_INPUT_QUANTIZATION}")
    ops = {op["op_name"] for op in interpreter._get_ops_details()}  # noqa: SLF001 - the only list of operators
    if strange := sorted(ops - _ALLOWED_OPS - {"DELEGATE"}):
        raise BundleError(f"the converter used {', '.join(strange)}; only {', '.join(sorted(_ALLOWED_OPS))} are safe")
    floats = [t["name"] for t in interpreter.get_tensor_details() if t["dtype"] in (np.float32, np.float16)]
    if floats:
        raise BundleError(f"the converter left {len(floats)} tensors in float, such as {floats[0]}")


def pin_range(pixels: Pixels) -> Pixels:
    """Return calibration pictures that hold 0 and 255, so that the input's range is exactly [-1, 127/128]."""
    pinned = pixels.copy()
    pinned[0, 0, 0], pinned[0, 0, 1] = 0, 255
    return pinned


def _stratified(data: Dataset, seed: int) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    each = -(-CALIBRATION_PICTURES // len(data.labels))
    rows = [rng.permutation(np.flatnonzero(data.truth == label))[:each] for label in range(len(data.labels))]
    return np.concatenate(rows)


def _one_by_one(pixels: Pixels) -> Iterator[list[Any]]:
    for picture in pixels:
        yield [normalise(picture[np.newaxis])]
