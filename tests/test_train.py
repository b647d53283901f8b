from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace
from tiny_parts import SIZE, make_folder, read_folder

from training import backend
from training.data.split import Parts, divide
from training.recipe import Features, Model, Recipe, Stage

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside Keras

QUICK = Recipe(
    model=Model(height=SIZE, width=SIZE),
    features=Features(pictures=100),
    head=Stage(pictures=1, epochs=(10, 10), rate=3e-3),
    top=Stage(pictures=1, epochs=(3, 3), rate=3e-4),
    scratch=Stage(pictures=1, epochs=(3, 3), rate=5e-3),
    batch=16,
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """A small data set, split."""
    backend.start(1)
    return divide(read_folder(make_folder(tmp_path_factory.mktemp("parts"), each=20)), None, seed=1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights in a file: they make every later layer differ from the start."""
    from training.network import model

    path: Path = tmp_path_factory.mktemp("weights") / "base.weights.h5"
    model._mobilenet(QUICK, None).save_weights(path)
    return str(path)


def learn(parts: Parts, weights: str | None, recipe: Recipe = QUICK) -> tuple[Any, list[Any]]:
    from training.network import model, train

    backend.start(3)
    network = model.build(3, recipe, weights)
    return network, train.train(network, parts, pretrained=weights is not None, recipe=recipe, seed=3)


def statistics(network: Any) -> list[Any]:
    from training.network import train

    return train._moving_statistics(network)


def test_fine_tuning_changes_the_top_blocks_alone(parts: Parts, weights: str) -> None:
    """Trunk and every moving statistic stay as loaded to the last bit; tail and head learn."""
    from training.network import model

    fresh = model.build(3, QUICK, weights)
    network, stages = learn(parts, weights, replace(QUICK, top=Stage(pictures=1, epochs=(3, 3), rate=3e-3)))
    assert [stage.name for stage in stages] == ["head", "top blocks"]
    assert all(np.array_equal(a, b) for a, b in zip(statistics(fresh), statistics(network), strict=True))
    assert all(
        np.array_equal(a, b) for a, b in zip(fresh.trunk.get_weights(), network.trunk.get_weights(), strict=True)
    )
    if stages[1].kept:
        changed = zip(fresh.tail.get_weights(), network.tail.get_weights(), strict=True)
        assert any(not np.array_equal(a, b) for a, b in changed)


def test_a_stage_that_makes_validation_worse_is_undone(parts: Parts, weights: str) -> None:
    """Fine-tuning at an absurd rate is thrown away: the model is the one before it, and the report says so."""
    from training.network import features, model

    network, (head, top) = learn(parts, weights, replace(QUICK, top=Stage(pictures=1, epochs=(3, 3), rate=1e4)))
    assert not top.kept
    assert top.best == top.start == head.best
    logits = features.inference(network.whole, 64)(model.normalise(parts.validation.pixels))
    assert np.mean(logits.argmax(axis=1) == parts.validation.truth) == pytest.approx(head.best.accuracy)


def test_the_same_seed_learns_the_same_model(parts: Parts) -> None:
    """Two runs from scratch agree to rounding, and batch normalisation took the data's own statistics."""
    from training.network import model

    fresh = statistics(model.build(3, QUICK, None))
    (first, (stage,)), (again, _) = learn(parts, None), learn(parts, None)
    assert (stage.name, stage.kept) == ("from scratch", True)
    assert all(
        np.allclose(a, b, atol=1e-3) for a, b in zip(first.whole.get_weights(), again.whole.get_weights(), strict=True)
    )
    assert not any(np.array_equal(a, b) for a, b in zip(fresh, statistics(first), strict=True))
