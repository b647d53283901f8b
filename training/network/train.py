"""Trains the network: on a pretrained trunk's features, stage by stage, or everything from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge.errors import InspectError
from training.data.augment import vary
from training.network import features
from training.network.extract import Extractor
from training.network.fit import Task, fit
from training.network.model import batch_norms
from training.network.pooled import Normalise, Pooled, tiled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from edge.contract.preprocess import Pixels
    from training.data.dataset import Dataset, Integers
    from training.data.split import Parts
    from training.network.checkpoint import Run
    from training.network.features import Half
    from training.network.model import Network
    from training.network.scores import Stage
    from training.recipe import Recipe
    from training.recipe import Stage as Plan


class Trainer:
    """One training: what every stage of it shares."""

    def __init__(  # noqa: PLR0913 - the arguments are the contract
        self, network: Network, parts: Parts, recipe: Recipe, *, seed: int, run: Run, logs: Path | None = None
    ) -> None:
        self._network, self._parts, self._recipe = network, parts, recipe
        self._seed, self._run, self._logs = seed, run, logs

    def from_scratch(self) -> list[Stage]:
        """Teach everything from the pixels; batch normalisation takes the data's own statistics.

        Raises DivergedError if that diverged.
        """
        for norm in batch_norms(self._network):
            norm.momentum = self._recipe.scratch_momentum
        return [self._from_pixels("from scratch", self._recipe.scratch, earlier=False)]

    def on_features(self) -> list[Stage]:
        """Converge the head on the frozen network's features, tune the top blocks, and all if that promises more.

        Raises DivergedError if the head diverged, InspectError if batch normalisation's statistics moved.
        """
        statistics = moving_statistics(self._network)
        extractor = Extractor(self._network, self._recipe)
        count = features.variants(extractor, self._parts.train, self._recipe)
        cut, *read = self._features(extractor, self._parts.train, count)
        held_cut, *held_read = self._features(extractor, self._parts.validation, 1)
        network = self._network
        stages = [self._fit("head", self._recipe.head_plan, [network.head], read, held_read, earlier=False)]
        if self._recipe.top.pictures:
            parts = [network.tail, network.head]
            stages.append(self._fit("top blocks", self._recipe.top, parts, [cut], [held_cut], earlier=True))
        if self._promises_more(stages):
            stages.append(self._from_pixels("all", self._recipe.all, earlier=True))
        if not all(np.array_equal(a, b) for a, b in zip(statistics, moving_statistics(network), strict=True)):
            raise InspectError("fine-tuning moved the batch normalisation's statistics: the model cannot be trusted")
        return stages

    def _promises_more(self, stages: list[Stage]) -> bool:
        """Whether tuning the top blocks helped, mistakes are left, and the recipe has time for tuning all."""
        last = stages[-1]
        tuned = len(stages) > 1 and last.kept
        return bool(self._recipe.all.pictures) and tuned and last.best.balanced_accuracy < 1

    def _features(self, extractor: Extractor, data: Dataset, passes: int) -> list[Half]:
        title = "computing features" if data is self._parts.train else "computing validation features"
        return features.compute(extractor, data, self._recipe, passes=passes, title=title)

    def _fit(  # noqa: PLR0913 - one stage
        self, name: str, plan: Plan, parts: list[Any], given: list[Half], held: list[Half], *, earlier: bool
    ) -> Stage:
        """Fit parts of the network to features [passes, n, tiles, h, w, c]."""

        def draw(rows: Integers, rng: np.random.Generator) -> list[npt.NDArray[np.float16]]:
            passes = rng.integers(len(given[0]), size=len(rows))
            return [each[passes, rows] for each in given]

        return self._run_task(name, plan, parts, draw, tuple(each[0] for each in held), earlier=earlier)

    def _from_pixels(self, name: str, plan: Plan, *, earlier: bool) -> Stage:
        data, recipe, network = self._parts.train, self._recipe, self._network

        def draw(rows: Integers, rng: np.random.Generator) -> list[Pixels]:
            return [tiled(np.stack([vary(data.pixels[row], recipe.augmentation, rng) for row in rows]), recipe)]

        held = (tiled(self._parts.validation.pixels, recipe),)
        parts = [Normalise(), network.trunk, network.tail, network.head]
        return self._run_task(name, plan, parts, draw, held, earlier=earlier)

    def _run_task(  # noqa: PLR0913 - one stage
        self,
        name: str,
        plan: Plan,
        parts: list[Any],
        draw: Callable[[Integers, np.random.Generator], Any],
        held: tuple[Any, ...],
        *,
        earlier: bool,
    ) -> Stage:
        task = Task(
            name=name,
            model=Pooled(parts, self._recipe.pooling),
            plan=plan,
            draw=draw,
            truth=self._parts.train.truth,
            held=held,
            held_truth=self._parts.validation.truth,
            classes=len(self._parts.train.labels),
            earlier=earlier,
        )
        return fit(task, self._recipe, seed=self._seed, checkpoint=self._run.checkpoint(name), logs=self._logs)


def moving_statistics(network: Network) -> list[npt.NDArray[np.float32]]:
    """Return the means and variances that batch normalisation goes by."""
    return [moving.numpy() for norm in batch_norms(network) for moving in (norm.moving_mean, norm.moving_variance)]
