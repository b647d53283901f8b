from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from edited_models import SOUND, edit, findings, operators, rename, set_tensor, tensor
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import BundleError
from training.int8 import flatbuffer

if TYPE_CHECKING:
    from collections.abc import Callable

FLOAT32, INT16, INT64 = 0, 7, 4


def test_the_demo_model_is_sound() -> None:
    """A model that edge-train made has nothing that a device or the Edge TPU minds."""
    assert flatbuffer.inspect(SOUND) == []
    flatbuffer.check(SOUND, edge_tpu=True)


def test_editing_itself_changes_nothing() -> None:
    """A model that was taken apart and put together by another library is still sound."""
    assert flatbuffer.inspect(edit(lambda _: None)) == []


def drop_quantization(tree: Any) -> None:
    tensor(tree, 110).quantization = None


def second_subgraph(tree: Any) -> None:
    tree.subgraphs.append(tree.subgraphs[0])


def swap_outputs(tree: Any) -> None:
    graph = tree.subgraphs[0]
    graph.outputs = [graph.outputs[2], graph.outputs[1], graph.outputs[0]]


def second_input(tree: Any) -> None:
    tree.subgraphs[0].inputs = [0, 110]


def skip_last_operator(tree: Any) -> None:
    tree.subgraphs[0].operators.pop()


def loose_weights(tree: Any) -> None:
    convolution = operators(tree, "CONV_2D")[1]
    convolution.inputs = [109, 109, convolution.inputs[2]]


def no_inputs(tree: Any) -> None:
    operators(tree, "ADD")[0].inputs = []


def computed_shape(tree: Any) -> None:
    tensor(tree, 1).buffer = 0


ERRORS = {
    "static sizes": (set_tensor(110, shapeSignature=[-1, 64, 64, 8]), "has a size that changes"),
    "no empty side": (set_tensor(110, shape=[1, 0, 64, 8]), "has a size that changes"),
    "bounded sizes": (set_tensor(110, shape=[1, 65536, 65536, 8]), "elements, more than"),
    "batch": (set_tensor(0, shape=[2, 128, 128, 3]), "takes a batch of 2"),
    "colours": (set_tensor(0, shape=[1, 128, 128, 1]), r"not [1, height, width, 3]"),
    "float": (set_tensor(110, type=FLOAT32), "is float32, not int8; convert with TFLITE_BUILTINS_INT8"),
    "16 bits": (set_tensor(110, type=INT16), "is int16, not int8"),
    "input scale": (set_tensor(0, scale=[1 / 127.5]), "is quantized as (0.00784314, 0), not (1/128, 0)"),
    "input zero": (set_tensor(0, zeroPoint=[-1]), "is quantized as (0.0078125, -1), not (1/128, 0)"),
    "no quantization": (drop_quantization, "is int8 without a quantization"),
    "step of 0": (set_tensor(110, scale=[0.0]), "a quantization step that is not above 0"),
    "step of nan": (set_tensor(110, scale=[float("nan")]), "a quantization step that is not above 0"),
    "zero points": (set_tensor(110, zeroPoint=[0, 0]), "has more steps than zero points, or fewer"),
    "activation by channel": (set_tensor(110, scale=[1.0] * 8, zeroPoint=[0] * 8), "quantized by channel"),
    "weights' axis": (set_tensor(107, quantizedDimension=3), "quantization steps for the shape"),
    "weights' zero": (set_tensor(107, zeroPoint=[1] * 16), "weights whose zero point is not 0"),
    "loose weights": (loose_weights, "weights that are computed while the model runs"),
    "computed shape": (computed_shape, "is int32 and computed while the model runs"),
    "one subgraph": (second_subgraph, "has 2 subgraphs, not one; leave out conditions and loops"),
    "output order": (swap_outputs, "the outputs: are [1, 5], [1, 4, 4, 5], [1, 1280], not embedding [1, d]"),
    "one input": (second_input, "has 2 inputs, not one picture"),
    "output made": (skip_last_operator, "is an output that nothing computes"),
    "operator's input": (no_inputs, "has no input or no output"),
    "softmax": (lambda tree: rename(tree, "MEAN", "SOFTMAX"), "gives scores, not logits"),
    "dequantize": (lambda tree: rename(tree, "ADD", "DEQUANTIZE"), "leaves the integers in the middle"),
}


@pytest.mark.parametrize(("change", "message"), ERRORS.values(), ids=ERRORS)
def test_what_a_device_would_get_wrong_is_an_error(change: Callable[[Any], None], message: str) -> None:
    """Each break of the contract is found, with its layer and remedy, and refused."""
    model = edit(change)
    assert message in findings(model, "error")
    with pytest.raises(BundleError, match="not fit for the device"):
        flatbuffer.check(model)


def test_a_finding_names_its_layer_and_the_error_is_one_line() -> None:
    """The message has the operator's number, kind and name, the first three findings, and how many more."""

    def change(tree: Any) -> None:
        rename(tree, "ADD", "DEQUANTIZE")

    with pytest.raises(
        BundleError, match=r"operator 9 \(DEQUANTIZE, \S+block_2_add\S*\): .* \| and \d+ more$"
    ) as error:
        flatbuffer.check(edit(change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree.buffers[tensor(tree, 107).buffer].__setattr__("data", np.zeros(3, np.uint8)), "has 3 bytes"),
        (lambda tree: operators(tree, "ADD")[0].__setattr__("inputs", [1, 9999]), "refers to tensor 9999 of 173"),
        (lambda tree: operators(tree, "ADD")[0].__setattr__("outputs", [-1]), "refers to tensor -1 of 173"),
        (lambda tree: operators(tree, "ADD")[0].__setattr__("inputs", [1] * 300), "claims 300 inputs or outputs"),
        (lambda tree: rename(tree, "ADD", "CONV_2D"), "has the options of another operator"),
        (lambda tree: tree.__setattr__("subgraphs", []), "no subgraph"),
        (set_tensor(110, shape=[1] * 9), "claims 9 sides of a tensor"),
    ],
)
def test_a_file_that_contradicts_itself_is_called_damaged(change: Callable[[Any], None], message: str) -> None:
    """What no converter writes ends the reading with one line."""
    with pytest.raises(BundleError, match="the model file is damaged: ") as error:
        flatbuffer.inspect(edit(change))
    assert message in str(error.value)


def outcome(model: bytes) -> list[str]:
    """Inspect, and return what it says: its findings, or the line of its BundleError; anything else goes on."""
    try:
        return [str(finding) for finding in flatbuffer.inspect(model)]
    except BundleError as error:
        return [str(error)]


@given(st.binary(max_size=400))
def test_any_bytes_end_in_a_bundle_error(content: bytes) -> None:
    """Random bytes, with and without a TFLite file's identifier, are refused."""
    for model in (content, b"\x10\0\0\0TFL3" + content):
        with pytest.raises(BundleError):
            flatbuffer.inspect(model)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SOUND) - 1))
def test_a_truncated_model_ends_in_a_bundle_error_or_findings(length: int) -> None:
    """A download that broke off is never more than an error."""
    started = time.monotonic()
    said = outcome(SOUND[:length])
    assert all(line and "\n" not in line for line in said)
    assert time.monotonic() - started < 1


_STRUCTURE = len(SOUND) - 225_000
"""The converter writes tables, names and lists to the end; before them lie the weights."""


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 3_000), st.integers(_STRUCTURE, len(SOUND) - 5)), st.binary(min_size=1, max_size=4)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_model_with_flipped_bytes_ends_in_a_bundle_error_or_findings(changes: list[tuple[int, bytes]]) -> None:
    """Lengths, offsets and types that were overwritten neither crash nor hang the reader."""
    model = bytearray(SOUND)
    for place, content in changes:
        model[place : place + len(content)] = content
    started = time.monotonic()
    said = outcome(bytes(model))
    assert all(line and "\n" not in line for line in said)
    assert time.monotonic() - started < 1
