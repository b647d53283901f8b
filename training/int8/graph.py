"""Reads a .tflite flatbuffer into plain values; whatever the bytes, the end is a graph or one BundleError."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tflite

from edge.contract.bundle import MAX_BUNDLE_BYTES
from edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST = 10_000
"""Tensors, operators or buffers at most: a hundred times what a network of this project has."""
_LONGEST_RANK = 8
_LONGEST_LIST = 256
"""Inputs or outputs of one operator, at most."""
_LONGEST_NAME = 4_096
"""Bytes. The converter strings the names of all that it fused together."""
_FEW_NUMBERS = 64
"""An int32 constant up to so many is an axis, a size or a padding, and is read."""
_NAME_SLOT = 10
"""Of the tensor's name in its vtable, by the schema's order of fields."""
_IDENTIFIER = slice(4, 8)
_CODES = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
_TYPES = {code: name for name, code in vars(tflite.TensorType).items() if isinstance(code, int)}
_ITEM_BYTES = {"INT8": 1, "UINT8": 1, "INT16": 2, "FLOAT16": 2, "INT32": 4, "FLOAT32": 4, "INT64": 8, "FLOAT64": 8}
_OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", ("DilationHFactor", "DilationWFactor")),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", ("DilationHFactor", "DilationWFactor")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", ("FusedActivationFunction",)),
    "MAX_POOL_2D": ("Pool2DOptions", ("FusedActivationFunction",)),
    "CONCATENATION": ("ConcatenationOptions", ("FusedActivationFunction",)),
    "STRIDED_SLICE": ("StridedSliceOptions", ("EllipsisMask", "NewAxisMask")),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", ("AlignCorners", "HalfPixelCenters")),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", ("AlignCorners", "HalfPixelCenters")),
}
"""The options that a rule asks for: their table in the schema and its fields."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One tensor of the graph. real = scale * (stored - zero point), along `axis` if there are several scales."""

    name: str
    dtype: str
    """As the schema spells it, such as INT8."""
    shape: tuple[int, ...]
    is_static: bool
    """Whether every side is known before the model runs."""
    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int
    is_constant: bool
    numbers: tuple[int, ...]
    """The values of a short int32 constant, such as axes; of anything else nothing."""

    @property
    def elements(self) -> int:
        """The product of the sides; 1 for a scalar."""
        result = 1
        for side in self.shape:
            result *= side  # Python's integers: NumPy's would wrap round.
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """One operation; inputs and outputs are indices of tensors, an input of -1 is left out."""

    index: int
    name: str
    """As the schema spells it, such as CONV_2D."""
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """The first subgraph of a model, and how many there are."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int

    def layer(self, operator: Operator) -> str:
        """Name an operator as a person finds it: its place, its kind and what it computes."""
        made = self.tensors[operator.outputs[0]].name.partition(";")[0] if operator.outputs else "nothing"
        return f"operator {operator.index} ({operator.name}, {made or 'unnamed'})"


def read(model: bytes) -> Graph:
    """Decode a model; raises BundleError for anything that is not a whole, consistent TFLite file.

    Memory and time are bounded by the file's size whatever lengths it claims.
    """
    if len(model) > MAX_BUNDLE_BYTES:
        raise BundleError(f"the model has {len(model)} bytes; at most {MAX_BUNDLE_BYTES} fit in a bundle")
    if model[_IDENTIFIER] != b"TFL3":
        raise BundleError("the model is not a TFLite file: it does not say TFL3; rebuild it with edge-train build")
    try:
        return _graph(tflite.Model.GetRootAs(model, 0))
    # What reading beyond a buffer's end, or a number that cannot be an offset, comes to in flatbuffers.
    except (struct.error, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError("the model file is damaged: an offset leads outside of it; copy or build it again") from error


def _graph(root: Any) -> Graph:
    subgraphs = _count("subgraphs", root.SubgraphsLength(), MOST)
    if not subgraphs:
        raise _damaged("no subgraph")
    graph = root.Subgraphs(0)
    constants = [root.Buffers(i) for i in range(_count("buffers", root.BuffersLength(), 2 * MOST))]
    codes = [_code(root.OperatorCodes(i)) for i in range(_count("codes", root.OperatorCodesLength(), MOST))]
    tensors = tuple(_tensor(graph.Tensors(i), constants) for i in range(_count("tensors", graph.TensorsLength(), MOST)))
    count = _count("operators", graph.OperatorsLength(), MOST)
    operators = tuple(_operator(i, graph.Operators(i), codes, len(tensors)) for i in range(count))
    inputs = _indices(graph.InputsLength(), graph.Inputs, range(len(tensors)))
    outputs = _indices(graph.OutputsLength(), graph.Outputs, range(len(tensors)))
    return Graph(tensors, operators, inputs, outputs, subgraphs)


def _code(code: Any) -> tuple[str, int]:
    # The old field ends at 127; newer operators have 127 there and their number in the new one.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    return _CODES.get(number, f"operator number {number}"), code.Version()


def _tensor(tensor: Any, constants: list[Any]) -> Tensor:
    shape = _integers(tensor.ShapeLength(), tensor.Shape)
    signature = _integers(tensor.ShapeSignatureLength(), tensor.ShapeSignature)
    dtype = _TYPES.get(tensor.Type(), f"type number {tensor.Type()}")
    scales, zero_points, axis = _quantization(tensor.Quantization())
    buffer = constants[tensor.Buffer()]
    size = buffer.DataLength()
    made = Tensor(
        name=_text(tensor),
        dtype=dtype,
        shape=shape,
        is_static=all(side > 0 for side in (*shape, *signature)),
        scales=scales,
        zero_points=zero_points,
        axis=axis,
        is_constant=size > 0,
        numbers=_numbers(buffer) if dtype == "INT32" and 0 < size <= 4 * _FEW_NUMBERS else (),
    )
    if size and dtype in _ITEM_BYTES and size != made.elements * _ITEM_BYTES[dtype]:
        raise _damaged(f"tensor {made.name[:60]} of shape {list(shape)} has {size} bytes")
    if size and buffer.DataAsNumpy().nbytes != size:
        raise _damaged(f"tensor {made.name[:60]} ends outside of the file")
    return made


def _quantization(found: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], int]:
    """Return scales, zero points (both empty if there are none) and the axis they run along."""
    if found is None or not found.ScaleLength():
        return np.empty(0, np.float32), np.empty(0, np.int64), 0
    zero_points = found.ZeroPointAsNumpy() if found.ZeroPointLength() else np.zeros(found.ScaleLength(), np.int64)
    return found.ScaleAsNumpy(), zero_points, found.QuantizedDimension()


def _numbers(buffer: Any) -> tuple[int, ...]:
    return tuple(buffer.DataAsNumpy().view("<i4").tolist())


def _text(tensor: Any) -> str:
    """Return a tensor's name, cut where no real one reaches: the reader's own way copies whatever length is claimed."""
    table = tensor._tab  # noqa: SLF001 - the generated reader offers no length
    offset = table.Offset(_NAME_SLOT)
    if not offset:
        return ""
    start = table.Indirect(table.Pos + offset)
    (length,) = struct.unpack_from("<I", table.Bytes, start)
    return bytes(table.Bytes[start + 4 : start + 4 + min(length, _LONGEST_NAME)]).decode(errors="replace")


def _operator(index: int, operator: Any, codes: list[tuple[str, int]], tensors: int) -> Operator:
    name, version = codes[operator.OpcodeIndex()]
    return Operator(
        index=index,
        name=name,
        version=version,
        inputs=_indices(operator.InputsLength(), operator.Inputs, range(-1, tensors)),
        outputs=_indices(operator.OutputsLength(), operator.Outputs, range(tensors)),
        options=_options(name, operator),
    )


def _options(name: str, operator: Any) -> dict[str, int]:
    found = operator.BuiltinOptions()
    if name not in _OPTIONS or found is None:
        return {}
    kind, fields = _OPTIONS[name]
    if operator.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, kind):
        raise _damaged(f"{name} has the options of another operator")
    options = getattr(tflite, kind)()
    options.Init(found.Bytes, found.Pos)
    return {field: int(getattr(options, field)()) for field in fields}


def _integers(length: int, get: Callable[[int], int]) -> tuple[int, ...]:
    return tuple(get(i) for i in range(_count("sides of a tensor", length, _LONGEST_RANK)))


def _indices(length: int, get: Callable[[int], int], allowed: range) -> tuple[int, ...]:
    found = tuple(get(i) for i in range(_count("inputs or outputs", length, _LONGEST_LIST)))
    if wrong := [index for index in found if index not in allowed]:
        raise _damaged(f"it refers to tensor {wrong[0]} of {allowed.stop}")
    return found


def _count(what: str, found: int, most: int) -> int:
    if found > most:
        raise _damaged(f"it claims {found} {what}, more than {most}")
    return found


def _damaged(what: str) -> BundleError:
    return BundleError(f"the model file is damaged: {what}; copy or build it again")
