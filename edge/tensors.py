"""What a TFLite graph says of itself: its input and its outputs, checked against contract 3."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.contract.preprocess import MAX_SIDE
from edge.errors import BundleError
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from edge.contract.pooling import Floats

_INPUT_STEP = 1 / 128
_BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


class Tensor(Record, frozen=True):
    """One quantized tensor: real = scale * (stored - zero_point)."""

    index: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    @classmethod
    def of(cls, details: dict[str, Any]) -> Tensor:
        """Read what an interpreter says of a tensor."""
        scale, zero_point = details["quantization"]
        shape = tuple(int(n) for n in details["shape"])
        return cls(int(details["index"]), shape, np.dtype(details["dtype"]), float(scale), int(zero_point))

    def real(self, stored: npt.NDArray[Any]) -> Floats:
        """Dequantize."""
        if not self.scale:
            return stored.astype(np.float32)
        result: Floats = self.scale * (stored.astype(np.float32) - self.zero_point)
        return result

    @property
    def is_softmax(self) -> bool:
        """TFLite fixes a quantized softmax's output to steps of 1/256 from 0; logits would only have it by chance."""
        return self.scale == 1 / 256 and self.zero_point == np.iinfo(self.dtype).min


class Outputs(Record, frozen=True):
    """A graph's outputs, each [1, ...]: `scores` [n], `logit_map` [h, w, n], `embedding` [d]."""

    scores: Tensor
    logit_map: Tensor | None
    embedding: Tensor | None

    @property
    def all(self) -> tuple[Tensor, ...]:
        """Those that there are."""
        return tuple(tensor for tensor in (self.scores, self.logit_map, self.embedding) if tensor is not None)


def the_input(details: Sequence[dict[str, Any]]) -> Tensor:
    """Return the one picture that a model takes; raises BundleError if it takes anything else."""
    tensors = [Tensor.of(one) for one in details]
    if [_is_picture(tensor) for tensor in tensors] != [True]:
        found = ", ".join(f"{tensor.dtype} {list(tensor.shape)}" for tensor in tensors) or "none"
        raise BundleError(f"the model's input must be one int8 or uint8 [1, h, w, 3], not {found}")
    tensor = tensors[0]
    neutral = 0 if tensor.dtype == np.int8 else 128
    # x / 127.5 - 1 with zero point 127 or -1 (Keras' own scaling) differs by less than one step.
    if not (abs(tensor.scale - _INPUT_STEP) <= _INPUT_STEP / 128 and abs(tensor.zero_point - neutral) <= 1):
        raise BundleError(
            f"the model's input quantization is ({tensor.scale:g}, {tensor.zero_point}), not (1/128, {neutral}): "
            "it was trained with another input scaling; rebuild it with edge-train build"
        )
    return tensor


def _is_picture(tensor: Tensor) -> bool:
    match tensor.shape:
        case (1, height, width, 3):
            return tensor.dtype in _BYTES and 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE
    return False


def the_outputs(details: Sequence[dict[str, Any]], labels: int) -> Outputs:
    """Tell scores, logit map and embedding apart by rank; of two flat outputs the scores come last.

    Raises BundleError if there is no score for each of so many labels.
    """
    outputs = [Tensor.of(one) for one in details]
    flat = [tensor for tensor in outputs if len(tensor.shape) == 2]  # noqa: PLR2004 - [1, n]
    if not flat or flat[-1].shape != (1, labels):
        found = f"{list(flat[-1].shape)}" if flat else "no"
        raise BundleError(f"the model gives {found} scores but the manifest names {labels} labels; rebuild the bundle")
    scores = require_quantized(flat[-1], "scores")
    maps = [tensor for tensor in outputs if _is_map(tensor, labels)]
    return Outputs(scores, maps[0] if maps else None, flat[0] if len(flat) > 1 else None)


def _is_map(tensor: Tensor, labels: int) -> bool:
    match tensor.shape:
        case (1, height, width, depth):
            return height > 0 and width > 0 and depth == labels
    return False


def require_quantized(tensor: Tensor, name: str) -> Tensor:
    """Return a tensor of bytes with a step that is one; raises BundleError for any other, called `name`."""
    if tensor.dtype not in _BYTES:
        raise BundleError(f"the model's {name} are {tensor.dtype}, not int8 or uint8; rebuild the bundle")
    if not 0 < tensor.scale < math.inf:
        raise BundleError(f"the model's {name} have the quantization step {tensor.scale}; rebuild the bundle")
    return tensor
