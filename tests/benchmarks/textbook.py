"""The textbook recipe for transfer learning, to compare with: what tutorials of Keras and Coral teach.

A frozen MobileNetV2 with mean pooling and a dense softmax head, pictures flipped and turned at random in every
epoch; ten epochs of the head alone, then ten of the layers above the hundredth at a hundredth of the rate. Every
epoch runs every picture through the whole network: as they vary, not even the frozen part can be computed once.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge.contract.preprocess import PreprocessSpec
from training import backend
from training.data import dataset

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.dataset import Dataset

SIDE = 224

_FROZEN_LAYERS = 100
_HEAD_EPOCHS, _TUNE_EPOCHS = 10, 10
_HEAD_RATE, _TUNE_RATE = 1e-3, 1e-5
_BATCH = 32


class Taught(NamedTuple):
    """What the recipe came to: float accuracy on the test pictures, and what it took."""

    accuracy: float
    wall_s: float
    cpu_s: float
    peak_mib: float = 0.0
    """The most that the process had resident, where it had one of its own."""


def apart(  # noqa: PLR0913 - what `teach` takes
    train: Path, test: Path, weights: Path, *, alpha: float, seed: int, steps: int = 0
) -> Taught:
    """Teach from folders per class, in a process of its own; reading the pictures is not part of the times."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_read_and_teach, train, test, weights, alpha, seed, steps).result()


def _read_and_teach(  # noqa: PLR0913, PLR0917 - what `apart` takes
    train: Path, test: Path, weights: Path, alpha: float, seed: int, steps: int
) -> Taught:
    backend.start(seed)
    labels = dataset.folder_labels(train, [])
    taught, judged = (
        dataset.read(labels, dataset.folder_sources(folder, labels), canvas=(SIDE, SIDE), spec=PreprocessSpec())
        for folder in (train, test)
    )
    return teach(taught, judged, weights, alpha=alpha, seed=seed, steps=steps)._replace(peak_mib=peak_mib())


def teach(  # noqa: PLR0913 - what the recipe depends on
    train: Dataset, test: Dataset, weights: Path, *, alpha: float, seed: int, steps: int = 0
) -> Taught:
    """Train as the textbook says, without validation, and score the float model on the test pictures.

    Each stage has its epochs, or as many more as come to so many `steps`.
    """
    import keras

    keras.utils.set_random_seed(seed)
    size = train.pixels.shape[1]
    base = keras.applications.MobileNetV2((size, size, 3), alpha, include_top=False, weights=None)
    base.load_weights(weights)
    base.trainable = False
    start = keras.Input((size, size, 3))
    value = keras.layers.RandomFlip("horizontal")(start)
    value = keras.layers.RandomRotation(0.2)(value)
    value = keras.layers.Rescaling(1 / 127.5, -1)(value)
    value = base(value, training=False)
    value = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(value))
    model = keras.Model(start, keras.layers.Dense(len(train.labels), "softmax")(value))
    wall, cpu = time.monotonic(), time.process_time()
    fewest = math.ceil(steps / math.ceil(len(train.truth) / _BATCH))
    _fit(model, train, _HEAD_RATE, max(_HEAD_EPOCHS, fewest))
    base.trainable = True
    for layer in base.layers[:_FROZEN_LAYERS]:
        layer.trainable = False
    _fit(model, train, _TUNE_RATE, max(_TUNE_EPOCHS, fewest))
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    right = model.predict(test.pixels, _BATCH, verbose=0).argmax(axis=1) == test.truth
    return Taught(float(np.mean(right)), wall, cpu)


def _fit(model: object, train: Dataset, rate: float, epochs: int) -> None:
    import keras

    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")  # type: ignore[attr-defined]
    model.fit(train.pixels, train.truth, _BATCH, epochs=epochs, verbose=0)  # type: ignore[attr-defined]


def peak_mib() -> float:
    """Return the most memory that this process and its children ever had resident, in MiB."""
    sizes = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(sizes) / 1024


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
