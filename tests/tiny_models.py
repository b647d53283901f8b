"""Real TFLite models of a few bytes, written without TensorFlow: a convolution whose patches do not overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
import tflite

if TYPE_CHECKING:
    from collections.abc import Sequence

LABELS = 2
INPUT_STEP = 1 / 128


class _Writer:
    """A flatbuffer in the making."""

    def __init__(self) -> None:
        self._made = flatbuffers.Builder(1024)
        self._buffers = [self._table("Buffer")]  # The first is the empty one, of tensors that are computed.
        self._tensors: list[int] = []
        self._operators: list[int] = []
        self._codes: list[int] = []

    def tensor(self, kind: str, shape: Sequence[int], quantization: tuple[float, int], data: Any = None) -> int:
        """Add a tensor of `kind`, INT8 for one, with its constant data; return its number."""
        buffer = 0
        if data is not None:
            buffer = len(self._buffers)
            stored = self._made.CreateNumpyVector(np.ascontiguousarray(data).view(np.uint8).ravel())
            self._buffers.append(self._table("Buffer", Data=stored))
        scale, zero_point = (
            self._made.CreateNumpyVector(np.array([n], t))
            for n, t in zip(quantization, (np.float32, np.int64), strict=True)
        )
        quantized = self._table("QuantizationParameters", Scale=scale, ZeroPoint=zero_point)
        made = self._table(
            "Tensor",
            Shape=self._numbers(shape),
            Type=getattr(tflite.TensorType, kind),
            Buffer=buffer,
            Quantization=quantized,
        )
        self._tensors.append(made)
        return len(self._tensors) - 1

    def operator(self, name: str, version: int, inputs: Sequence[int], output: int, **options: Any) -> int:
        """Add an operator with its one table of options, and return its output's number."""
        builtin = getattr(tflite.BuiltinOperator, name)
        code = self._table("OperatorCode", DeprecatedBuiltinCode=builtin, BuiltinCode=builtin, Version=version)
        self._codes.append(code)
        ((kind, fields),) = options.items()
        self._operators.append(
            self._table(
                "Operator",
                OpcodeIndex=len(self._codes) - 1,
                Inputs=self._numbers(inputs),
                Outputs=self._numbers([output]),
                BuiltinOptionsType=getattr(tflite.BuiltinOptions, kind),
                BuiltinOptions=self._table(kind, **fields),
            )
        )
        return output

    def custom(self, name: str, taken: int, output: int) -> int:
        """Add an operator that is none of the runtime's own, and return its output's number."""
        code = tflite.BuiltinOperator.CUSTOM
        made = self._made.CreateString(name)
        self._codes.append(
            self._table("OperatorCode", DeprecatedBuiltinCode=code, BuiltinCode=code, CustomCode=made, Version=1)
        )
        ends = {"Inputs": self._numbers([taken]), "Outputs": self._numbers([output])}
        self._operators.append(self._table("Operator", OpcodeIndex=len(self._codes) - 1, **ends))
        return output

    def finish(self, taken: int, given: Sequence[int]) -> bytes:
        """Return the file."""
        graph = self._table(
            "SubGraph",
            Tensors=self._tables(self._tensors),
            Inputs=self._numbers([taken]),
            Outputs=self._numbers(given),
            Operators=self._tables(self._operators),
        )
        model = self._table(
            "Model",
            Version=3,
            OperatorCodes=self._tables(self._codes),
            Subgraphs=self._tables([graph]),
            Buffers=self._tables(self._buffers),
        )
        self._made.Finish(model, b"TFL3")
        return bytes(self._made.Output())

    def _table(self, kind: str, **fields: float) -> int:
        getattr(tflite, f"{kind}Start")(self._made)
        for name, value in fields.items():
            getattr(tflite, f"{kind}Add{name}")(self._made, value)
        made: int = getattr(tflite, f"{kind}End")(self._made)
        return made

    def _numbers(self, values: Sequence[int]) -> int:
        made: int = self._made.CreateNumpyVector(np.array(values, np.int32))
        return made

    def _tables(self, offsets: Sequence[int]) -> int:
        self._made.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._made.PrependUOffsetTRelative(offset)
        made: int = self._made.EndVector()
        return made


def patch_model(  # noqa: PLR0913 - each is one thing that models differ in
    height: int,
    width: int,
    cell: int,
    *,
    kind: str = "INT8",
    outputs: int = 3,
    softmax: bool = False,
    custom: str = "",
) -> bytes:
    """Write a model of LABELS labels that sees each cell of so many pixels by itself, so that tiles change nothing.

    `kind` is the input's, INT8 or UINT8; of contract 3's three `outputs` a model of 1 gives the last alone, the
    logits, or with `softmax` scores. An operator called `custom` passes the pixels on, if it is named.
    """
    w = _Writer()
    rng = np.random.default_rng(cell)
    taken = pixels = w.tensor(kind, (1, height, width, 3), (INPUT_STEP, 0 if kind == "INT8" else 128))
    if kind == "UINT8":
        pixels = w.tensor("INT8", (1, height, width, 3), (INPUT_STEP, 0))
        w.operator("QUANTIZE", 1, [taken], pixels, QuantizeOptions={})
    if custom:
        passed = w.tensor("INT8", (1, height, width, 3), (INPUT_STEP, 0))
        pixels = w.custom(custom, pixels, passed)
    weights = rng.integers(-127, 128, (LABELS, cell, cell, 3), np.int8)
    kernel = w.tensor("INT8", weights.shape, (1 / (127 * cell), 0), weights)
    bias = w.tensor("INT32", (LABELS,), (INPUT_STEP / (127 * cell), 0), np.zeros(LABELS, np.int32))
    grid = (1, height // cell, width // cell, LABELS)
    step = (0.02, 5)
    window = {
        "Padding": tflite.Padding.VALID,
        "StrideH": cell,
        "StrideW": cell,
        "DilationHFactor": 1,
        "DilationWFactor": 1,
    }
    places = w.operator("CONV_2D", 3, [pixels, kernel, bias], w.tensor("INT8", grid, step), Conv2DOptions=window)
    axes = w.tensor("INT32", (2,), (0.0, 0), np.array([1, 2], np.int32))
    logits = w.operator("MEAN", 2, [places, axes], w.tensor("INT8", (1, LABELS), step), ReducerOptions={})
    if softmax:
        scores = w.tensor("INT8", (1, LABELS), (1 / 256, -128))
        logits = w.operator("SOFTMAX", 2, [logits], scores, SoftmaxOptions={"Beta": 1.0})
    average = w.tensor("INT8", (1, 3), (INPUT_STEP, 0))
    embedding = w.operator("MEAN", 2, [pixels, axes], average, ReducerOptions={})
    return w.finish(taken, [embedding, places, logits][-outputs:])
