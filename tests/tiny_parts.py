"""A small data set of drawn parts that a tiny model learns in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from edge.contract.preprocess import PreprocessSpec
from training.data import dataset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge.contract.preprocess import Pixels
    from training.data.dataset import Dataset

CLASSES = ("intact", "scratch", "spot")
SIZE = 32


def draw(kind: str, seed: int) -> Pixels:
    """Draw one part, uint8 [40, 48, 3]: plain, with a bright line, or with a dark disc, on noise."""
    rng = np.random.default_rng([seed, CLASSES.index(kind)])
    image = Image.fromarray(rng.integers(110, 146, (40, 48, 3), dtype=np.uint8))
    pen = ImageDraw.Draw(image)
    x, y = rng.integers(14, 34), rng.integers(14, 26)
    if kind == "scratch":
        pen.line((x - 12, y - 10, x + 12, y + 10), fill=(250, 250, 250), width=4)
    if kind == "spot":
        pen.ellipse((x - 9, y - 9, x + 9, y + 9), fill=(10, 10, 10))
    return np.asarray(image)


def make_folder(folder: Path, *, each: int = 12, start: int = 0, classes: Sequence[str] = CLASSES) -> Path:
    """Write a folder per class with so many pictures; other starts give other pictures."""
    for kind in classes:
        (folder / kind).mkdir(parents=True)
        for seed in range(start, start + each):
            Image.fromarray(draw(kind, seed)).save(folder / kind / f"{seed:03}.png")
    return folder


def read_folder(folder: Path, *, skip_bad: bool = False) -> Dataset:
    """Read a folder with `intact` as the passing class, at SIZE."""
    labels = dataset.folder_labels(folder, ["intact"])
    sources = dataset.folder_sources(folder, labels)
    return dataset.read(labels, sources, canvas=(SIZE, SIZE), spec=PreprocessSpec(), skip_bad=skip_bad)


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run edge-train as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "training", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


RECIPE = """
[model]
backbone = "mobilenet-v1"
alpha = 0.25
height = 32
width = 32
[features]
pictures = 100
passes = [2, 4]
[head]
pictures = 2000
epochs = [10, 40]
rate = 1e-2
[top]
pictures = 200
epochs = [2, 4]
rate = 3e-4
[all]
pictures = 0
epochs = [1, 1]
rate = 5e-5
"""
"""What a tiny data set needs, in seconds; its weights are those of `save_weights`."""


SCRATCH = """
[model]
backbone = "mobilenet-v1"
alpha = 0.25
height = 32
width = 32
[scratch]
pictures = 4000
epochs = [4, 20]
rate = 5e-3
"""
"""What a tiny data set needs to be learnt without weights."""


def save_weights(path: Path) -> Path:
    """Save random weights of RECIPE's backbone whose activations are as large as trained ones'."""
    from training import backend

    backend.start(987)  # Another than that of builds: weights that were there before would count as missing.
    import keras

    base = keras.applications.MobileNet(input_shape=(SIZE, SIZE, 3), alpha=0.25, include_top=False, weights=None)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    pictures = np.stack([draw(kind, seed)[4:36, 8:40] for kind in CLASSES for seed in range(900, 912)])
    base((pictures.astype(np.float32) - 128) / 128, training=True)
    base.save_weights(path)
    return path
