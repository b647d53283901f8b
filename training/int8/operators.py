"""What the Edge TPU takes: Google's table of supported operations with its limits, as rules on a graph.

From "TensorFlow models on the Edge TPU" (coral.ai/docs/edgetpu/models-intro), for compiler 16 and runtime 14. That
compiler was built from TensorFlow 2.5: `newest` is the operator's version that TensorFlow's own table of minimum
runtime versions (tensorflow/lite/tools/versioning/runtime_version.cc) names for 2.5. A newer one ends the
compilation with "Didn't find op for builtin opcode".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.int8.graph import Graph, Operator, Tensor

_INNERMOST = 3
"""If a tensor has more dimensions than these, the others must be 1."""
_SOFTMAX_ELEMENTS = 16_000
_Z_MULTIPLE = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """What the compiler asks of one operator."""

    newest: int
    limit: Callable[[Graph, Operator], str | None] | None = None
    """Says what is wrong with one use of it; None: nothing."""


def _same_dilation(graph: Graph, operator: Operator) -> str | None:
    del graph
    height, width = (operator.options.get(name, 1) for name in ("DilationHFactor", "DilationWFactor"))
    return None if height == width else f"is dilated by {height} x {width}, not by the same in both directions"


def _no_fused_activation(graph: Graph, operator: Operator) -> str | None:
    del graph
    return "has a fused activation" if operator.options.get("FusedActivationFunction") else None


def _concatenation(graph: Graph, operator: Operator) -> str | None:
    if any(tensor.is_constant for tensor in _given(graph, operator)):
        return "joins a constant"
    return _no_fused_activation(graph, operator)


def _mean(graph: Graph, operator: Operator) -> str | None:
    picture = _given(graph, operator)[0]
    axes = _axes(graph, operator)
    if (batch := _no_batch(graph, operator)) is not None:
        return batch
    last = len(picture.shape) - 1
    if picture.shape and last in axes and picture.shape[last] % _Z_MULTIPLE:
        return f"reduces {picture.shape[last]} channels, which is no multiple of {_Z_MULTIPLE}"
    return None


def _no_batch(graph: Graph, operator: Operator) -> str | None:
    return "reduces the batch" if 0 in _axes(graph, operator) else None


def _no_padded_batch(graph: Graph, operator: Operator) -> str | None:
    pads = _second(graph, operator)
    return "pads the batch" if any(pads[:2]) else None


def _whole_pixels(graph: Graph, operator: Operator) -> str | None:
    del graph
    return "has half-pixel centres" if operator.options.get("HalfPixelCenters") else None


def _flat_softmax(graph: Graph, operator: Operator) -> str | None:
    given = _given(graph, operator)[0]
    if given.elements > _SOFTMAX_ELEMENTS or given.elements != max(given.shape, default=1):
        return f"is over {list(given.shape)}, not one row of at most {_SOFTMAX_ELEMENTS}"
    return None


def _plain_slice(graph: Graph, operator: Operator) -> str | None:
    strides = graph.tensors[operator.inputs[-1]].numbers
    masked = any(operator.options.get(name) for name in ("EllipsisMask", "NewAxisMask"))
    return "has strides or masks" if masked or any(stride != 1 for stride in strides) else None


def _given(graph: Graph, operator: Operator) -> list[Tensor]:
    return [graph.tensors[index] for index in operator.inputs if index >= 0]


def _second(graph: Graph, operator: Operator) -> tuple[int, ...]:
    given = _given(graph, operator)
    return given[1].numbers if len(given) > 1 else ()


def _axes(graph: Graph, operator: Operator) -> set[int]:
    rank = len(_given(graph, operator)[0].shape)
    return {axis % rank if rank else axis for axis in _second(graph, operator)}


EDGE_TPU: dict[str, Rule] = {
    "ADD": Rule(3),
    "AVERAGE_POOL_2D": Rule(3, _no_fused_activation),
    "CONCATENATION": Rule(3, _concatenation),
    "CONV_2D": Rule(5, _same_dilation),
    "DEPTHWISE_CONV_2D": Rule(6, _same_dilation),
    "EXPAND_DIMS": Rule(1),
    "FULLY_CONNECTED": Rule(9),
    "L2_NORMALIZATION": Rule(2),
    "LOGISTIC": Rule(3),
    "LSTM": Rule(4),
    "MAXIMUM": Rule(4),
    "MAX_POOL_2D": Rule(3, _no_fused_activation),
    "MEAN": Rule(3, _mean),
    "MINIMUM": Rule(4),
    "MUL": Rule(4),
    "PACK": Rule(3),
    "PAD": Rule(3, _no_padded_batch),
    "PRELU": Rule(1),
    "QUANTIZE": Rule(2),
    "REDUCE_MAX": Rule(3, _no_batch),
    "REDUCE_MIN": Rule(3, _no_batch),
    "RELU": Rule(3),
    "RELU6": Rule(3),
    "RELU_N1_TO_1": Rule(1),
    "RESHAPE": Rule(1),
    "RESIZE_BILINEAR": Rule(4, _whole_pixels),
    "RESIZE_NEAREST_NEIGHBOR": Rule(4, _whole_pixels),
    "RSQRT": Rule(2),
    "SLICE": Rule(5),
    "SOFTMAX": Rule(3, _flat_softmax),
    "SPACE_TO_DEPTH": Rule(2),
    "SPLIT": Rule(4),
    "SQUARED_DIFFERENCE": Rule(2),
    "SQUEEZE": Rule(2),
    "STRIDED_SLICE": Rule(5, _plain_slice),
    "SUB": Rule(5),
    "SUM": Rule(2, _no_batch),
    "TANH": Rule(3),
    "TRANSPOSE": Rule(5),
    "TRANSPOSE_CONV": Rule(3),
}
REMEDIES = {
    "HARD_SWISH": "take MobileNetV3 in its minimalistic form, which has ReLU in its place",
    "DIV": "multiply by the inverse, or divide before the model",
    "LEAKY_RELU": "take ReLU or PReLU",
    "ELU": "take ReLU or ReLU6",
}
"""For operators that are not in the table."""


def too_deep(tensor: Tensor) -> bool:
    """Say whether a tensor has a side above 1 outside of its three innermost dimensions."""
    return any(side > 1 for side in tensor.shape[:-_INNERMOST])
