"""Bundle and pixels to scores: the only way from a frame to numbers, on the device and in evaluation.

Reads what the model says of itself: input size and type, output quantization. A graph of contract 3
gives `embedding`, `logit_map` and `logits`, in that order; a graph with a single output gives its scores.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge import runtime
from edge.config import Runtime
from edge.contract.preprocess import MAX_SIDE, WHOLE_FRAME, preprocess
from edge.errors import BundleError
from edge.record import Record

if TYPE_CHECKING:
    from pathlib import Path

    from edge.contract.bundle import Bundle
    from edge.contract.preprocess import ChannelOrder, Pixels, Region, Rotation

Floats: TypeAlias = npt.NDArray[np.float32]

_INPUT_STEP = 1 / 128
_SIGN_BIT = np.uint8(0x80)
"""uint8 xor this, read as int8, is the pixel minus 128."""


class Prediction(Record, frozen=True):
    """What the model says of one region. `scores` and `logits` are float32 [n] in the labels' order."""

    scores: Floats
    logits: Floats
    preprocess_ms: float
    invoke_ms: float


class _Tensor(Record, frozen=True):
    """One quantized tensor: real = scale * (stored - zero_point)."""

    index: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    @classmethod
    def of(cls, details: dict[str, Any]) -> _Tensor:
        scale, zero_point = details["quantization"]
        shape = tuple(int(n) for n in details["shape"])
        return cls(int(details["index"]), shape, np.dtype(details["dtype"]), float(scale), int(zero_point))

    def real(self, stored: npt.NDArray[Any]) -> Floats:
        if not self.scale:
            return stored.astype(np.float32)
        return np.float32(self.scale) * (stored.astype(np.float32) - np.float32(self.zero_point))

    @property
    def is_softmax(self) -> bool:
        """TFLite fixes a quantized softmax's output to steps of 1/256 from 0; logits would only have it by chance."""
        return self.scale == 1 / 256 and self.zero_point == np.iinfo(self.dtype).min


class Classifier:
    """One bundle's model, loaded and ready. Not thread-safe: one thread classifies."""

    def __init__(self, bundle: Bundle, settings: Runtime | None = None, *, state_dir: Path | None = None) -> None:
        """Probe the model in a child process, then load it.

        Raises BundleError for a model that does not fit its labels or contract, RuntimeUnavailableError
        without a runtime.
        """
        settings = settings or Runtime()
        runtime.probe(bundle.model, bundle.model_sha256, settings, state_dir)
        opened = runtime.open_interpreter(bundle.model, settings)
        self.bundle = bundle
        self.engine = opened.engine
        self._interpreter = opened.interpreter
        self._input = _the_input(opened.interpreter.get_input_details())
        outputs = [_Tensor.of(details) for details in opened.interpreter.get_output_details()]
        self._scores, self._map, self._embedding = _sort_outputs(outputs, len(bundle.manifest.labels))
        if self._scores.is_softmax and bundle.manifest.temperature != 1:
            raise BundleError("the model ends in a softmax, which no temperature can change; set temperature 1")

    @property
    def input_size(self) -> tuple[int, int]:
        """The model's (height, width) in pixels."""
        return self._input.shape[1], self._input.shape[2]

    def classify(
        self,
        pixels: Pixels,
        *,
        order: ChannelOrder = "RGB",
        region: Region = WHOLE_FRAME,
        rotate: Rotation = 0,
    ) -> Prediction:
        """Preprocess one frame as the bundle says and run the model on it; raises ValueError as `preprocess`."""
        started = time.perf_counter()
        height, width = self.input_size
        small = preprocess(
            pixels,
            self.bundle.manifest.preprocess,
            height=height,
            width=width,
            order=order,
            region=region,
            rotate=rotate,
        )
        prepared = time.perf_counter()
        logits, scores = self._invoke(small)
        done = time.perf_counter()
        return Prediction(scores, logits, (prepared - started) * 1e3, (done - prepared) * 1e3)

    def logit_map(self) -> Floats | None:
        """Return the last frame's logits by place, float32 [h, w, n]: the heat map; None if the model has none."""
        return self._read(self._map)

    def embedding(self) -> Floats | None:
        """Return the last frame's pooled features, float32 [d]; None if the model gives none."""
        return self._read(self._embedding)

    def _invoke(self, small: Pixels) -> tuple[Floats, Floats]:
        stored = (small ^ _SIGN_BIT).view(np.int8) if self._input.dtype == np.int8 else small
        self._interpreter.set_tensor(self._input.index, stored[np.newaxis])
        self._interpreter.invoke()
        values = self._scores.real(self._interpreter.get_tensor(self._scores.index)[0])
        if self._scores.is_softmax:
            return np.log(np.maximum(values, np.float32(1 / 512))), values
        return values, softmax(values / np.float32(self.bundle.manifest.temperature))

    def _read(self, tensor: _Tensor | None) -> Floats | None:
        return None if tensor is None else tensor.real(self._interpreter.get_tensor(tensor.index)[0])


def softmax(logits: Floats) -> Floats:
    """Return scores that sum to 1 along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def _the_input(details: list[dict[str, Any]]) -> _Tensor:
    tensors = [_Tensor.of(one) for one in details]
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


def _is_picture(tensor: _Tensor) -> bool:
    match tensor.shape:
        case (1, height, width, 3):
            return tensor.dtype in (np.int8, np.uint8) and 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE
    return False


def _sort_outputs(outputs: list[_Tensor], labels: int) -> tuple[_Tensor, _Tensor | None, _Tensor | None]:
    """Tell scores, logit map and embedding apart by rank; of two flat outputs the scores come last."""
    flat = [tensor for tensor in outputs if len(tensor.shape) == 2]  # noqa: PLR2004 - [1, n]
    maps = [tensor for tensor in outputs if len(tensor.shape) == 4 and tensor.shape[3] == labels]  # noqa: PLR2004
    if not flat or flat[-1].shape != (1, labels):
        found = f"{list(flat[-1].shape)}" if flat else "no"
        raise BundleError(f"the model gives {found} scores but the manifest names {labels} labels; rebuild the bundle")
    if flat[-1].dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
        raise BundleError(f"the model's scores are {flat[-1].dtype}, not int8 or uint8; rebuild the bundle")
    if not 0 < flat[-1].scale < math.inf:
        raise BundleError(f"the model's scores have the quantization step {flat[-1].scale}; rebuild the bundle")
    return flat[-1], maps[0] if maps else None, flat[0] if len(flat) > 1 else None
