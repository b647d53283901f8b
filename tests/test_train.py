from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace
from tiny_parts import SIZE, make_folder, read_folder

from edge.errors import ConfigError
from training import backend, cache
from training.data.split import Parts, divide
from training.network.checkpoint import Checkpoint, Run, State
from training.network.scores import Score
from training.recipe import All, Features, Head, Loss, Model, Recipe, Scratch, Top

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

QUICK = Recipe(
    model=Model(backbone="mobilenet-v1", alpha=0.25, height=SIZE, width=SIZE),
    features=Features(pictures=100),
    head=Head(pictures=1, epochs=(10, 10), rate=3e-3, patience=1),
    top=Top(pictures=1, epochs=(3, 3), rate=3e-4, patience=1),
    all=All(pictures=0, epochs=(2, 2), rate=1e-4, patience=1),
    scratch=Scratch(pictures=1, epochs=(3, 3), rate=5e-3, patience=1),
    batch=16,
)
SCRATCH = replace(QUICK, model=Model(backbone="residual", alpha=0.25, height=SIZE, width=SIZE))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """A small data set, split."""
    backend.start(1)
    return divide(read_folder(make_folder(tmp_path_factory.mktemp("parts"), each=20)), None, seed=1)


@pytest.fixture(scope="module")
def weights(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights in a file, normalised by the pictures' own statistics: without, the features fade to nothing."""
    from training.network import backbones, model

    base = backbones._keras(QUICK.model, None)
    for norm in backbones.batch_norms(base):
        norm.momentum = 0.0
    base(model.normalise(parts.train.pixels), training=True)
    path: Path = tmp_path_factory.mktemp("weights") / "base.weights.h5"
    base.save_weights(path)
    return str(path)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of one test is taken up by another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def learn(parts: Parts, weights: str | None, recipe: Recipe = QUICK, *, logs: Path | None = None) -> tuple[Any, Any]:
    """Train; leaves the run's checkpoints, as a run that was ended before its bundle does."""
    from training.network import model
    from training.network.train import Trainer

    backend.start(3)
    network = model.build(3, recipe, weights)
    trainer = Trainer(network, parts, recipe, seed=3, run=Run("test"), logs=logs)
    return network, trainer.on_features() if weights else trainer.from_scratch()


def same(first: Any, second: Any, tolerance: float = 0.0) -> bool:
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.allclose(a, b, rtol=0, atol=tolerance) for a, b in pairs)


def judged(monkeypatch: pytest.MonkeyPatch, *accuracies: float) -> None:
    """Let validation say this, one after the other: what a stage does with its judgement is then known."""
    given = iter(accuracies)
    monkeypatch.setattr("training.network.watcher.score", lambda *_: Score(next(given), -1.0))


def once(stage: Head | Top | All) -> Any:
    """Return the stage with one epoch and no average: validation is asked before it and after."""
    return replace(stage, pictures=1, epochs=(1, 1), patience=1, averaging=0)


ONCE = replace(QUICK, head=once(QUICK.head), top=once(QUICK.top), all=once(QUICK.all))


@pytest.mark.parametrize("after", [0.6, 0.4])
def test_fine_tuning_changes_the_top_blocks_alone(
    parts: Parts, weights: str, monkeypatch: pytest.MonkeyPatch, after: float
) -> None:
    """Trunk and moving statistics stay as loaded to the last bit; the tail learns, unless the stage is undone."""
    from training.network import model, train

    judged(monkeypatch, 0.3, 0.5, 0.5, after)
    kept = after > 0.5
    fresh = model.build(3, ONCE, weights)
    network, stages = learn(parts, weights, replace(ONCE, all=QUICK.all))
    assert [(stage.name, stage.kept) for stage in stages] == [("head", True), ("top blocks", kept)]
    statistics = (train.moving_statistics(each) for each in (fresh, network))
    assert all(np.array_equal(a, b) for a, b in zip(*statistics, strict=True))
    assert same(fresh.trunk, network.trunk)
    assert same(fresh.tail, network.tail) != kept
    assert not same(fresh.head, network.head)


def test_a_stage_that_makes_validation_worse_is_undone(parts: Parts, weights: str) -> None:
    """Fine-tuning at the highest rate allowed, an absurd one, is thrown away: the model is that before it."""
    from training.network import pooled, scores

    recipe = replace(QUICK, top=Top(pictures=1, epochs=(3, 3), rate=10, patience=1))
    network, (head, top) = learn(parts, weights, recipe)
    assert not top.kept
    assert top.best == top.start
    found = scores.score(pooled.predict(network, parts.validation.pixels, recipe), parts.validation.truth)
    assert found.balanced_accuracy == pytest.approx(head.best.balanced_accuracy)
    assert found.minus_loss == pytest.approx(head.best.minus_loss, abs=1e-2)


def test_the_same_seed_learns_the_same_model(parts: Parts) -> None:
    """Two runs from scratch agree to rounding, and batch normalisation took the data's own statistics."""
    from training.network import model, train

    fresh = train.moving_statistics(model.build(3, SCRATCH, None))
    first, (stage,) = learn(parts, None, SCRATCH)
    Run("test").finish()
    again, _ = learn(parts, None, SCRATCH)
    assert (stage.name, stage.kept) == ("from scratch", True)
    assert same(first.whole, again.whole, 1e-3)
    moved = zip(fresh, train.moving_statistics(first), strict=True)
    assert not any(np.array_equal(a, b) for a, b in moved)


class Ended(Exception):  # noqa: N818 - it stands for a pulled plug
    """What ends a run in these tests."""


@pytest.mark.parametrize("stage", ["head", "top blocks"])
def test_a_run_that_was_ended_goes_on_after_its_last_epoch(
    parts: Parts, weights: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended in the middle of a stage and started again, it comes to the model that an undisturbed run comes to."""
    whole, wanted = learn(parts, weights)
    Run("test").finish()
    save, seen = Checkpoint.save, []

    def save_and_end(checkpoint: Checkpoint, state: State) -> None:
        save(checkpoint, state)
        seen.append(checkpoint.path.stem)
        if seen.count(stage.replace(" ", "-")) == 2:
            raise Ended

    monkeypatch.setattr(Checkpoint, "save", save_and_end)
    with pytest.raises(Ended):
        learn(parts, weights)
    monkeypatch.setattr(Checkpoint, "save", lambda checkpoint, state: (seen.append("later"), save(checkpoint, state)))
    resumed, found = learn(parts, weights)
    assert [(each.name, each.epochs) for each in found] == [(each.name, each.epochs) for each in wanted]
    assert seen.count("later") == (10 + 3 - 2 if stage == "head" else 3 - 2)
    assert [each.loss for each in found] == [pytest.approx(each.loss, abs=1e-3) for each in wanted]
    assert same(whole.whole, resumed.whole, 1e-3)


def test_a_checkpoint_that_is_damaged_or_anothers_is_not_taken_up(
    parts: Parts, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stage begins anew: no crash, and no weights that do not belong to the model."""
    recipe = replace(ONCE, all=QUICK.all)
    learn(parts, weights, recipe)
    for path, content in zip(sorted(cache.folder("runs", "test").iterdir()), [b"PK\x03\x04torn", b""], strict=True):
        path.write_bytes(content)
    _, stages = learn(parts, weights, recipe)
    assert [stage.epochs for stage in stages] == [1, 1]
    another = Model(backbone="mobilenet-v1", alpha=0.25, height=SIZE, width=SIZE, level="both")
    _, stages = learn(parts, weights, replace(recipe, model=another))
    assert [stage.epochs for stage in stages] == [1, 1]
    assert "going on after" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "loss", [Loss(mixup=0.2), Loss(focal_gamma=2.0), Loss(l1=1e-4, l2=1e-4), Loss(class_balance=1.0)]
)
def test_every_loss_learns(parts: Parts, loss: Loss) -> None:
    """With each part of the loss switched on, training brings the validation loss down."""
    scratch = Scratch(pictures=1, epochs=(12, 12), rate=2e-3, patience=1)
    _, (stage,) = learn(parts, None, replace(SCRATCH, loss=loss, scratch=scratch))
    assert stage.best.minus_loss > stage.start.minus_loss


def test_penalties_hold_the_head_small(parts: Parts, weights: str) -> None:
    """L1 makes the head's weights smaller than they are without, and so does L2."""
    sizes = []
    for loss in (Loss(), Loss(l1=0.1), Loss(l2=10.0)):
        Run("test").finish()
        network, _ = learn(parts, weights, replace(QUICK, loss=loss, top=Top(pictures=0)))
        sizes.append(float(np.abs(network.head.get_weights()[0]).sum()))
    assert max(sizes[1:]) < 0.7 * sizes[0]


def test_the_last_epochs_are_averaged_as_the_recipe_says(
    parts: Parts, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten epochs a share of 0.3 adds up the last three, and 0 none."""
    added: dict[float, int] = {}
    save = Checkpoint.save
    for share in (0.3, 0.0):
        monkeypatch.setattr(
            Checkpoint,
            "save",
            lambda at, state, share=share: (added.update({share: state.notes.averaged}), save(at, state)),
        )
        Run("test").finish()
        head = replace(QUICK.head, averaging=share)
        learn(parts, weights, replace(QUICK, head=head, top=Top(pictures=0)))
    assert added == {0.3: 3, 0.0: 0}


@pytest.mark.parametrize(
    ("accuracies", "kept"),
    [
        ((0.3, 0.5, 0.5, 0.6, 0.6, 0.7), {"head": True, "top blocks": True, "all": True}),
        ((0.3, 0.5, 0.5, 0.6, 0.6, 0.5), {"head": True, "top blocks": True, "all": False}),
        ((0.3, 0.5, 0.5, 1.0), {"head": True, "top blocks": True}),
        ((0.3, 0.5, 0.5, 0.4), {"head": True, "top blocks": False}),
    ],
)
def test_all_is_tuned_only_where_it_promises_more(
    parts: Parts, weights: str, monkeypatch: pytest.MonkeyPatch, accuracies: Sequence[float], kept: dict[str, bool]
) -> None:
    """Where the top blocks' tuning helped and mistakes are left, and nowhere else; undone if that did not help."""
    from training.network import model

    judged(monkeypatch, *accuracies)
    network, stages = learn(parts, weights, ONCE)
    assert {stage.name: stage.kept for stage in stages} == kept
    assert same(model.build(3, ONCE, weights).trunk, network.trunk) != kept.get("all", False)


def test_all_is_tuned_unless_the_recipe_leaves_it_out(
    parts: Parts, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default validation alone decides on it, for at most four epochs; at 0 pictures there is none."""
    for plan, names in ((Recipe().all, ["head", "top blocks", "all"]), (QUICK.all, ["head", "top blocks"])):
        Run("test").finish()
        judged(monkeypatch, 0.3, 0.5, 0.5, 0.6, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7)
        _, stages = learn(parts, weights, replace(ONCE, all=plan))
        assert [stage.name for stage in stages] == names
        assert stages[-1].epochs <= 4


# The decay takes ten thousand times a weight off it in each step: within what a recipe may say, and no number soon.
DIVERGING = {"rate": 10.0, "epochs": (10, 10)}
DECAY = Loss(weight_decay=1000.0)


@pytest.mark.parametrize(("name", "table"), [("head", "head"), ("from scratch", "scratch")])
def test_a_first_stage_that_diverges_is_one_line(parts: Parts, weights: str, name: str, table: str) -> None:
    """There is no model to fall back on: the error names the stage, and the rate as the remedy."""
    scratch = table == "scratch"
    recipe = replace(SCRATCH if scratch else QUICK, loss=DECAY)
    recipe = replace(recipe, **{table: replace(getattr(recipe, table), **DIVERGING)})
    with pytest.raises(ConfigError, match=f"^training {name} diverged.* a lower rate than 10 in the recipe$"):
        learn(parts, None if scratch else weights, recipe)


def test_a_tuning_that_diverges_is_undone(parts: Parts, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The model is the head's, the report holds numbers alone, and standard error names the rate."""
    from training.network import pooled, scores

    head = replace(QUICK.head, rate=1e-4)
    recipe = replace(QUICK, loss=DECAY, head=head, top=replace(QUICK.top, **DIVERGING))
    network, (first, top) = learn(parts, weights, recipe)
    assert first.kept
    assert not top.kept
    assert top.best == top.start
    assert len(top.loss) == len(top.validation_loss) == top.epochs < 10
    assert np.isfinite([*top.loss, *top.validation_loss]).all()
    assert "top blocks diverged" in capsys.readouterr().err
    found = scores.score(pooled.predict(network, parts.validation.pixels, recipe), parts.validation.truth)
    assert found.balanced_accuracy == pytest.approx(first.best.balanced_accuracy)


def test_curves_are_written_for_tensorboard(parts: Parts, tmp_path: Path) -> None:
    """Every epoch's loss and validation figures are events in the folder that --logs names."""
    import tensorflow as tf

    _, (stage,) = learn(parts, None, SCRATCH, logs=tmp_path / "logs")
    (path,) = (tmp_path / "logs" / "from-scratch").iterdir()
    found: dict[str, list[float]] = {}
    for record in tf.data.TFRecordDataset(str(path)):
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value:
            found.setdefault(value.tag, []).append(float(tf.make_ndarray(value.tensor)))
    assert found == {
        name: pytest.approx(getattr(stage, name), abs=1e-5)
        for name in ("loss", "validation_loss", "validation_accuracy")
    }
