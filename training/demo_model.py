"""Makes the bundle that the demo ships: `python -m training.demo_model`.

Nothing but rendered parts goes in. A first set, with its masks, teaches a network from random weights where
damage lies; with those weights the ordinary line (edge-train build) learns from a second set, quantizes, and
judges a third one on the device's path.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.command import run_command
from edge.contract.bundle import Label
from edge.contract.preprocess import PreprocessSpec
from edge.synthetic import LABELS
from training import backend
from training.build import build
from training.data.dataset import Source
from training.evaluation.thresholds import Aim
from training.inputs import Inputs
from training.options import Options
from training.recipe import Augmentation, Features, Model, Recipe
from training.synthetic import Order, in_parallel

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels
    from training.network.localise import Lessons

DEMO_BUNDLE = Path(__file__).resolve().parent.parent / "edge" / "demo_bundle"
RECIPE = Recipe(
    model=Model(height=128, width=128),
    preprocess=PreprocessSpec(mode="centre-crop"),
    augmentation=Augmentation(
        crop=0.0, pad=0.0, contrast=0.05, brightness=0.03, temperature=0.0, noise=0.0, blur=0.0, jpeg=0.0, resampler=0.0
    ),
    features=Features(pictures=12_000),
)
"""Rendered parts already vary in place, light and noise as much as the camera's will.

They lie within the central square of a frame of any shape.
"""
_LABELS = tuple(Label(name=name, verdict="PASS" if name == "intact" else "DEFECT") for name in LABELS)
_LESSONS, _PICTURES, _TEST_PICTURES = 20_000, 6_000, 2_000


def main() -> int:
    """Parse the command line and make the bundle."""
    parser = argparse.ArgumentParser(prog="python -m training.demo_model", description="Train the demo's bundle again.")
    parser.add_argument("--out", type=Path, default=DEMO_BUNDLE, metavar="BUNDLE", help="default: edge/demo_bundle")
    parser.add_argument("--seed", type=int, default=1, help="of the rendered parts and the training (default 1)")
    arguments = parser.parse_args()
    return run_command("training.demo_model", partial(make, arguments.out, arguments.seed))


def make(out: Path, seed: int) -> int:
    """Render, train, evaluate and write the bundle; prints its figures."""
    backend.start(seed)
    from training.network import localise

    # Three sets in a row of seeds: no part is in two of them.
    taught = lessons(Order(seed=3 * seed, count=_LESSONS, width=RECIPE.model.width, height=RECIPE.model.height))
    inputs = Inputs(
        labels=_LABELS,
        folder=Path("rendered parts"),
        sources=_sources(Order(seed=3 * seed + 1, count=_PICTURES)),
        test_folder=Path("fresh rendered parts"),
        test_sources=_sources(Order(seed=3 * seed + 2, count=_TEST_PICTURES)),
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path(scratch, "rendered.weights.h5")
        localise.teach(taught, RECIPE, weights, seed=seed)
        options = Options(out=out, aim=Aim(), weights=str(weights), seed=seed, recipe=RECIPE)
        metrics = build(inputs, options).manifest.metrics
    print(f"{out}: {metrics['accuracy_int8']:.2%} of {_TEST_PICTURES} fresh parts right on the device's path")
    return 0


def _sources(order: Order) -> list[Source]:
    return [
        Source(order.name(index), order.label(index), partial(_pixels, order, index)) for index in range(order.count)
    ]


def _pixels(order: Order, index: int) -> Pixels:
    return order.render(index).pixels


def lessons(order: Order) -> Lessons:
    """Render a set for `localise.teach`."""
    from training.network.localise import CELL, Lessons

    pixels = np.empty((order.count, order.height, order.width, 3), np.uint8)
    masks = np.empty((order.count, order.height // CELL, order.width // CELL), np.uint8)
    work = partial(_lesson, order, CELL)
    for index, part in enumerate(in_parallel(work, order.count, f"rendering {order.count} lessons")):
        pixels[index], masks[index] = part
    return Lessons(pixels, masks, np.arange(order.count) % len(LABELS))


def _lesson(order: Order, cell: int, index: int) -> tuple[Pixels, Pixels]:
    """Return a part's pixels and the damaged pixels in each cell."""
    part = order.render(index)
    height, width = part.mask.shape
    return part.pixels, part.mask.reshape(height // cell, cell, width // cell, cell).sum(axis=(1, 3), dtype=np.uint8)


if __name__ == "__main__":
    sys.exit(main())
