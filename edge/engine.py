"""Runs a model on every tile of a canvas: the classifier's view of whatever computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.runtime import Interpreter
    from edge.tensors import Tensor

Stored: TypeAlias = npt.NDArray[Any]
"""int8 or uint8, as a quantized tensor stores its values."""


class Layout(Record, frozen=True, kw_only=True):
    """Which tensors of a model are used, and how its tiles lie on a canvas, in pixels."""

    taken: Tensor
    given: tuple[Tensor, ...]
    canvas: tuple[int, int]
    """Height and width."""
    corners: tuple[tuple[int, int], ...]
    """Each tile's (top, left)."""


class Engine(Protocol):
    """Computes the outputs of all tiles of one canvas. Not thread-safe: one thread runs it."""

    def run(self, canvas: Stored) -> Mapping[int, Stored]:
        """Return each output [tiles, ...], by its tensor's index in model.tflite, for a canvas [h, w, 3].

        Raises RuntimeError where there is none.
        """


class InProcess:
    """An interpreter in this process: the CPU's."""

    def __init__(self, interpreter: Interpreter, layout: Layout) -> None:
        _, height, width, _ = layout.taken.shape
        self.layout = layout
        self._interpreter = interpreter
        self._taken = layout.taken.index
        self._given = [tensor.index for tensor in layout.given]
        self._tiles = [(slice(top, top + height), slice(left, left + width)) for top, left in layout.corners]

    def run(self, canvas: Stored) -> Mapping[int, Stored]:
        """Run the tiles one by one; a view each, because copies of them all would be several times the canvas."""
        runs = [self._run(canvas[np.newaxis, rows, columns]) for rows, columns in self._tiles]
        by_output = zip(*runs, strict=True)
        return {index: np.concatenate(parts) for index, parts in zip(self._given, by_output, strict=True)}

    def _run(self, tile: Stored) -> list[Stored]:
        self._interpreter.set_tensor(self._taken, tile)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._given]
