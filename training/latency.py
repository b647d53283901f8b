"""What a recipe's model costs on this machine: measured at int8 on the device's own runtime, before it is trained."""

from __future__ import annotations

import statistics
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edge.runtime import open_interpreter
from edge.sections.runtime import Runtime
from training import backend, progress

if TYPE_CHECKING:
    from training.recipe import Model, Recipe

BUDGET_MS = 20.0
"""What a part may take, unless a command is told."""
_RUNS = 30
"""Invocations, of which the median counts: one that another process interrupts does not."""
_LEAST_SECONDS = 0.2
_RANGES_FROM = 4
"""Random pictures that the untrained network is quantized with."""


def measure(recipe: Recipe, classes: int) -> float:
    """Return the milliseconds that all tiles of one region take in the interpreter, with one thread.

    The weights do not matter for it, so that an untrained network is measured.
    """
    architecture = msgspec.structs.replace(recipe.model, dropout=0.0)
    return recipe.preprocess.tiles.count * _tile(architecture, classes)


@cache
def _tile(architecture: Model, classes: int) -> float:
    with progress.stage(f"measuring {architecture.width}x{architecture.height} pixels", 1) as advance:
        taken = statistics.median(_times(_untrained(architecture, classes))) * 1e3
        advance()
    return taken


def _untrained(architecture: Model, classes: int) -> Any:
    from training.int8 import quantize
    from training.network import model
    from training.recipe import Recipe

    shape = (_RANGES_FROM, architecture.height, architecture.width, 3)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    network = model.build(classes, Recipe(model=architecture), None)
    flatbuffer = quantize.convert(network, quantize.pin_range(pixels))
    with backend.quiet():  # The first one that is opened tells of itself.
        return open_interpreter(flatbuffer, Runtime()).interpreter


def _times(interpreter: Any) -> list[float]:
    """Return the seconds of single invocations; a first one does not count."""
    interpreter.invoke()
    taken: list[float] = []
    while len(taken) < _RUNS or sum(taken) < _LEAST_SECONDS:
        started = time.perf_counter()
        interpreter.invoke()
        taken.append(time.perf_counter() - started)
    return taken
