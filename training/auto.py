"""Picks size, tiles, feature level and pooling for a data set, by validation, within a latency budget.

Each candidate's frozen features are computed for a sample of the pictures and a head is converged on two thirds
of it; the rest decides. Nothing of the calibration and test parts is seen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from edge.contract.pooling import LogSumExp, Mean, Pooling, TopK
from edge.contract.preprocess import Tiles
from edge.errors import ConfigError
from training import latency

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training.data.dataset import Dataset
    from training.network.scores import Score
    from training.recipe import Level, Recipe

GEOMETRIES = (
    (Tiles(), 224), (Tiles(), 320), (Tiles(), 448), (Tiles(rows=2, columns=2), 224), (Tiles(rows=3, columns=3), 224),
)  # fmt: skip
"""Tiles, and the side of each in pixels; nearly the same number of pixels is a matter of memory and overlap."""
STYLES: tuple[tuple[Level, Pooling], ...] = (
    ("stride-32", Mean()),
    ("stride-16", LogSumExp(sharpness=1.0)),
    ("both", LogSumExp(sharpness=1.0)),
    ("both", TopK(share=0.05)),
    ("stride-16", TopK(share=0.05)),
    ("stride-32", LogSumExp(sharpness=1.0)),
)
"""The first two are tried with each geometry, the others with the best one."""
_NOISE = 0.005
"""Balanced accuracies this near to each other count as equal: the faster candidate then is the better one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One candidate and what came of it."""

    recipe: Recipe
    milliseconds: float
    score: Score | None
    """None: over the budget, not tried."""

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json."""
        model, tiles = self.recipe.model, self.recipe.preprocess.tiles
        return {
            "height": model.height,
            "width": model.width,
            "tiles": msgspec.to_builtins(tiles),
            "level": model.level,
            "pooling": msgspec.to_builtins(self.recipe.pooling),
            "latency_ms": round(self.milliseconds, 2),
            "score": None if self.score is None else asdict(self.score),
        }


def choose(  # noqa: PLR0913 - the arguments are the contract
    read: Callable[[Recipe], tuple[Dataset, Sequence[str] | None]],
    base: Recipe,
    *,
    classes: int,
    weights: str,
    budget_ms: float,
    seed: int,
) -> tuple[Recipe, list[Trial]]:
    """Return the best recipe within `budget_ms` of interpreter time a region, and every trial in order.

    `read` gives the pictures to choose by, and their groups, at a recipe's canvas. What the base recipe says
    besides size, tiles, level and pooling stays. Raises ConfigError if no candidate is fast enough.
    """
    from training.network.probe import probe

    def attempt(recipes: list[Recipe]) -> list[Trial]:
        costs = [latency.measure(recipe, classes) for recipe in recipes]
        affordable = [recipe for recipe, cost in zip(recipes, costs, strict=True) if cost <= budget_ms]
        scores = iter(probe(*read(recipes[0]), affordable, weights=weights, seed=seed) if affordable else [])
        return [
            Trial(recipe=recipe, milliseconds=cost, score=next(scores) if cost <= budget_ms else None)
            for recipe, cost in zip(recipes, costs, strict=True)
        ]

    trials: list[Trial] = []
    for tiles, side in GEOMETRIES:
        trials += attempt([_candidate(base, tiles, side, *style) for style in STYLES[:2]])
    found = _best(trials, budget_ms).recipe
    trials += attempt([_candidate(base, found.preprocess.tiles, found.model.height, *style) for style in STYLES[2:]])
    return _best(trials, budget_ms).recipe, trials


def _candidate(base: Recipe, tiles: Tiles, side: int, level: Level, pooling: Pooling) -> Recipe:
    change = msgspec.structs.replace
    return change(
        base,
        model=change(base.model, height=side, width=side, level=level),
        preprocess=change(base.preprocess, tiles=tiles),
        pooling=pooling,
    )


def _best(trials: Sequence[Trial], budget_ms: float) -> Trial:
    """Return the trial with the best score; of those that are as good within noise, the fastest."""
    tried = [(trial, trial.score) for trial in trials if trial.score is not None]
    if not tried:
        fastest = min(trial.milliseconds for trial in trials)
        raise ConfigError(
            f"--latency-budget {budget_ms:g} ms: the fastest candidate takes {fastest:.1f} ms; allow more"
        )
    highest = max(score.balanced_accuracy for _, score in tried)
    near = [pair for pair in tried if pair[1].balanced_accuracy >= highest - _NOISE]
    return min(near, key=lambda pair: (round(pair[0].milliseconds, 1), -pair[1].minus_loss))[0]
