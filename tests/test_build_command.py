from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from tiny_parts import CLASSES, RECIPE, draw, make_folder, run

from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.pictures import load_picture
from edge.contract.pooling import LogSumExp
from edge.contract.preprocess import Tiles
from edge.decision import decide
from edge.errors import ConfigError, DataError

if TYPE_CHECKING:
    import subprocess

EACH = 18
PARTS = ("train", "validation", "calibration", "test")
TILED = RECIPE + '[preprocess.tiles]\ncolumns = 2\n[pooling]\nkind = "log-sum-exp"\nsharpness = 2.0\n'


class Built(NamedTuple):
    """A build, what it was made of, and what it said."""

    data: Path
    out: Path
    recipe: Path
    logs: Path
    weights: Path
    cache: Path
    result: subprocess.CompletedProcess[str]

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "report.json").read_bytes())
        return found

    @property
    def split(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "split.json").read_bytes())
        return found


def photograph(folder: Path, start: int, count: int) -> None:
    """Add parts, each photographed twice: spot/part-007/1.png and 2.png, the second one a little brighter."""
    for kind in CLASSES:
        for seed in range(start, start + count):
            place = folder / kind / f"part-{seed:03}"
            place.mkdir(parents=True)
            pixels = draw(kind, seed)
            Image.fromarray(pixels).save(place / "1.png")
            Image.fromarray(np.minimum(pixels, 250) + np.uint8(5)).save(place / "2.png")


def odd_files(folder: Path) -> None:
    """Turn some pictures into what else cameras and editors write."""
    paths = sorted((folder / "spot").rglob("1.png"))
    pictures = [Image.open(path) for path in paths[:3]]
    deep = np.asarray(pictures[0].convert("L"), np.uint16) * 257
    grey, turned = pictures[1].convert("L"), pictures[2].convert("RGB")
    Image.fromarray(deep).save(paths[0])
    grey.save(paths[1])
    exif = Image.Exif()
    exif[0x112] = 3
    turned.save(paths[2], "JPEG", exif=exif, quality=95)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Built:
    """One build with nearly every option, of pictures of nearly every kind."""
    folder = tmp_path_factory.mktemp("options")
    data, out, recipe, logs = folder / "data", folder / "b", folder / "recipe.toml", folder / "logs"
    photograph(data, 0, EACH // 2)
    odd_files(data)
    recipe.write_text(TILED)
    extra = folder / "extra"
    for kind in CLASSES:
        (extra / kind / "part-700").mkdir(parents=True)
        Image.fromarray(draw(kind, 700)).save(extra / kind / "part-700" / "1.png")
    package = folder / "broken" / "tflite_runtime"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text("raise ImportError('for another numpy')")
    result = run(
        "build", "--data", data, "--out", out, "--pass", "intact", "--recipe", recipe, "--weights", tiny_weights,
        "--size", "64x32", "--group-by", "folder", "--mix-in", extra, "--max-miss", "2%", "--cost-miss", 30,
        "--cost-false-alarm", 2, "--cost-unknown", 0.7, "--allow-drop", 0.9, "--logs", logs, "--seed", 4,
        PYTHONPATH=os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")]),
        XDG_CACHE_HOME=str(folder / "cache"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return Built(data, out, recipe, logs, tiny_weights, folder / "cache" / "edge-inspect", result)


def test_the_device_judges_as_the_report_says(built: Built) -> None:
    """With tiles, log-sum-exp, a size that is not square and odd files: file by file the report's label and verdict."""
    bundle = bundles.read(built.out)
    assert bundle.manifest.preprocess.tiles == Tiles(columns=2)
    assert bundle.manifest.pooling == LogSumExp(sharpness=2.0)
    classifier = Classifier(bundle)
    assert classifier.input_size == (32, 64)
    rows = built.report["test"]
    for row in rows:
        scores = classifier.classify(load_picture(built.data / row["file"])).scores
        decision = decide(scores.tolist(), bundle.manifest.labels, bundle.manifest.thresholds)
        assert (decision.label, str(decision.verdict)) == (row["label"], row["verdict"])
        assert decision.score == pytest.approx(row["score"], abs=1e-4)
    assert len(rows) == bundle.manifest.metrics["test_pictures"] > 0


def test_no_part_lies_in_two_parts_of_the_saved_split(built: Built) -> None:
    """split.json names every picture of --data once, and both pictures of a part, of any class, together."""
    split = built.split
    assert split["group_by"] == built.report["data"]["group_by"] == "folder"
    parts = {name: split[name] for name in PARTS}
    groups = {name: {Path(file).parent.name for file in files} for name, files in parts.items()}
    assert sum(map(len, groups.values())) == EACH // 2
    assert sorted(file for files in parts.values() for file in files) == sorted(
        path.relative_to(built.data).as_posix() for path in built.data.rglob("*.png")
    )


def test_what_is_mixed_in_is_counted_with_training_alone(built: Built) -> None:
    """A picture more of each class than the split names."""
    counts = {kind: sum(file.startswith(f"{kind}/") for file in built.split["train"]) for kind in CLASSES}
    assert built.report["data"]["train"] == {kind: count + 1 for kind, count in counts.items()}
    assert built.report["data"]["pictures"] == 3 * EACH


def test_costs_promise_and_recipe_are_in_the_report(built: Built) -> None:
    """What was asked for on the command line stands beside what came of it."""
    decision = built.report["decision"]
    assert decision["costs"] == {"miss": 30.0, "false_alarm": 2.0, "unknown": 0.7}
    assert decision["promise"]["max_miss"] == 0.02
    recipe = built.report["recipe"]
    assert (recipe["model"]["width"], recipe["model"]["height"]) == (64, 32)
    assert recipe["pooling"] == {"kind": "log-sum-exp", "sharpness": 2.0}
    assert {gate["allow_drop"] for gate in built.report["quantization"]["gates"].values()} == {0.9}


def test_what_cannot_be_promised_is_said_aloud(built: Built) -> None:
    """Each warning of the report is a line on stderr, the promise that so few defects do not show among them."""
    said = [line for line in built.result.stderr.splitlines() if line.startswith("warning: ")]
    assert said == [f"warning: {text}" for text in built.report["warnings"]]
    promise = built.report["decision"]["promise"]
    assert not promise["shown"]
    assert sum(promise["text"][1:] in line for line in said) == 1
    assert any("must be photographed" in line for line in said)
    assert "Traceback" not in built.result.stderr
    assert "WARNING:" not in built.result.stderr


def test_a_runtime_that_cannot_run_a_model_keeps_no_build_from_its_end(built: Built) -> None:
    """What is left out is told before training, and again among the warnings; LiteRT judged alone."""
    told, _, _ = built.result.stderr.partition("\n")
    assert told.startswith("tflite-runtime runs no model (tflite-runtime does not load (for another numpy)): ")
    assert told in built.report["warnings"]
    assert list(built.report["quantization"]["gates"]) == ["litert"]


def test_parts_are_counted_wherever_photographs_of_one_would_count_twice(built: Built) -> None:
    """The promise counts the folders of the calibration part, the report those of the test part, the gate its own."""
    files = {name: built.split[name] for name in ("calibration", "test")}
    folders = {name: len({Path(file).parent.name for file in some}) for name, some in files.items()}
    damaged = {Path(file).parent.name for file in files["calibration"] if not file.startswith("intact")}
    promise = built.report["decision"]["promise"]
    assert (promise["by_part"], promise["defects"]) == (True, len(damaged))
    assert promise["pictures"] == sum(not file.startswith("intact") for file in files["calibration"])
    compared = [*built.split["validation"], *files["calibration"]]
    everything = built.report["quantization"]["gates"]["litert"]["rows"][-2]
    assert (everything["name"], everything["pictures"]) == ("all pictures", len(compared))
    assert everything["parts"] == len({Path(file).parent.name for file in compared}) < len(compared)
    assert built.report["parts"] == folders["test"] < len(files["test"])
    assert any(f"show only {folders['test']} parts" in line for line in built.report["warnings"])


def test_curves_lie_where_logs_says(built: Built) -> None:
    """--logs has a folder of TensorBoard's events for each stage."""
    for stage in ("head", "top-blocks"):
        assert list((built.logs / stage).glob("events.out.tfevents.*"))


def test_a_finished_build_leaves_no_run_behind(built: Built) -> None:
    """The state that an interrupted build goes on from is gone; the features stay for the next one."""
    assert built.out.is_dir()
    assert (built.cache / "runs").is_dir()  # Where the state lay.
    assert not list((built.cache / "runs").iterdir())
    assert list((built.cache / "features").rglob("*.f16"))


def test_retraining_keeps_the_test_part_and_deals_what_is_new(built: Built, tmp_path: Path) -> None:
    """--split-of leaves every picture where it was; new parts are dealt by the same rule, each as a whole."""
    photograph(built.data, 600, 4)
    try:
        result = run(
            "build", "--data", built.data, "--out", tmp_path / "new.zip", "--pass", "intact", "--recipe", built.recipe,
            "--weights", built.weights, "--split-of", built.out, "--allow-drop", 0.9,
        )  # fmt: skip
    finally:
        for path in list(built.data.rglob("part-6*")):
            shutil.rmtree(path)
    assert result.returncode == 0, result.stderr
    before, after = built.split, json.loads(bundles.read(tmp_path / "new.zip").files["split.json"])
    assert after["group_by"] == "folder"
    assert all(set(before[part]) <= set(after[part]) for part in PARTS)
    fresh = {part: {Path(name).parent.name for name in {*after[part]} - {*before[part]}} for part in PARTS}
    assert sorted(name for names in fresh.values() for name in names) == [f"part-{seed}" for seed in range(600, 604)]


def test_a_build_of_a_torn_split_says_that_it_is(built: Built, tmp_path: Path) -> None:
    """A rule that came after the split mends nothing: the report and stderr say how much of the test part is torn."""
    bundle = bundles.read(built.out)
    names = sorted(path.relative_to(built.data).as_posix() for path in built.data.rglob("*.png"))
    first, second = ([name for name in names if name.endswith(end)] for end in ("1.png", "2.png"))
    torn = {"group_by": "none", "train": first, "test": second[2::3], "validation": second[::3]}
    split = built.split | torn | {"calibration": second[1::3]}
    bundles.write(tmp_path / "torn", bundle.manifest, {**bundle.files, "split.json": json.dumps(split).encode()})
    result = run(
        "build", "--data", built.data, "--out", tmp_path / "new", "--pass", "intact", "--recipe", built.recipe,
        "--weights", built.weights, "--split-of", tmp_path / "torn", "--group-by", "folder", "--allow-drop", 0.9,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    leak = json.loads((tmp_path / "new" / "report.json").read_bytes())["leakage"]
    assert (leak["share"], leak["torn"], leak["kept_together"]) == (1, 1, False)
    assert "100.0% of the test pictures have a sibling in another part: the figures may be flattered" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--latency-budget", "5"), ConfigError.exit_code, "--latency-budget 5 says nothing without --auto"),
        (("--auto", "--size", "320x224"), ConfigError.exit_code, "--size 320x224 says nothing with --auto"),
        (("--auto", "--latency-budget", "0"), 2, "'0' is not a number of milliseconds above 0"),
        (("--auto", "--latency-budget", "nan"), 2, "'nan' is not a number of milliseconds above 0"),
        (("--auto",), ConfigError.exit_code, "give --weights, or leave --auto out"),
        (("--max-miss", "1%"), ConfigError.exit_code, "--max-miss needs --pass"),
        (("--max-miss", "2"), 2, "'2' is not a share above 0 and below 100%"),
        (("--cost-miss", "0"), ConfigError.exit_code, "--cost-miss 0 is not a number above 0"),
        (("--cost-unknown", "-1"), ConfigError.exit_code, "--cost-unknown -1 is not a number above 0"),
        (("--cost-false-alarm", "inf"), ConfigError.exit_code, "--cost-false-alarm inf is not a number above 0"),
        (("--allow-drop", "1.5"), ConfigError.exit_code, "--allow-drop 1.5 is not a share"),
        (("--allow-drop", "nan"), ConfigError.exit_code, "--allow-drop nan is not a share"),
        (("--size", "64x33"), ConfigError.exit_code, "--size 33 is not a multiple of 32"),
        (("--size", "64x"), 2, "'64x' is neither N nor WIDTHxHEIGHT"),
        (("--recipe", "gone.toml"), ConfigError.exit_code, "gone.toml: no such recipe"),
        (("--group-by", "lot"), ConfigError.exit_code, "--group-by lot: no such rule"),
        (("--split-of", "gone"), 4, "gone"),
        (("--fold", "4/3"), 2, "'4/3' is not a fold such as 1/5"),
        (("--mix-in", "gone"), DataError.exit_code, "gone: no such folder of pictures"),
        (("--logs", "/proc/logs"), ConfigError.exit_code, "--logs /proc/logs"),
    ],
)
def test_a_misuse_is_one_line_at_once(tmp_path: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    """The option, its value and the remedy, before a picture is read."""
    data = make_folder(tmp_path / "data", each=4)
    result = run("build", "--data", data, "--out", tmp_path / "out", "--weights", "none", *arguments)
    assert result.returncode == code, result.stderr
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert "reading" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_budget_that_nothing_meets_names_the_fastest(tmp_path: Path, tiny_weights: Path) -> None:
    """--auto with a microsecond: what the fastest candidate takes, and no bundle."""
    data, recipe = make_folder(tmp_path / "data", each=4), tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    result = run(
        "build", "--data", data, "--out", tmp_path / "out", "--weights", tiny_weights, "--recipe", recipe, "--auto",
        "--latency-budget", "0.001",
    )  # fmt: skip
    assert result.returncode == ConfigError.exit_code, result.stderr
    assert "--latency-budget 0.001 ms: the fastest candidate takes" in result.stderr.splitlines()[-1]
    assert "allow more" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
