"""Runs a model on every tile of a canvas: the classifier's view of whatever computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.runtime import Interpreter

Stored: TypeAlias = npt.NDArray[Any]
"""int8 or uint8, as a quantized tensor stores its values."""
Tile: TypeAlias = tuple[slice, slice]
"""Rows and columns of a canvas."""


class Engine(Protocol):
    """Computes the outputs of all tiles of one canvas. Not thread-safe: one thread runs it."""

    def run(self, canvas: Stored) -> Mapping[int, Stored]:
        """Return each output [tiles, ...], by its tensor's index in model.tflite, for a canvas [h, w, 3].

        Raises RuntimeError where there is none.
        """


class InProcess:
    """An interpreter in this process: the CPU's."""

    def __init__(self, interpreter: Interpreter, taken: int, given: Sequence[int], tiles: Sequence[Tile]) -> None:
        """Run `tiles` through the input tensor of index `taken`, and keep the output tensors `given`."""
        self._interpreter = interpreter
        self._taken = taken
        self._given = given
        self._tiles = tiles

    def run(self, canvas: Stored) -> Mapping[int, Stored]:
        """Run the tiles one by one; a view each, because copies of them all would be several times the canvas."""
        runs = [self._run(canvas[np.newaxis, rows, columns]) for rows, columns in self._tiles]
        if len(runs) == 1:
            return dict(zip(self._given, runs[0], strict=True))
        return {index: np.concatenate(parts) for index, parts in zip(self._given, zip(*runs, strict=True), strict=True)}

    def _run(self, tile: Stored) -> list[Stored]:
        self._interpreter.set_tensor(self._taken, tile)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._given]
