from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from tiny_parts import CLASSES, SCRATCH, draw, make_folder, run

from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract import signing
from edge.contract.pictures import load_picture
from edge.decision import decide
from edge.errors import ConfigError
from training.recipe import Recipe


class Built(NamedTuple):
    """One build of a tiny model, and where it came from."""

    data: Path
    out: Path
    key: Path
    public: str
    result: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Train a tiny model from scratch, once, through the command line, signed, with a damaged picture left out."""
    folder = tmp_path_factory.mktemp("built")
    data, out, key = make_folder(folder / "data", each=20), folder / "tiny.bundle", folder / "key.pem"
    (data / "spot" / "torn.png").write_bytes(b"torn")
    public = run("keygen", "--out", key).stdout.strip()
    result = run(
        "build", "--data", data, "--out", out, "--pass", "intact", "--weights", "none", "--size", 32,
        "--seed", 5, "--skip-bad", "--key", key,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return Built(data, out, key, public, result)


def test_a_built_bundle_judges_its_held_out_files_as_its_report_says(built: Built) -> None:
    """Replaying the report's test files through the device's classifier gives its labels and its accuracy."""
    bundle = bundles.read(built.out, trusted_keys=[built.public])
    report = json.loads(bundle.files["report.json"])
    classifier = Classifier(bundle)
    right = 0
    for row in report["test"]:
        scores = classifier.classify(load_picture(built.data / row["file"])).scores.tolist()
        decision = decide(scores, bundle.manifest.labels, bundle.manifest.thresholds)
        assert (decision.label, str(decision.verdict)) == (row["label"], row["verdict"])
        right += decision.label == Path(row["file"]).parent.name == row["truth"]
    assert len(report["test"]) == bundle.manifest.metrics["test_pictures"] == 12
    assert right / 12 == pytest.approx(bundle.manifest.metrics["accuracy_int8"], abs=1e-6)
    assert bundle.manifest.metrics["accuracy_int8"] >= 0.9


def test_a_bundle_says_what_it_was_made_of(built: Built) -> None:
    """Labels, counts, the skipped picture, the recipe, the batch, the seed and the versions are in the report."""
    bundle = bundles.read(built.out)
    report = json.loads(bundle.files["report.json"])
    assert {label.name: label.verdict for label in bundle.manifest.labels} == {
        "intact": "PASS",
        "scratch": "DEFECT",
        "spot": "DEFECT",
    }
    assert bundle.manifest.dataset.pictures == 60
    assert report["data"]["test"] == dict.fromkeys(CLASSES, 4)
    assert "torn.png" in report["data"]["skipped"][0]
    assert (report["seed"], report["weights"], report["recipe"]["model"]["height"]) == (5, "none", 32)
    assert [stage["batch"] for stage in report["training"]] == [12]  # 36 pictures in steps of 16 at most.
    assert report["recipe"]["head"]["rate"] == Recipe().head_plan.rate
    assert report["versions"]["tensorflow"]
    assert np.trace(report["confusion"]) == round(12 * bundle.manifest.metrics["accuracy_int8"])
    assert bundle.manifest.metrics.keys() >= {
        "accuracy_int8", "accuracy_float", "test_pictures", "missed_defects", "missed_defects_upper", "false_alarms",
        "unknown", "balanced_accuracy", "macro_f1", "ece", "latency_ms",
    }  # fmt: skip
    assert report["metrics"] == bundle.manifest.metrics


def test_golden_pictures_give_their_expected_scores(built: Built, tmp_path: Path) -> None:
    """Each golden frame, read from its file, scores within the bundle's tolerance; non-square ones stay so."""
    bundle = bundles.read(built.out)
    expected = json.loads(bundle.files["golden/expected.json"])
    classifier = Classifier(bundle)
    assert len(expected) == 3
    for name, scores in expected.items():
        (tmp_path / name).write_bytes(bundle.files[f"golden/{name}"])
        pixels = load_picture(tmp_path / name)
        assert pixels.shape == (40, 48, 3)
        found = classifier.classify(pixels).scores
        assert np.abs(found - [scores[label.name] for label in bundle.manifest.labels]).max() <= 1e-5


def test_the_page_stands_alone_and_is_small(built: Built) -> None:
    """report.html loads nothing from elsewhere and stays below 400 KB."""
    page = bundles.read(built.out).files["report.html"]
    assert len(page) < 400_000
    assert b"http" not in page
    assert page.count(b"data:image/jpeg") == 24


def test_a_long_run_shows_plain_lines_without_a_terminal_and_no_noise(built: Built) -> None:
    """Stderr holds progress and nothing of TensorFlow's; stdout the headline figures in one line."""
    lines = built.result.stderr.splitlines()
    assert any(line.startswith("training from scratch 1/") for line in lines)
    stages = ("reading", "training", "quantizing", "judging", "calibrating", "evaluating", "warning: ")
    strange = [line for line in lines if not line.startswith(stages)]
    assert strange == []
    assert built.result.stdout.count("\n") == 1
    assert "of 12 held-out pictures" in built.result.stdout


def test_pretrained_weights_and_own_test_data(built: Built, tmp_path: Path) -> None:
    """--weights FILE trains head and top blocks; --test-data is judged whole, in another resize mode, into a zip."""
    weights = tmp_path / "base.weights.h5"
    make = "import sys, keras; keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, include_top=False, "
    subprocess.run([sys.executable, "-c", make + "weights=None).save_weights(sys.argv[1])", str(weights)], check=True)
    test, recipe = make_folder(tmp_path / "test", each=5, start=100), tmp_path / "recipe.toml"
    recipe.write_text("[head]\nepochs = [2, 2]\n[top]\nepochs = [2, 2]\n[all]\npictures = 0\n")
    result = run(
        "build", "--data", built.data, "--test-data", test, "--out", tmp_path / "b.zip", "--weights", weights,
        "--size", 32, "--mode", "letterbox", "--skip-bad", "--recipe", recipe, "--allow-drop", 0.9,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    bundle = bundles.read(tmp_path / "b.zip")
    report = json.loads(bundle.files["report.json"])
    assert [stage["name"] for stage in report["training"]][:2] == ["head", "top blocks"]
    assert report["weights"] == "base.weights.h5"
    assert sorted(row["file"] for row in report["test"]) == sorted(
        f"{kind}/{number}.png" for kind in CLASSES for number in range(100, 105)
    )
    assert bundle.manifest.preprocess.mode == "letterbox"
    assert all(label.verdict == "DEFECT" for label in bundle.manifest.labels)
    assert Classifier(bundle).classify(draw("spot", 1)).scores.sum() == pytest.approx(1, abs=1e-5)


def test_an_interrupted_build_leaves_nothing_in_its_place_and_goes_on(tmp_path: Path) -> None:
    """A terminal that is closed while a build trains ends it with 130; the same command goes on after the epoch."""
    data, recipe = make_folder(tmp_path / "data", each=20), tmp_path / "recipe.toml"
    recipe.write_text(SCRATCH.replace("[4, 20]", "[3, 3]"))
    arguments = ("build", "--data", data, "--out", tmp_path / "out" / "b", "--weights", "none", "--recipe", recipe)
    command = [sys.executable, "-m", "training", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("training from scratch 2/"):
                process.send_signal(signal.SIGHUP)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
    again = run(*arguments, "--allow-drop", 0.9)
    assert again.returncode == 0, again.stderr
    assert "training from scratch: going on after" in again.stderr
    assert bundles.read(tmp_path / "out" / "b").manifest.labels


def test_keygen_makes_a_key_that_only_its_owner_reads_and_never_overwrites(tmp_path: Path) -> None:
    """The printed text is the public half; a second run refuses and changes nothing."""
    key = tmp_path / "key.pem"
    first = run("keygen", "--out", key)
    assert first.returncode == 0
    assert first.stdout.strip() == signing.public_text(signing.load_key(key.read_bytes()))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    second = run("keygen", "--out", key)
    assert second.returncode == ConfigError.exit_code
    assert "never overwritten" in second.stderr
    assert key.read_bytes() == before


@pytest.mark.parametrize(
    "command",
    [
        *((), ("build",), ("keygen",), ("search",), ("compile",), ("synthetic",)),
        *(("data",), ("data", "check"), ("data", "preview")),
    ],
)
def test_help_shows_examples_and_exit_codes(command: tuple[str, ...]) -> None:
    """A newcomer finds what to type and what the exit codes mean."""
    result = run(*command, "--help")
    assert result.returncode == 0
    assert "exit codes:" in result.stdout
    assert "edge-train" in result.stdout


def test_a_preview_is_drawn_by_the_recipe(tmp_path: Path) -> None:
    """The command writes a sheet with the recipe's tiles, says what is on it, and a second run replaces it."""
    data, out, recipe = make_folder(tmp_path / "data", each=2), tmp_path / "sheet.png", tmp_path / "recipe.toml"
    recipe.write_text("[model]\nheight = 64\nwidth = 96\n[preprocess.tiles]\ncolumns = 2\n")
    for seed in (1, 2):
        result = run("data", "preview", data, "--out", out, "--recipe", recipe, "--seed", seed)
        assert result.returncode == 0, result.stderr
        assert result.stdout == f"{out}: 6 pictures of 3 classes\n"
    with Image.open(out) as sheet:
        assert (sheet.format, sheet.mode) == ("PNG", "RGB")


@pytest.mark.parametrize("command", ["check", "preview"])
def test_no_sheet_replaces_a_file_that_is_none(tmp_path: Path, command: str) -> None:
    """A photograph in the place of --out stays, and the command says so before it reads a picture."""
    data, out = make_folder(tmp_path / "data", each=2), tmp_path / "photo.png"
    out.write_bytes((data / "spot" / "000.png").read_bytes())
    before = out.read_bytes()
    result = run("data", command, data, "--out", out)
    assert result.returncode == ConfigError.exit_code
    assert result.stderr.splitlines() == [
        f"edge-train: --out {out} is there and is no sheet of pictures; choose another name"
    ]
    assert out.read_bytes() == before
