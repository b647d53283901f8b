"""Compares feature levels and poolings quickly: heads on the frozen features of one geometry, computed once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edge.contract.pooling import LogSumExp, Mean
from training.data.split import hold_out
from training.network import features, model
from training.network.checkpoint import Checkpoint
from training.network.extract import Extractor
from training.network.fit import Task, fit
from training.network.pooled import Pooled
from training.recipe import Stage as Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.data.dataset import Dataset, Integers
    from training.network.features import Half
    from training.network.scores import Score
    from training.recipe import Recipe

_PICTURES, _EPOCHS = 16_000, (15, 60)
"""What a head sees: of 480 small defects at 512x384 one under log-sum-exp found few after 6,000 pictures."""
_PASSES = 2


def probe(
    data: Dataset, groups: Sequence[str] | None, recipes: Sequence[Recipe], *, weights: str, seed: int
) -> list[Score]:
    """Score recipes that differ in level and pooling alone: a head learns from two thirds, the rest decides."""
    widest = msgspec.structs.replace(
        recipes[0],
        model=msgspec.structs.replace(recipes[0].model, level="both"),
        pooling=LogSumExp(),
    )
    network = model.build(len(data.labels), widest, weights)
    extractor = Extractor(network, widest)
    held = hold_out(data, 1 / 3, seed=seed, groups=groups)
    _, fine, coarse = features.compute(extractor, data, widest, passes=_PASSES, title=_title(recipes[0]))
    return [_score(data, held, _maps(recipe, fine, coarse), recipe, seed) for recipe in recipes]


def _title(recipe: Recipe) -> str:
    height, width = recipe.canvas
    return f"trying {width}x{height} pixels"


def _maps(recipe: Recipe, fine: Half, coarse: Half) -> list[Half]:
    """Return what a recipe's head reads, [passes, n, tiles, h, w, c] each."""
    maps = {"stride-32": [coarse], "stride-16": [fine], "both": [fine, coarse]}[recipe.model.level]
    if isinstance(recipe.pooling, Mean):
        return [given.mean(axis=(3, 4), keepdims=True, dtype=np.float32).astype(np.float16) for given in maps]
    return maps


def _score(data: Dataset, held: Any, maps: list[Half], recipe: Recipe, seed: int) -> Score:
    taught = np.flatnonzero(~held)

    def draw(rows: Integers, rng: np.random.Generator) -> list[Half]:
        passes = rng.integers(_PASSES, size=len(rows))
        return [each[passes, taught[rows]] for each in maps]

    head = model.build_head([each.shape[-1] for each in maps], len(data.labels), recipe)
    task = Task(
        name=f"head of {recipe.model.level}, {type(recipe.pooling).__name__}",
        model=Pooled([head], recipe.pooling),
        plan=Plan(pictures=_PICTURES, epochs=_EPOCHS, rate=recipe.head_plan.rate),
        draw=draw,
        truth=data.truth[taught],
        held=tuple(each[0][held] for each in maps),
        held_truth=data.truth[held],
        classes=len(data.labels),
    )
    with tempfile.TemporaryDirectory() as place:  # It takes seconds: nothing to go on with later.
        return fit(task, recipe, seed=seed, checkpoint=Checkpoint(Path(place, "head.npz"))).best
