"""The textbook recipe for transfer learning, to compare with: what tutorials of Keras and Coral teach.

A frozen MobileNetV2 with mean pooling and a dense softmax head, pictures flipped and turned at random in every
epoch; ten epochs of the head alone, then ten of the layers above the hundredth at a hundredth of the rate. Every
epoch runs every picture through the whole network.
"""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.dataset import Dataset

_FROZEN_LAYERS = 100
_HEAD_EPOCHS, _TUNE_EPOCHS = 10, 10
_HEAD_RATE, _TUNE_RATE = 1e-3, 1e-5
_BATCH = 32


class Taught(NamedTuple):
    """What the recipe came to: float accuracy on the test pictures, and what it took."""

    accuracy: float
    wall_s: float
    cpu_s: float


def teach(train: Dataset, test: Dataset, weights: Path, *, alpha: float, seed: int) -> Taught:
    """Train as the textbook says, without validation, and score the float model on the test pictures."""
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
    _fit(model, train, _HEAD_RATE, _HEAD_EPOCHS)
    base.trainable = True
    for layer in base.layers[:_FROZEN_LAYERS]:
        layer.trainable = False
    _fit(model, train, _TUNE_RATE, _TUNE_EPOCHS)
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
