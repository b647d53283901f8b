from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec.structs import replace

from training import backend
from training.network import memory
from training.network.checkpoint import Checkpoint
from training.recipe import All, Model, Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from training.network.fit import Task

TINY = Model(backbone="residual", alpha=0.25, height=32, width=32)


@pytest.fixture(autouse=True)
def _keras() -> None:
    backend.start(1)


def task(network: Model, pictures: int = 1024) -> Task:
    """Return the stage that tunes a whole network, for one epoch."""
    from training.network import model
    from training.network.fit import Task
    from training.network.pooled import Normalise, Pooled

    recipe, shape = Recipe(model=network, all=All(epochs=(1, 1))), (1, network.height, network.width, 3)
    made = model.build(3, recipe, None)
    return Task(
        name="all",
        model=Pooled([Normalise(), made.trunk, made.tail, made.head], recipe.pooling),
        plan=recipe.all,
        draw=lambda rows, _: [np.zeros((len(rows), *shape), np.uint8)],
        truth=np.zeros(pictures, np.int64),
        held=(np.zeros((1, *shape), np.uint8),),
        held_truth=np.zeros(1, np.int64),
        classes=3,
    )


def test_a_step_takes_fewer_pictures_the_larger_they_are() -> None:
    """Small ones in the recipe's batches, large ones in what memory holds."""
    from training.network import fit

    recipe = Recipe()
    sides = [task(Model(height=side, width=side)) for side in (96, 320, 640)]
    small, large, larger = (fit._schedule(each, recipe) for each in sides)
    assert (small.batch, small.steps) == (recipe.batch, 16)
    assert large.batch == pytest.approx(4 * larger.batch, abs=4)
    assert fit._schedule(sides[1], replace(recipe, batch=2)).batch == 2


@pytest.mark.parametrize(("pictures", "batch"), [(15, 15), (20, 10), (200, 25), (1024, 64)])
def test_a_small_set_is_learnt_in_steps_of_about_an_eighth(pictures: int, batch: int) -> None:
    """16 pictures at least and the recipe's batch at most, and every step of an epoch about as large."""
    from training.network import fit

    assert fit._schedule(task(TINY, pictures), Recipe()).batch == batch


def test_a_batch_that_memory_cuts_down_is_said_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names the stage, what a step takes and what the recipe asked for; without need there is none."""
    from training.network import fit

    for size, batch in ((memory._BYTES, 10), (1, 1)):
        monkeypatch.setattr(memory, "_BYTES", size)
        stage = fit.fit(task(TINY, 20), Recipe(), seed=1, checkpoint=Checkpoint(tmp_path / str(batch)))
        assert stage.summary()["batch"] == batch
        told = [line for line in capsys.readouterr().err.splitlines() if "instead of" in line]
        cut = "training all: steps of 1 instead of 16 pictures, as many as memory allows"
        assert told == ([] if batch > 1 else [cut])


def test_a_stage_lets_go_of_what_it_learned_from(tmp_path: Path) -> None:
    """Hundreds of megabytes of features are not kept until the process ends, though TensorFlow keeps functions."""
    from training.network import fit

    stage = task(TINY, 20)
    pictures = weakref.ref(stage.held[0])
    fit.fit(stage, Recipe(), seed=1, checkpoint=Checkpoint(tmp_path / "stage"))
    del stage
    gc.collect()
    assert pictures() is None


def test_there_is_no_picture_too_large_for_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time is the least."""
    monkeypatch.setattr(memory, "_BYTES", 1)
    assert memory.at_once([], [(9, 448, 448, 3)]) == 1
