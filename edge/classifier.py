"""Bundle and pixels to scores: the only way from a frame to numbers, on the device and in evaluation.

A region becomes one canvas, the canvas tiles, each tile one run of the model, and the runs' outputs are pooled
to one logit a class, all as the bundle declares. A graph of contract 3 gives `embedding`, `logit_map` and
`logits`, in that order; a graph with a single output gives its scores.
"""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from edge import runtime
from edge.contract.pooling import Mean, pool
from edge.contract.preprocess import WHOLE_FRAME, preprocess
from edge.engine import InProcess, Layout
from edge.errors import BundleError
from edge.record import Record
from edge.sections.runtime import Runtime
from edge.tensors import Tensor, require_quantized, the_input, the_outputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge.accelerator.accelerated import Accelerated
    from edge.contract.bundle import Bundle, Manifest
    from edge.contract.preprocess import ChannelOrder, Pixels, Region, Rotation, Tiles
    from edge.engine import Engine, Stored
    from edge.tensors import Outputs

Floats: TypeAlias = npt.NDArray[np.float32]

_SIGN_BIT = np.uint8(0x80)
"""uint8 xor this, read as int8, is the pixel minus 128."""
_MOST_LOGITS = 1 << 24
"""In all tiles' maps together: 64 MiB as float32."""


class Prediction(Record, frozen=True):
    """What the model says of one region. `scores` and `logits` are float32 [n] in the labels' order.

    `logits` are pooled over all tiles as the manifest says; `scores` are the softmax of them after its
    temperature, sum to 1, and decide. Of a model that ends in a softmax, `logits` are the scores' logarithms.
    `invoke_ms` is the time of all tiles, pooling included.
    """

    scores: Floats
    logits: Floats
    preprocess_ms: float
    invoke_ms: float


class Classifier:
    """One bundle's model, loaded and ready. Not thread-safe: one thread classifies."""

    def __init__(self, bundle: Bundle, settings: Runtime | None = None, *, state_dir: Path | None = None) -> None:
        """Probe the model in a child process, then load it.

        Raises BundleError for a model that does not fit its labels, tiles, pooling or contract,
        RuntimeUnavailableError without a runtime. An accelerator is opened meanwhile; `accelerated` says how it fares.
        """
        settings = settings or Runtime()
        runtime.probe(bundle.model, bundle.model_sha256, settings, state_dir)
        opened = runtime.open_interpreter(bundle.model, settings)
        manifest = bundle.manifest
        self.bundle = bundle
        self.engine = opened.engine
        self._input = the_input(opened.interpreter.get_input_details())
        self._outputs = the_outputs(opened.interpreter.get_output_details(), len(manifest.labels))
        self._pooled = _pooled_output(manifest, self._outputs)
        self._softmax = self._outputs.scores.is_softmax
        height, width = self.input_size
        self._canvas, corners = _layout(manifest.preprocess.tiles, height, width)
        self._cells = _cells(corners, self._input, self._outputs.logit_map)
        layout = Layout(taken=self._input, given=self._outputs.all, canvas=self._canvas, corners=tuple(corners))
        cpu = InProcess(opened.interpreter, layout)
        self._engine: Engine = cpu
        self._given: Mapping[int, Stored] | None = None
        self.accelerated: Accelerated | None = None
        if settings.accelerator != "none":
            from edge.accelerator.accelerated import accelerate

            self._engine = self.accelerated = accelerate(cpu, bundle, settings, self._require_golden)

    def close(self) -> None:
        """End the accelerator's process, if there is one."""
        if self.accelerated is not None:
            self.accelerated.close()

    @property
    def input_size(self) -> tuple[int, int]:
        """The model's (height, width) in pixels: a tile's."""
        return self._input.shape[1], self._input.shape[2]

    @property
    def canvas_size(self) -> tuple[int, int]:
        """(height, width) in pixels that a region is resized to: all tiles together, or the model's own for one."""
        return self._canvas

    def classify(
        self,
        pixels: Pixels,
        *,
        order: ChannelOrder = "RGB",
        region: Region = WHOLE_FRAME,
        rotate: Rotation = 0,
    ) -> Prediction:
        """Preprocess one frame as the bundle says and run the model on it.

        A canvas, which `preprocess` made before, is taken as it is. Raises ValueError as `preprocess`, and RuntimeError
        if the model cannot be run.
        """
        started = time.perf_counter()
        height, width = self._canvas
        canvas = preprocess(
            pixels,
            self.bundle.manifest.preprocess,
            height=height,
            width=width,
            order=order,
            region=region,
            rotate=rotate,
        )
        prepared = time.perf_counter()
        self._given = None  # Should this fail, there is no map of the frame before.
        self._given = self._engine.run(self._stored(canvas))
        logits, scores = self._judge(self._given)
        done = time.perf_counter()
        return Prediction(scores, logits, (prepared - started) * 1e3, (done - prepared) * 1e3)

    def logit_map(self) -> Floats | None:
        """Return the last frame's logits by place, float32 [h, w, n], a heat map of the whole canvas.

        Where tiles overlap the higher value of each class counts. None if the model has no map, or before the
        first frame.
        """
        tensor = self._outputs.logit_map
        given = self._given
        return stitch(tensor.real(given[tensor.index]), self._cells) if tensor and given is not None else None

    def embedding(self) -> Floats | None:
        """Return the last frame's features, float32 [d], averaged over places and tiles.

        None if the model gives none, or before the first frame.
        """
        tensor = self._outputs.embedding
        given = self._given
        return pool(tensor.real(given[tensor.index]), Mean()) if tensor and given is not None else None

    def _require_golden(self, engine: Engine) -> None:
        """Raise BundleError unless an engine gives the golden frames' scores; called by the accelerator's thread."""
        from edge.golden import check_golden

        beside = copy.copy(self)
        beside._engine = engine  # noqa: SLF001 - its own copy
        if not check_golden(beside, self.bundle):
            raise BundleError("the bundle has no golden frames to try an accelerator by; rebuild it")

    def _stored(self, canvas: Pixels) -> Stored:
        return (canvas ^ _SIGN_BIT).view(np.int8) if self._input.dtype == np.int8 else canvas

    def _judge(self, given: Mapping[int, Stored]) -> tuple[Floats, Floats]:
        """Return the logits and scores of the tiles that were run."""
        values = self._pooled.real(given[self._pooled.index])
        if self._softmax:
            return np.log(np.maximum(values[0], np.float32(1 / 512))), values[0]
        by_place = values if values.ndim == 2 else values.reshape(-1, values.shape[-1])  # noqa: PLR2004 - [tiles, n]
        logits = pool(by_place, self.bundle.manifest.pooling)
        return logits, softmax(logits / self.bundle.manifest.temperature)


def softmax(logits: Floats) -> Floats:
    """Return scores that sum to 1 along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def stitch(maps: Floats, corners: Sequence[tuple[int, int]]) -> Floats:
    """Lay maps float32 [tiles, h, w, n] at their corners (top, left); where they overlap the higher value counts.

    The corners go row by row and the maps leave no gap between them.
    """
    _, height, width, depth = maps.shape
    bottom, right = corners[-1]
    whole = np.full((bottom + height, right + width, depth), -np.inf, np.float32)
    for (top, left), part in zip(corners, maps, strict=True):
        under = whole[top : top + height, left : left + width]
        np.maximum(under, part, out=under)
    return whole


def _pooled_output(manifest: Manifest, outputs: Outputs) -> Tensor:
    """Return the output that logits are pooled from: the graph's own means, or the map for another pooling."""
    tiles, pooling = manifest.preprocess.tiles, manifest.pooling
    plain = isinstance(pooling, Mean)
    if outputs.scores.is_softmax:
        if manifest.temperature != 1:
            raise BundleError("the model ends in a softmax, which no temperature can change; set temperature 1")
        if not (plain and tiles.rows == tiles.columns == 1):
            problem = "the model ends in a softmax, whose scores cannot be pooled"
            raise BundleError(f"{problem}; set one tile and pooling mean, or rebuild it with edge-train build")
    if plain:
        return outputs.scores
    if outputs.logit_map is None:
        problem = f"the model has no logit map for pooling {pooling.__struct_config__.tag!r}"
        raise BundleError(f"{problem}; set pooling mean, or rebuild it with edge-train build")
    return require_quantized(outputs.logit_map, "logits by place")


def _layout(tiles: Tiles, height: int, width: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Return the canvas' (height, width) and every tile's corner on it, for tiles of this size in pixels."""
    try:
        return tiles.canvas(height, width), tiles.corners(height, width)
    except ValueError as error:
        raise BundleError(f"preprocess.tiles and the model do not fit: {error}") from error


def _cells(corners: Sequence[tuple[int, int]], tile: Tensor, logit_map: Tensor | None) -> list[tuple[int, int]]:
    """Return every tile's corner in cells of the logit map: a cell is as many pixels as the map's size says."""
    if logit_map is None:
        return []
    (_, height, width, _), (_, rows, columns, labels) = tile.shape, logit_map.shape
    if len(corners) * rows * columns * labels > _MOST_LOGITS:
        problem = f"{len(corners)} tiles with {columns}x{rows} places and {labels} labels are too many logits"
        raise BundleError(f"{problem} for a device; set fewer tiles")
    if any(top * rows % height or left * columns % width for top, left in corners):
        problem = f"a logit map of {columns}x{rows} cells for {width}x{height} pixels does not fit the tiles' steps"
        raise BundleError(f"{problem}; set one tile, or rebuild it with edge-train build")
    return [(top * rows // height, left * columns // width) for top, left in corners]
