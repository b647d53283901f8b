"""The bundle that the project ships, and how its network learns where damage lies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.decision import decide
from edge.synthetic import LABELS
from training.synthetic import Order

if TYPE_CHECKING:
    from pathlib import Path

FRESH_SEED = 20_000
"""No set that the bundle was made from has it."""


def test_the_committed_bundle_is_right_about_fresh_parts(demo_bundle: Path) -> None:
    """Of 500 parts that nobody has seen, the device's own path names at least 97% rightly, class by class."""
    order = Order(seed=FRESH_SEED, count=500)
    classifier = Classifier(bundles.read(demo_bundle))
    rule = classifier.bundle.manifest
    right = 0
    for index in range(order.count):
        part = order.render(index)
        scores = classifier.classify(part.pixels).scores.tolist()
        right += decide(scores, rule.labels, rule.thresholds).label == part.label
    assert right / order.count >= 0.97


def test_the_committed_bundle_is_small_and_knows_its_labels(demo_bundle: Path) -> None:
    """It stays below 2 MB, passes intact parts only, and names no place of the machine that made it."""
    read = bundles.read(demo_bundle)
    assert sum(path.stat().st_size for path in demo_bundle.rglob("*")) <= 2_000_000
    verdicts = {label.name: label.verdict for label in read.manifest.labels}
    assert verdicts == {label: "PASS" if label == "intact" else "DEFECT" for label in LABELS}
    for name, content in read.files.items():
        assert not re.search(rb"(?<![\w.])/(root|home|work|tmp|Users)/", content), name


def test_masks_teach_and_the_weights_start_the_ordinary_line(tmp_path: Path) -> None:
    """A short course changes every kernel, and the file it writes is what `--weights FILE` takes."""
    pytest.importorskip("tensorflow", reason="training needs TensorFlow")
    from training import backend

    backend.start(1)
    from training import demo_model
    from training.network import localise, model
    from training.recipe import Model, Recipe

    recipe, path = Recipe(model=Model(height=64, width=64)), tmp_path / "rendered.weights.h5"
    lessons = demo_model.lessons(Order(seed=1, count=40, width=64, height=64))
    course = localise.Course(title="a short course", size=32, pictures=32, batch=8, rate=3e-3, fade=0.5)
    (losses,) = localise.teach(lessons, recipe, path, seed=1, courses=[course])
    assert len(losses) == 4
    assert np.isfinite(losses).all()
    # `build` refuses a file that leaves a kernel at its random start.
    assert model.build(len(LABELS), recipe, str(path)).trunk.input.shape == (None, 64, 64, 3)


def test_crops_are_labelled_by_what_they_show() -> None:
    """A crop without damage is intact, one with most of it has its name, one with a little of it has no say."""
    pytest.importorskip("tensorflow", reason="training needs TensorFlow")
    from training import demo_model
    from training.network import localise

    lessons = demo_model.lessons(Order(seed=2, count=40, width=128, height=128))
    rng = np.random.default_rng(1)
    rows = rng.integers(40, size=400)
    pixels, masks, truth, weights = localise.cut(lessons, rows, 64, rng)
    whole = lessons.masks[rows].sum(axis=(1, 2), dtype=int)
    shown = masks.sum(axis=(1, 2), dtype=int)
    assert pixels.shape == (400, 64, 64, 3)
    assert np.array_equal(truth == localise.INTACT, (shown == 0) | (lessons.truth[rows] == localise.INTACT))
    assert np.array_equal(weights == 0, (shown > 0) & (2 * shown < whole))
    assert {0, 1} == set(weights.tolist())
    assert set(truth.tolist()) == set(range(len(LABELS)))
