"""Picks size, tiles, feature level and pooling for a data set, by validation, within a latency budget.

Each candidate's frozen features are computed for a sample of the pictures and a head is converged on two thirds
of it; the rest decides. Nothing of the calibration and test parts is seen.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from edge.contract.pooling import LogSumExp, Mean, Pooling, TopK
from edge.contract.preprocess import STRIDE, Tiles
from edge.errors import ConfigError
from training import latency, sealed
from training.recipe import Level, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from training.data.dataset import Dataset
    from training.network.scores import Score

GEOMETRIES = (
    (Tiles(), 224), (Tiles(), 320), (Tiles(), 448), (Tiles(), 640),
    (Tiles(rows=2, columns=2), 224), (Tiles(rows=3, columns=3), 224),
)  # fmt: skip
"""Tiles, and the side of each in pixels, or what is as large in the pictures' shape.

Nearly the same number of pixels in one tile or several is a matter of memory and overlap.
"""
_MOST_ENLARGED = 2.0
"""Of a picture's pixels that a canvas has, beyond which there is nothing more to see."""
STYLES: tuple[tuple[Level, Pooling], ...] = (
    ("stride-32", Mean()),
    ("stride-16", LogSumExp(sharpness=1.0)),
    ("both", LogSumExp(sharpness=1.0)),
    ("both", TopK(share=0.05)),
    ("stride-16", TopK(share=0.05)),
    ("stride-32", LogSumExp(sharpness=1.0)),
)
"""The first two are tried with each geometry, the others with the best one."""
MOST_PICTURES = 800
"""That candidates are compared on, the same ones for all: at 640 pixels the features of these take 2.5 GB."""
_FILE = "choice.json"
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


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen, and what was tried for it, as a report tells it."""

    recipe: Recipe
    trials: list[dict[str, Any]]


def keep(folder: Path, found: tuple[Recipe, list[Trial]]) -> Choice:
    """Leave a choice in a folder, for a build that is interrupted: measured again it might be another one."""
    choice = Choice(recipe=found[0], trials=[trial.plain() for trial in found[1]])
    sealed.save(folder / _FILE, msgspec.json.encode(choice))
    return choice


def kept(folder: Path) -> Choice | None:
    """Return what was left there; None if nothing was, or nothing that can be read."""
    try:
        return msgspec.json.decode(sealed.load(folder / _FILE), type=Choice)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        print(f"{folder / _FILE} cannot be read ({error}): the recipe is chosen anew", file=sys.stderr)
        return None


def choose(  # noqa: PLR0913 - the arguments are the contract
    read: Callable[[Recipe], tuple[Dataset, Sequence[str] | None]],
    base: Recipe,
    *,
    shape: tuple[int, int],
    classes: int,
    weights: str,
    budget_ms: float,
    seed: int,
) -> tuple[Recipe, list[Trial]]:
    """Return the best recipe within `budget_ms` of interpreter time a region, and every trial in order.

    `read` gives the pictures to choose by, and their groups, at a recipe's canvas; `shape` is the (height, width)
    in pixels that they usually have. What the base recipe says
    besides size, tiles, level and pooling stays. Raises ConfigError if no candidate is fast enough.
    """
    from training.network.probe import probe

    def attempt(recipes: list[Recipe]) -> list[Trial]:
        """Score those recipes of one geometry that are fast enough."""
        costs = [latency.measure(recipe, classes) for recipe in recipes]
        affordable = [recipe for recipe, cost in zip(recipes, costs, strict=True) if cost <= budget_ms]
        scores = iter(probe(*read(recipes[0]), affordable, weights=weights, seed=seed) if affordable else [])
        return [
            Trial(recipe=recipe, milliseconds=cost, score=next(scores) if cost <= budget_ms else None)
            for recipe, cost in zip(recipes, costs, strict=True)
        ]

    trials: list[Trial] = []
    for geometry in _geometries(base, shape):
        trials += attempt(styled(geometry)[:2])
    trials += attempt(styled(_best(trials, budget_ms).recipe)[2:])
    return _best(trials, budget_ms).recipe, trials


def _geometries(base: Recipe, shape: tuple[int, int]) -> list[Recipe]:
    """Return the base recipe at every geometry that pictures of this (height, width) have pixels for; one at least."""
    change = msgspec.structs.replace
    found: list[Recipe] = []
    for tiles, side in GEOMETRIES:
        height, width = shaped(side, shape)
        recipe = change(
            base,
            model=change(base.model, height=height, width=width),
            preprocess=change(base.preprocess, tiles=tiles),
        )
        if not found or math.prod(recipe.canvas) <= _MOST_ENLARGED * math.prod(shape):
            found.append(recipe)
    return found


def shaped(side: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width), whole cells of STRIDE, nearest to a square of `side` in the proportions of `shape`.

    Beyond three to one it stays at that: a map of two or three rows says little.
    """
    stretch = math.sqrt(min(max(shape[0] / shape[1], 1 / 3), 3.0))
    height, width = (max(1, round(length / STRIDE)) * STRIDE for length in (side * stretch, side / stretch))
    return height, width


def styled(geometry: Recipe) -> list[Recipe]:
    """Return the recipe in each of STYLES; what it says of level and pooling itself counts for nothing."""
    change = msgspec.structs.replace
    return [change(geometry, model=change(geometry.model, level=level), pooling=pooling) for level, pooling in STYLES]


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
