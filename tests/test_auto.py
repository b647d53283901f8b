from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundle_samples import MANIFEST
from hypothesis import given as given_any
from hypothesis import strategies as st
from msgspec.structs import replace
from tiny_parts import RECIPE, make_folder

from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.pooling import LogSumExp
from edge.contract.preprocess import Tiles
from edge.errors import ConfigError
from training import auto, backend, build, cache, inputs, latency, recipe, sealed
from training.auto import Trial
from training.data import dataset
from training.evaluation.thresholds import Aim
from training.network.scores import Score
from training.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.data.dataset import Dataset
    from training.recipe import Recipe

SMALL = ((Tiles(), 32), (Tiles(columns=2), 32), (Tiles(), 64))
SHAPE = (64, 64)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(RECIPE)
    return recipe.read(path)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> inputs.Inputs:
    """A small data set, listed."""
    folder = make_folder(tmp_path_factory.mktemp("auto") / "data", each=15)
    labels = dataset.folder_labels(folder, ["intact"])
    return inputs.Inputs(labels=labels, folder=folder, sources=dataset.folder_sources(folder, labels))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates of a size that is computed in no time."""
    monkeypatch.setattr(auto, "GEOMETRIES", SMALL)
    backend.start(1)


def choose(given: inputs.Inputs, base: Recipe, weights: Path, budget: float) -> tuple[Recipe, list[Trial]]:
    some, groups = given.divide(base).learnable(auto.MOST_PICTURES, seed=1)

    def read(candidate: Recipe) -> tuple[Dataset, Sequence[str] | None]:
        return given.again(some, candidate), groups

    return auto.choose(read, base, shape=SHAPE, classes=3, weights=str(weights), budget_ms=budget, seed=1)


def test_every_geometry_is_tried_and_one_of_the_best_taken(
    given: inputs.Inputs, base: Recipe, tiny_weights: Path
) -> None:
    """Each geometry in two styles, the best one in four more; the choice is as good as the best within noise."""
    chosen, trials = choose(given, base, tiny_weights, 1e6)
    geometries = [(trial.recipe.preprocess.tiles, trial.recipe.model.height) for trial in trials]
    assert geometries[:6] == [geometry for geometry in SMALL for _ in range(2)]
    assert len(set(geometries[6:])) == 1
    assert len(trials) == 10
    assert chosen in [trial.recipe for trial in trials]
    best = max(trial.score.balanced_accuracy for trial in trials if trial.score)
    (taken,) = [trial for trial in trials if trial.recipe == chosen]
    assert taken.score
    assert taken.score.balanced_accuracy >= best - auto._NOISE
    assert replace(chosen, model=base.model, preprocess=base.preprocess, pooling=base.pooling) == base
    assert chosen.model.alpha == base.model.alpha


def test_what_is_too_slow_is_not_tried_but_told(given: inputs.Inputs, base: Recipe, tiny_weights: Path) -> None:
    """With a budget between the cheapest and the dearest candidate only those within it have a score."""
    geometries = auto._geometries(base, SHAPE)
    costs = [latency.measure(auto.styled(geometry)[0], 3) for geometry in geometries]
    budget = (min(costs) + max(costs)) / 2
    chosen, trials = choose(given, base, tiny_weights, budget)
    assert all((trial.score is None) == (trial.milliseconds > budget) for trial in trials)
    assert any(trial.score is None for trial in trials)
    assert latency.measure(chosen, 3) <= budget
    plain = [trial.plain() for trial in trials]
    assert {row["pooling"]["kind"] for row in plain} >= {"mean", "log-sum-exp"}
    assert [row["score"] is None for row in plain] == [trial.score is None for trial in trials]


def test_a_budget_that_nothing_meets_is_one_line(given: inputs.Inputs, base: Recipe, tiny_weights: Path) -> None:
    """The budget, and what the fastest candidate takes."""
    with pytest.raises(ConfigError, match=r"--latency-budget 1e-06 ms: the fastest candidate takes .* ms; allow more"):
        choose(given, base, tiny_weights, 1e-6)


def trial(base: Recipe, *, ms: float, accuracy: float, loss: float = 0.1) -> Trial:
    return Trial(recipe=base, milliseconds=ms, score=Score(accuracy, -loss))


def test_of_equals_the_faster_one_is_better(base: Recipe) -> None:
    """Within noise the time decides, then the loss; beyond it the accuracy, whatever it takes."""
    slow, fast = trial(base, ms=9, accuracy=0.902), trial(base, ms=3, accuracy=0.9)
    assert auto._best([slow, fast], 20) is fast
    better = trial(base, ms=19, accuracy=0.95)
    assert auto._best([slow, better, fast], 20) is better
    surer = trial(base, ms=3.01, accuracy=0.901, loss=0.05)
    assert auto._best([slow, fast, surer], 20) is surer


def test_tiles_are_measured_as_the_device_runs_them(base: Recipe, tmp_path: Path) -> None:
    """Nine tiles take the classifier's interpreter what was measured before training, within a factor of three.

    Other processes may have the cores meanwhile: the quickest frame counts, and one tile would be a ninth.
    """
    from training.int8 import quantize
    from training.network import model

    spec = replace(base.preprocess, tiles=Tiles(rows=3, columns=3))
    tiles = replace(base, preprocess=spec, pooling=LogSumExp())
    network = model.build(2, tiles, None)
    pixels = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), np.uint8)
    manifest = replace(MANIFEST, preprocess=spec, pooling=LogSumExp())
    bundles.write(tmp_path / "b", manifest, {bundles.MODEL: quantize.convert(network, quantize.pin_range(pixels))})
    classifier = Classifier(bundles.read(tmp_path / "b"))
    canvas = np.resize(pixels, (*tiles.canvas, 3))
    taken = min(classifier.classify(canvas).invoke_ms for _ in range(50))
    assert taken / 3 < latency.measure(tiles, 2) < 3 * taken


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        ((200, 200), {(224, 224)}),
        ((480, 640), {(192, 256), (288, 384), (384, 512), (544, 736)}),
        ((480, 64), {(384, 128)}),
    ],
)
def test_candidates_have_the_pictures_shape_and_no_more_than_they_show(
    base: Recipe, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], sides: set[tuple[int, int]]
) -> None:
    """Tiles as wide and high as the pictures are, three to one at most; nothing is enlarged to more than twice."""
    monkeypatch.setattr(auto, "GEOMETRIES", tuple((Tiles(), side) for side in (224, 320, 448, 640)))
    found = auto._geometries(base, shape)
    assert {recipe.canvas for recipe in found} == sides


def test_a_choice_is_kept_as_it_was_made(base: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupted build goes on with the recipe that it chose; what cannot be read is chosen anew, and said."""
    made = trial(replace(base, pooling=LogSumExp(sharpness=2.0)), ms=3, accuracy=0.9)
    assert auto.kept(tmp_path) is None
    kept = auto.keep(tmp_path, (made.recipe, [made]))
    assert auto.kept(tmp_path) == kept
    assert (kept.recipe, kept.trials) == (made.recipe, [made.plain()])
    (tmp_path / "choice.json").write_bytes(b"{")
    assert auto.kept(tmp_path) is None
    assert "the recipe is chosen anew" in capsys.readouterr().err


def test_another_question_is_another_choice(given: inputs.Inputs, base: Recipe, tiny_weights: Path) -> None:
    """The pictures, which of them show one part, the recipe, the budget, the seed; not how the parts are called."""
    some, groups = given.divide(base).learnable(auto.MOST_PICTURES, seed=1)
    options = Options(out=Path("b"), aim=Aim(), weights=str(tiny_weights), recipe=base, auto_ms=10)
    pairs = [str(row // 2) for row in range(len(groups))]

    def key(data: Dataset = some, together: Sequence[str] = groups, **changes: Any) -> str:
        return build._choice_key(data, together, dataclasses.replace(options, **changes))

    keys = [key(), key(some.take(np.arange(9)), groups[:9]), key(together=pairs)]
    keys += [key(recipe=replace(base, batch=8)), key(auto_ms=20), key(seed=2), key(weights="imagenet")]
    assert len(set(keys)) == 7
    assert key(together=[f"part {name}" for name in pairs]) == keys[2]
    assert key(recipe=replace(base, pooling=LogSumExp())) == keys[0]


@given_any(st.binary(max_size=40) | st.builds(json.dumps, st.dictionaries(st.text(), st.text())).map(str.encode))
def test_any_file_is_a_choice_or_none(content: bytes) -> None:
    """What lies in the cache, whatever it is, ends no build."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "choice.json")
        path.write_bytes(content)
        assert auto.kept(path.parent) is None
        sealed.save(path, content)
        assert auto.kept(path.parent) is None


def test_few_pictures_are_enough_to_choose_by(
    base: Recipe, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plain build takes, four pictures of a class, `--auto` takes."""
    monkeypatch.setattr(auto, "GEOMETRIES", SMALL[:1])
    folder = make_folder(tmp_path / "few", each=4)
    labels = dataset.folder_labels(folder, ["intact"])
    few = inputs.Inputs(labels=labels, folder=folder, sources=dataset.folder_sources(folder, labels))
    chosen, _ = choose(few, base, tiny_weights, 1e6)
    assert chosen.model.backbone == base.model.backbone


def test_a_build_goes_on_with_what_it_chose(tmp_path: Path, tiny_weights: Path) -> None:
    """--auto, ended in training and run again: nothing is tried twice, the bundle has a tried recipe, no run stays."""
    data, recipe, out = make_folder(tmp_path / "data", each=14), tmp_path / "recipe.toml", tmp_path / "b"
    recipe.write_text(RECIPE)
    options = (
        "build", "--data", data, "--out", out, "--pass", "intact", "--weights", tiny_weights, "--recipe", recipe,
        "--auto", "--latency-budget", 1000, "--allow-drop", 0.9,
    )  # fmt: skip
    before = runs()
    said, code = few_choices(*options, until="training head 3/")
    assert code == 130, said
    assert "trying 32x32 pixels: done" in said
    assert len(runs() - before) == 2  # The choice, and the training.
    assert not out.exists()
    said, code = few_choices(*options)
    assert code == 0, said
    assert not any(line.startswith(("trying", "measuring", "training head 1/")) for line in said.splitlines())
    assert runs() == before
    report = json.loads((out / "report.json").read_bytes())
    made, tried = report["recipe"], [{**row, "latency_ms": 0, "score": 0} for row in report["search"]]
    size = {name: made["model"][name] for name in ("height", "width", "level")}
    pooling = {"pooling": made["pooling"], "tiles": made["preprocess"]["tiles"]}
    assert len(tried) == 2
    assert {**size, **pooling, "latency_ms": 0, "score": 0} in tried


def runs() -> set[str]:
    """Name what is kept of runs that are not finished."""
    place = cache.folder("runs")
    return {path.name for path in place.iterdir()} if place.is_dir() else set()


FEW = """
import sys
from training import auto
from training.__main__ import main
auto.GEOMETRIES, auto.STYLES = ((auto.Tiles(), 32),), auto.STYLES[:2]
sys.exit(main())
"""
"""edge-train with one geometry, of the tiny recipe's size, in two styles: those that it has take minutes."""


def few_choices(*options: object, until: str | None = None) -> tuple[str, int]:
    """Run FEW, and press Ctrl-C when a line begins with `until`; returns what it said on stderr, and its exit code."""
    command = [sys.executable, "-c", FEW, *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if until and line.startswith(until):
                process.send_signal(signal.SIGINT)
    return "".join(said), process.returncode
