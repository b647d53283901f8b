"""Reads the finished .tflite as a stranger would: what the device would get wrong, and the Edge TPU would not take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from edge.contract.preprocess import MAX_SIDE
from edge.errors import BundleError
from training.int8 import graph as graphs
from training.int8.operators import EDGE_TPU, REMEDIES, too_deep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.int8.graph import Graph, Operator, Tensor

Severity: TypeAlias = Literal["error", "edge-tpu"]
_INPUT_QUANTIZATION = (1 / 128, 0)
_OUTPUTS = ("embedding [1, d]", "logit_map [1, h, w, n]", "logits [1, n]")
_CHANNELS_AT = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}
"""The axis of the output channels in the weights of the operators that may be quantized by channel."""
_DEEPEST_RANK = 4
_MOST_ELEMENTS = 1 << 28
"""Of one tensor, int8: a quarter of a Raspberry Pi's memory."""
_SHOWN = 3
_REBUILD = "rebuild it with edge-train build"
_INTEGERS = "convert with TFLITE_BUILTINS_INT8 and int8 input and output"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a model that a device or the Edge TPU minds."""

    layer: str
    """The operator's place and the name of its output, or the tensor."""
    problem: str
    remedy: str
    severity: Severity
    """error: a device would refuse the model or compute something else. edge-tpu: it stays on the CPU."""

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.layer}: {self.problem}; {self.remedy}"


def check(model: bytes, *, edge_tpu: bool = False) -> None:
    """Raise BundleError, one line with the first findings, for a model that a device gets wrong or refuses.

    With `edge_tpu` also for one that the Edge TPU would not take as a whole, and for a damaged file in any case.
    """
    found = [finding for finding in inspect(model) if edge_tpu or finding.severity == "error"]
    if found:
        more = len(found) - _SHOWN
        first = " | ".join(map(str, found[:_SHOWN]))
        raise BundleError(f"the model is not fit for the device: {first}" + (f" | and {more} more" if more > 0 else ""))


def inspect(model: bytes) -> list[Finding]:
    """List all that is wrong with a model, errors first; nothing: it runs as trained, on the Edge TPU too.

    Raises BundleError for a file that is damaged. Never more than that, whatever the bytes.
    """
    graph = graphs.read(model)
    found = [
        *_subgraphs(graph),
        *_input(graph),
        *_outputs(graph),
        *(one for tensor in graph.tensors for one in _tensor(tensor)),
        *(one for operator in graph.operators for one in _operator(graph, operator)),
    ]
    return sorted(found, key=lambda finding: finding.severity != "error")


def _subgraphs(graph: Graph) -> Iterator[Finding]:
    if graph.subgraphs > 1:
        remedy = "leave out conditions and loops"
        yield Finding("the model", f"has {graph.subgraphs} subgraphs, not one", remedy, "error")
    made = {index for operator in graph.operators for index in operator.outputs}
    for index in graph.outputs:
        if index not in made:
            yield Finding(graph.tensors[index].name, "is an output that nothing computes", _REBUILD, "error")


def _input(graph: Graph) -> Iterator[Finding]:
    if len(graph.inputs) != 1:
        yield Finding("the model", f"has {len(graph.inputs)} inputs, not one picture", _REBUILD, "error")
        return
    tensor = graph.tensors[graph.inputs[0]]
    layer = f"input {tensor.name}"
    match tensor.shape:
        case (1, height, width, 3) if height <= MAX_SIDE and width <= MAX_SIDE:
            pass
        case (batch, _, _, 3) if batch != 1:
            yield Finding(layer, f"takes a batch of {batch}", "convert with a batch of 1", "error")
        case _:
            yield Finding(layer, f"has the shape {list(tensor.shape)}, not [1, height, width, 3]", _REBUILD, "error")
    found = [*zip(tensor.scales.tolist(), tensor.zero_points.tolist(), strict=False)]
    if found != [_INPUT_QUANTIZATION]:
        given = f"({found[0][0]:g}, {found[0][1]})" if found else "nothing"
        remedy = "calibrate with pictures that hold 0 and 255"
        yield Finding(layer, f"is quantized as {given}, not (1/128, 0)", remedy, "error")


def _outputs(graph: Graph) -> Iterator[Finding]:
    shapes = [graph.tensors[index].shape for index in graph.outputs]
    match shapes:
        case [(1, _), (1, _, _, labels), (1, classes)] if labels == classes:
            pass
        case _:
            listed = ", ".join(str(list(shape)) for shape in shapes) or "nothing"
            yield Finding("the outputs", f"are {listed}, not {', '.join(_OUTPUTS)}", _REBUILD, "error")
    for operator in graph.operators:
        if operator.name == "SOFTMAX" and set(operator.outputs) & set(graph.outputs):
            remedy = "end with the logits: an int8 softmax has 256 steps"
            yield Finding(graph.layer(operator), "gives scores, not logits", remedy, "error")


def _tensor(tensor: Tensor) -> Iterator[Finding]:
    name = f"tensor {tensor.name.partition(';')[0]}"
    if not tensor.is_static:
        remedy = "convert with a fixed input size and a batch of 1"
        yield Finding(name, f"has a size that changes, {list(tensor.shape)}", remedy, "error")
    elif tensor.elements > _MOST_ELEMENTS:
        remedy = "take a smaller input size or fewer channels"
        yield Finding(name, f"has {tensor.elements} elements, more than {_MOST_ELEMENTS}", remedy, "error")
    elif len(tensor.shape) > _DEEPEST_RANK or (too_deep(tensor) and not tensor.is_constant):
        remedy = "only the three innermost dimensions may be above 1"
        yield Finding(name, f"has the shape {list(tensor.shape)}", remedy, "edge-tpu")
    if tensor.dtype == "INT32":
        if not tensor.is_constant:
            remedy = "give every shape and axis as a constant"
            yield Finding(name, "is int32 and computed while the model runs", remedy, "error")
    elif tensor.dtype != "INT8":
        yield Finding(name, f"is {tensor.dtype.lower()}, not int8", _INTEGERS, "error")
    elif not len(tensor.scales):
        yield Finding(name, "is int8 without a quantization", _INTEGERS, "error")
    yield from _quantization(name, tensor)


def _quantization(name: str, tensor: Tensor) -> Iterator[Finding]:
    if not len(tensor.scales):
        return
    if not (np.isfinite(tensor.scales).all() and (tensor.scales > 0).all()):
        yield Finding(name, "has a quantization step that is not above 0", _REBUILD, "error")
    if len(tensor.zero_points) != len(tensor.scales):
        yield Finding(name, "has more steps than zero points, or fewer", _REBUILD, "error")
    if len(tensor.scales) == 1:
        return
    if not tensor.is_constant:
        yield Finding(name, "is an activation quantized by channel", _REBUILD, "error")
    elif not 0 <= tensor.axis < len(tensor.shape) or tensor.shape[tensor.axis] != len(tensor.scales):
        problem = f"has {len(tensor.scales)} quantization steps for the shape {list(tensor.shape)}"
        yield Finding(name, problem, _REBUILD, "error")


def _operator(graph: Graph, operator: Operator) -> Iterator[Finding]:
    layer = graph.layer(operator)
    given = [graph.tensors[index] for index in operator.inputs if index >= 0]
    if not given or not operator.outputs:
        yield Finding(layer, "has no input or no output", _REBUILD, "error")
        return
    if operator.name == "FULLY_CONNECTED":
        yield _dense(layer, given)
    elif operator.name in _CHANNELS_AT:
        yield from _convolution(layer, operator, given)
    elif operator.name == "DEQUANTIZE" or (operator.name == "QUANTIZE" and given[0].dtype != "INT8"):
        # From int8 to another step of int8 it is sound: the converter does so before a concatenation.
        yield Finding(layer, "leaves the integers in the middle of the model", _INTEGERS, "error")
    yield from _edge_tpu(graph, operator)


def _dense(layer: str, given: list[Tensor]) -> Finding:
    if len(given) > 1 and len(given[1].scales) > 1:
        problem = "is a dense layer quantized by channel, which runtimes before 2.10 compute wrongly without an error"
    else:
        problem = "is a dense layer, which another version of the converter would quantize by channel"
    return Finding(layer, problem, "take a 1x1 convolution and a global average in its place", "error")


def _convolution(layer: str, operator: Operator, given: list[Tensor]) -> Iterator[Finding]:
    if len(given) < 2 or not given[1].is_constant:  # noqa: PLR2004 - picture and weights
        remedy = "give the weights as constants"
        yield Finding(layer, "has weights that are computed while the model runs", remedy, "error")
        return
    weights = given[1]
    if weights.zero_points.any():
        yield Finding(layer, "has weights whose zero point is not 0", _REBUILD, "error")
    if len(weights.scales) > 1 and weights.axis != _CHANNELS_AT[operator.name]:
        yield Finding(layer, f"has weights quantized along axis {weights.axis}", _REBUILD, "error")


def _edge_tpu(graph: Graph, operator: Operator) -> Iterator[Finding]:
    layer, rule = graph.layer(operator), EDGE_TPU.get(operator.name)
    if rule is None:
        remedy = REMEDIES.get(operator.name, "take another layer, or leave it to the CPU")
        yield Finding(layer, f"{operator.name} is not an operator of the Edge TPU", remedy, "edge-tpu")
        return
    if operator.version > rule.newest:
        problem = f"{operator.name} has version {operator.version}; the Edge TPU compiler 16 knows {rule.newest}"
        yield Finding(layer, problem, "convert with an older TensorFlow", "edge-tpu")
    if rule.limit is not None and (limited := rule.limit(graph, operator)) is not None:
        yield Finding(layer, limited, "the Edge TPU leaves this to the CPU; take another form", "edge-tpu")
