"""What a graph says of itself is checked before anything is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge.errors import BundleError
from edge.tensors import Tensor, require_quantized, the_input, the_outputs

if TYPE_CHECKING:
    from edge.tensors import Outputs

QUANTIZED = {"index": 0, "dtype": np.int8, "shape": np.array([1, 8, 8, 3]), "quantization": (1 / 128, 0)}


@pytest.mark.parametrize(
    "details",
    [
        [QUANTIZED],
        [QUANTIZED | {"dtype": np.uint8, "quantization": (1 / 128, 128)}],
        # As Keras scales, x / 127.5 - 1, in Coral's models.
        [QUANTIZED | {"dtype": np.uint8, "quantization": (1 / 127.5, 127)}],
    ],
)
def test_inputs_of_the_contract_are_accepted(details: list[dict[str, Any]]) -> None:
    """One int8 or uint8 picture at (u8 - 128) / 128, or less than a step from it."""
    assert the_input(details).shape == (1, 8, 8, 3)


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ([], "not none"),
        ([QUANTIZED, QUANTIZED], r"not int8 \[1, 8, 8, 3\], int8 \[1, 8, 8, 3\]"),
        ([QUANTIZED | {"dtype": np.float32}], r"not float32 \[1, 8, 8, 3\]"),
        ([QUANTIZED | {"shape": np.array([2, 8, 8, 3])}], r"not int8 \[2, 8, 8, 3\]"),
        ([QUANTIZED | {"shape": np.array([1, 8, 8, 1])}], r"not int8 \[1, 8, 8, 1\]"),
        ([QUANTIZED | {"shape": np.array([1, 0, 8, 3])}], r"not int8 \[1, 0, 8, 3\]"),
        ([QUANTIZED | {"shape": np.array([1, 99999, 8, 3])}], r"not int8 \[1, 99999, 8, 3\]"),
        ([QUANTIZED | {"shape": np.array([8, 3])}], r"not int8 \[8, 3\]"),
        ([QUANTIZED | {"quantization": (1 / 255, -128)}], r"input quantization is \(0\.00392157, -128\)"),
        ([QUANTIZED | {"quantization": (1 / 128, 128)}], "trained with another input scaling"),
        ([QUANTIZED | {"quantization": (float("nan"), 0)}], r"input quantization is \(nan, 0\)"),
    ],
)
def test_other_inputs_are_refused(details: list[dict[str, Any]], reason: str) -> None:
    """No input, two, floats, a batch, grey, an absurd size and another scaling are each named."""
    with pytest.raises(BundleError, match=reason):
        the_input(details)


def output(*shape: int, scale: float = 0.1, dtype: Any = np.int8) -> dict[str, Any]:
    return {"index": len(shape), "dtype": dtype, "shape": np.array(shape), "quantization": (scale, 0)}


def shapes(found: Outputs) -> list[tuple[int, ...] | None]:
    tensors = (found.scores, found.logit_map, found.embedding)
    return [None if tensor is None else tensor.shape for tensor in tensors]


def test_outputs_are_told_apart_by_their_shape() -> None:
    """Of the flat outputs the scores come last; a map has a channel for each label; a lone output gives the scores."""
    embedding, places, scores = output(1, 64), output(1, 4, 4, 3), output(1, 3)
    assert shapes(the_outputs([embedding, places, scores], 3)) == [(1, 3), (1, 4, 4, 3), (1, 64)]
    assert shapes(the_outputs([scores], 3)) == [(1, 3), None, None]
    for other in (output(1, 4, 4, 7), output(2, 4, 4, 3), output(1, 0, 4, 3), output(1, 4, 3)):
        assert shapes(the_outputs([other, scores], 3)) == [(1, 3), None, None]


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ([], "the model gives no scores but the manifest names 3 labels"),
        ([output(1, 4)], r"gives \[1, 4\] scores"),
        ([output(2, 3)], r"gives \[2, 3\] scores"),
        ([output(1, 3, scale=float("nan"))], "quantization step nan"),
        ([output(1, 3, scale=-1)], "quantization step -1"),
        ([output(1, 3, dtype=np.float32)], "scores are float32, not int8 or uint8"),
    ],
)
def test_other_outputs_are_refused(outputs: list[dict[str, Any]], reason: str) -> None:
    """No scores, another number, a batch or a step that is no step are each named."""
    with pytest.raises(BundleError, match=reason):
        the_outputs(outputs, 3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": np.float32}, "the model's logits by place are float32, not int8 or uint8"),
        ({"quantization": (0.0, 0)}, "the model's logits by place have the quantization step 0.0"),
    ],
)
def test_a_map_to_pool_must_be_quantized(changes: dict[str, Any], reason: str) -> None:
    """A map that may only be looked at is no map to judge by: its type or step is named."""
    tensor = Tensor.of(output(1, 4, 4, 3) | changes)
    with pytest.raises(BundleError, match=reason):
        require_quantized(tensor, "logits by place")
