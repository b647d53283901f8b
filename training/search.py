"""Searches recipes by validation under a time and a latency budget; a stopped search goes on where it ended."""

from __future__ import annotations

import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.contract.pooling import LogSumExp, Mean, Pooling, TopK
from edge.contract.preprocess import Tiles
from edge.errors import ConfigError
from training import backend, latency, progress, sqlite
from training.auto import shaped
from training.keys import identity_of, key_of
from training.network.checkpoint import Run
from training.recipe import ALPHAS, IMAGENET, Recipe

if TYPE_CHECKING:
    import optuna

    from training.data.split import Parts
    from training.inputs import Inputs

SIZES = (160, 192, 224, 256, 320, 448)
"""Pixels: the side of a tile, or of the square that is as large as one in the pictures' shape."""
_TIE = 0.01
"""Balanced accuracy that a nat of validation loss is worth: it decides between equal accuracies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One tried recipe."""

    recipe: Recipe
    milliseconds: float
    balanced_accuracy: float
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a search ends, and which recipes it does not even train."""

    seconds: float
    milliseconds: float
    """Of interpreter time a region, on this machine with one thread."""
    trials: int | None = None


def search(given: Inputs, base: Recipe, *, weights: str, limits: Limits, seed: int) -> list[Found]:
    """Try recipes until a limit is reached; returns all that were trained, the best first.

    Only the training and validation parts are used. A search of the same pictures, base recipe, weights and seed
    goes on where an earlier one ended. A recipe whose training diverges is one that was tried. Raises ConfigError if
    none is left, InspectError if what was found cannot be kept.
    """
    import optuna

    from training.network.watcher import DivergedError

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # A failed trial is an error of ours, told once.
    key = _key(given, base, weights, seed)
    folder = Run(key).folder
    folder.mkdir(parents=True, exist_ok=True)
    for left in filter(Path.is_dir, folder.iterdir()):
        shutil.rmtree(left)  # The state of a recipe that an earlier search was stopped in: it is tried anew.
    path = folder / "search.db"
    study = _opened(path, key)
    # With the same seed again it would suggest what was tried before.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))

    shape = given.shape()

    def attempt(trial: optuna.Trial) -> float:
        """Train one recipe and score it by validation."""
        recipe = _suggest(trial, base, shape, any_alpha=weights == IMAGENET)
        parts = given.divide(recipe).parts
        cost = latency.measure(recipe, len(parts.train.labels))
        trial.set_user_attr("recipe", recipe.plain())
        trial.set_user_attr("milliseconds", cost)
        if cost > limits.milliseconds:
            raise optuna.TrialPruned
        return _train(trial, recipe, parts, weights=weights, run=Run(f"{key}/{trial.number}"))

    with sqlite.usable(path), progress.stage("searching", limits.trials) as advance:
        study.optimize(
            attempt,
            n_trials=limits.trials,
            timeout=limits.seconds,
            catch=DivergedError,
            callbacks=[lambda _, trial: advance(_described(trial))],
        )
    affordable = [each for each in _found(study) if each.milliseconds <= limits.milliseconds]
    found = sorted(affordable, key=lambda each: -_value(each.balanced_accuracy, each.loss))
    if not found:
        raise ConfigError(_nothing_found(study, limits))
    return found


def _opened(path: Path, key: str) -> optuna.Study:
    """Open the search of that name, new or left from earlier; one that is damaged is set aside, and said.

    Raises InspectError if another search is using it, or it cannot be written.
    """
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with sqlite.usable(path):
            return _study(path, key)
    except (OptunaError, SQLAlchemyError, ValueError, KeyError, TypeError, RuntimeError) as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        reason = str(error).splitlines()[0]
        print(f"{path} cannot be read ({reason}): moved to {aside}, the search begins anew", file=sys.stderr)
        return _study(path, key)


def _study(path: Path, key: str) -> optuna.Study:
    import optuna

    study = optuna.create_study(storage=f"sqlite:///{path}", study_name=key, load_if_exists=True, direction="maximize")
    _found(study)  # Whatever is damaged shows here, before hours are added to it.
    return study


def _nothing_found(study: optuna.Study, limits: Limits) -> str:
    tried = len(study.trials)
    if any(trial.user_attrs.get("milliseconds", math.inf) <= limits.milliseconds for trial in study.trials):
        return f"of {tried} recipes all that were fast enough diverged: weaken the [loss] of --recipe, or search on"
    return f"--latency-budget {limits.milliseconds:g} ms: none of {tried} recipes was fast enough; allow more"


def _suggest(trial: optuna.Trial, base: Recipe, shape: tuple[int, int], *, any_alpha: bool) -> Recipe:
    change = msgspec.structs.replace
    height, width = shaped(trial.suggest_categorical("size", SIZES), shape)
    tiles = trial.suggest_categorical("tiles", [1, 2, 3])
    alphas = ALPHAS[base.model.backbone] if any_alpha else (base.model.alpha,)
    model = change(
        base.model,
        height=height,
        width=width,
        alpha=trial.suggest_categorical("alpha", alphas),
        level=trial.suggest_categorical("level", ["stride-32", "stride-16", "both"]),
        dropout=trial.suggest_float("dropout", 0.0, 0.4),
    )
    top = change(
        base.top,
        blocks=trial.suggest_int("blocks", 1, 6),
        rate=trial.suggest_float("top_rate", 5e-5, 1e-3, log=True),
    )
    head = change(base.head, rate=trial.suggest_float("head_rate", 1e-3, 1e-2, log=True))
    preprocess = change(base.preprocess, tiles=Tiles(rows=tiles, columns=tiles))
    return change(base, model=model, preprocess=preprocess, pooling=_pooling(trial), head=head, top=top)


def _pooling(trial: optuna.Trial) -> Pooling:
    match trial.suggest_categorical("pooling", ["mean", "top-k", "log-sum-exp"]):
        case "top-k":
            return TopK(share=trial.suggest_float("share", 0.01, 0.5, log=True))
        case "log-sum-exp":
            return LogSumExp(sharpness=trial.suggest_float("sharpness", 0.3, 3.0, log=True))
    return Mean()


def _train(trial: optuna.Trial, recipe: Recipe, parts: Parts, *, weights: str, run: Run) -> float:
    from training.network import model
    from training.network.train import Trainer

    with backend.several():
        network = model.build(len(parts.train.labels), recipe, weights)
        best = Trainer(network, parts, recipe, seed=trial.number, run=run).on_features()[-1].best
    run.finish()
    trial.set_user_attr("balanced_accuracy", best.balanced_accuracy)
    trial.set_user_attr("loss", -best.minus_loss)
    return _value(best.balanced_accuracy, -best.minus_loss)


def _key(given: Inputs, base: Recipe, weights: str, seed: int) -> str:
    """Name what the scores depend on: only a search of the same goes on where another one ended."""
    parts = given.divide(base).parts
    return f"search-{key_of(parts.train.sha256, parts.validation.sha256, base.plain(), identity_of(weights), seed)}"


def _value(balanced_accuracy: float, loss: float) -> float:
    return balanced_accuracy - _TIE * loss


def _described(trial: optuna.trial.FrozenTrial) -> str:
    attributes, model = trial.user_attrs, trial.params
    cost = f"{attributes['milliseconds']:.1f} ms"
    tiles = f"{model['tiles']}x{model['tiles']} tiles of {model['size']} px"
    said = f"{tiles}, alpha {model['alpha']:g}, {model['level']}, {model['pooling']}, {cost}"
    if "balanced_accuracy" not in attributes:
        return f"{said}: {'diverged' if trial.state.name == 'FAIL' else 'too slow'}"
    return f"{said}: validation {attributes['balanced_accuracy']:.1%}, loss {attributes['loss']:.3f}"


def _found(study: optuna.Study) -> list[Found]:
    from training.recipe import parse

    return [
        Found(
            recipe=parse(trial.user_attrs["recipe"], f"trial {trial.number}"),
            milliseconds=trial.user_attrs["milliseconds"],
            balanced_accuracy=trial.user_attrs["balanced_accuracy"],
            loss=trial.user_attrs["loss"],
        )
        for trial in study.trials
        if "balanced_accuracy" in trial.user_attrs
    ]
