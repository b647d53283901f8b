"""What limits the stages of a training, bare: the frozen network's forward pass, and a training step of the rest."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from training import backend
from training.data.augment import vary
from training.recipe import Augmentation, Model, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sets import Chosen

    from edge.contract.preprocess import Pixels

_SECONDS = 4.0
"""Of each measurement."""


class Limits(NamedTuple):
    """Pictures a second on all cores, and how many values the features of one picture are."""

    forward: float
    """Through the frozen network on the device's runtime in float, plain pictures in memory."""
    augment: float
    """Through augmentation alone, on as many threads."""
    head: float
    """Through forward and backward steps of the head on random features."""
    top: float
    """Likewise of the top blocks and the head."""
    whole: float
    """Likewise of the whole network, plain pictures in memory."""
    values: int


def measure(chosen: Chosen, weights: Path, alpha: float) -> Limits:
    """Measure all with the default recipe, on the first pictures of each class."""
    backend.start(1)
    from training.network import model
    from training.network.extract import Extractor
    from training.network.pooled import Normalise

    recipe = Recipe(model=Model(alpha=alpha))
    network = model.build(len(chosen), recipe, str(weights))
    extractor = Extractor(network, recipe)
    pictures = [_read(path, recipe.canvas) for paths in chosen.values() for path in paths[:10]]

    def view(row: int) -> None:
        vary(pictures[row % len(pictures)], Augmentation(), np.random.default_rng(row))

    cut, *read = extractor.shapes
    tile = (1, *recipe.canvas, 3)
    return Limits(
        forward=_rate(lambda row: extractor.extract(pictures[row % len(pictures)])),
        augment=_rate(view),
        head=_steps([network.head], read, recipe, len(chosen)),
        top=_steps([network.tail, network.head], [cut], recipe, len(chosen)),
        whole=_steps([Normalise(), network.trunk, network.tail, network.head], [tile], recipe, len(chosen)),
        values=extractor.size,
    )


def _read(path: Path, canvas: tuple[int, int]) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize(canvas[::-1]))


def _rate(work: Callable[[int], Any]) -> float:
    """Return how many pictures a second all cores' threads get done, after a first round."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, range(32)))
        started, done = time.perf_counter(), 0
        while time.perf_counter() < started + _SECONDS:
            list(pool.map(work, range(done, done + 128)))
            done += 128
        return done / (time.perf_counter() - started)


def _steps(parts: list[Any], shapes: list[tuple[int, ...]], recipe: Recipe, classes: int) -> float:
    import keras

    from training.network.pooled import Pooled

    rng = np.random.default_rng(1)
    given = tuple(rng.random((recipe.batch, *shape), np.float32) for shape in shapes)
    truth = np.eye(classes, dtype=np.float32)[rng.integers(classes, size=recipe.batch)]
    learner = Pooled(parts, recipe.pooling)
    learner(tuple(one[:1] for one in given))
    learner.compile(keras.optimizers.AdamW(), keras.losses.CategoricalCrossentropy(from_logits=True))
    step = partial(learner.train_on_batch, given, truth)
    for _ in range(5):
        step()
    started, done = time.perf_counter(), 0
    while time.perf_counter() < started + _SECONDS:
        step()
        done += recipe.batch
    return done / (time.perf_counter() - started)
