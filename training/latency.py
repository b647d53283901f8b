"""What a recipe's model costs on this machine: measured at int8 on the device's own runtime, before it is trained."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from functools import cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge.config import Runtime
from edge.contract.pooling import Mean
from edge.contract.preprocess import PreprocessSpec
from edge.runtime import open_interpreter
from training import backend

if TYPE_CHECKING:
    from training.recipe import Recipe

BUDGET_MS = 20.0
"""What a part may take, unless a command is told."""
_RUNS = 30
"""Invocations, of which the median counts: one that another process interrupts does not."""
_LEAST_SECONDS = 0.2


def parse_budget(text: str) -> float:
    """Read --latency-budget, milliseconds above 0; raises ArgumentTypeError."""
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = math.nan
    if not 0 < milliseconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds above 0, such as 20")
    return milliseconds


def measure(recipe: Recipe, classes: int) -> float:
    """Return the milliseconds that all tiles of one region take in the interpreter, with one thread.

    The weights do not matter for it, so that an untrained network is measured.
    """
    tiles = recipe.preprocess.tiles
    architecture = msgspec.structs.replace(recipe, preprocess=PreprocessSpec(), pooling=Mean())
    return tiles.rows * tiles.columns * _tile(architecture, classes)


@cache
def _tile(recipe: Recipe, classes: int) -> float:
    from training.int8 import quantize
    from training.network import model

    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (4, recipe.model.height, recipe.model.width, 3), dtype=np.uint8)
    flatbuffer = quantize.convert(model.build(classes, recipe, None), quantize.pin_range(pixels))
    with backend.quiet():  # The first one that is opened tells of itself.
        interpreter = open_interpreter(flatbuffer, Runtime()).interpreter
    given = interpreter.get_input_details()[0]["index"]
    interpreter.set_tensor(given, (pixels[:1] ^ np.uint8(0x80)).view(np.int8))
    interpreter.invoke()
    taken: list[float] = []
    while len(taken) < _RUNS or sum(taken) < _LEAST_SECONDS:
        started = time.perf_counter()
        interpreter.invoke()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e3
