from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec.structs import replace

from training import backend
from training.network import memory
from training.recipe import Model, Recipe

if TYPE_CHECKING:
    from training.network.fit import Task


@pytest.fixture(autouse=True)
def _keras() -> None:
    backend.start(1)


def task(side: int, pictures: int = 1000) -> Task:
    """Return the stage that tunes a whole network on pictures of so many pixels a side."""
    from training.network import model
    from training.network.fit import Task
    from training.network.pooled import Normalise, Pooled

    recipe = Recipe(model=Model(height=side, width=side))
    network = model.build(3, recipe, None)
    return Task(
        name="all",
        model=Pooled([Normalise(), network.trunk, network.tail, network.head], recipe.pooling),
        plan=recipe.all,
        draw=lambda rows, _: [np.zeros((len(rows), 1, side, side, 3), np.uint8)],
        truth=np.zeros(pictures, np.int64),
        held=(np.zeros((1, 1, side, side, 3), np.uint8),),
        held_truth=np.zeros(1, np.int64),
        classes=3,
    )


def test_a_step_takes_fewer_pictures_the_larger_they_are() -> None:
    """Small ones in the recipe's batches, large ones in what memory holds."""
    from training.network import fit

    recipe = Recipe()
    small, large, larger = (fit._batch(task(side), recipe) for side in (96, 320, 640))
    assert small == recipe.batch
    assert large == pytest.approx(4 * larger, abs=4)
    assert fit._batch(task(320), replace(recipe, batch=2)) == 2


def test_there_is_no_picture_too_large_for_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time is the least."""
    monkeypatch.setattr(memory, "_BYTES", 1)
    assert memory.at_once([], [(9, 448, 448, 3)]) == 1
