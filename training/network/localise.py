"""Teaches MobileNetV2 from random weights where the damage lies, by masks, and writes the weights to start from.

One label for a picture of which one pixel in three hundred is damaged teaches little: on the demo's parts a
network stays at chance for a quarter of an hour. So it learns from crops first, where the damage is large and
a step costs a quarter, and it learns from maps as well as from labels: two finer layers and the logit map must
each say which of their cells is damaged and how. On whole pictures the maps' weight then fades to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import msgspec
import numpy as np
import tensorflow as tf

from training import progress
from training.network import model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from edge.contract.preprocess import Pixels
    from training.data.dataset import Integers
    from training.recipe import Recipe

Batch: TypeAlias = "tuple[Pixels, Pixels, Integers, npt.NDArray[np.float32]]"
"""Pixels, masks, truth, and each picture's weight in the loss of the labels."""

CELL = 4
"""Masks are kept as counts of damaged pixels in squares of this side."""
INTACT = 0
_EYES = ("block_5_add", "block_12_add")
"""The layers that see at an eighth and a sixteenth of the picture's size; the logit map sees at a thirty-second."""
_STRIDES = (8, 16, 32)
_ENOUGH = 8
"""A cell is damaged from so many damaged pixels, or if it holds nearly the most of any cell."""
_DAMAGED_WEIGHT = 0.3
"""What all damaged cells of a batch weigh together, against the others' 1."""
_CENTRED = 0.65
"""Share of the damaged parts' crops that show the damage; the others lie anywhere."""
_MEMORY = 0.97
"""Of the moving statistics: Keras' 0.999 would still remember the crops at the end of the whole pictures."""
_NOTE_EVERY = 100
"""Steps between two lines of progress."""


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """What there is to learn from: pictures with their masks."""

    pixels: Pixels
    """uint8 [n, size, size, 3]."""
    masks: Pixels
    """uint8 [n, size / CELL, size / CELL]: the damaged pixels in each cell."""
    truth: Integers
    """int64 [n], INTACT or the kind of damage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One stage of learning."""

    title: str
    size: int  # pixels; below the lessons' size: crops
    pictures: int  # seen in all
    batch: int  # pictures a step
    rate: float  # AdamW's peak
    fade: float  # the share of the steps, at the end, in which the maps' weight falls to 0


COURSES = (
    Course(title="learning from crops", size=64, pictures=90_000, batch=64, rate=3e-3, fade=0.0),
    Course(title="learning from whole pictures", size=128, pictures=45_000, batch=32, rate=1.5e-3, fade=0.3),
)


def teach(
    lessons: Lessons, recipe: Recipe, path: Path, *, seed: int, courses: Sequence[Course] = COURSES
) -> list[list[float]]:
    """Train through all courses and write MobileNetV2's weights without its top to `path`, a .weights.h5 file.

    Returns the loss of every step of each course.
    """
    rng = np.random.default_rng(seed)
    labels = int(lessons.truth.max()) + 1
    weights = None
    losses = []
    for course in courses:
        network = model.build(labels, _sized(recipe, course.size), None)
        for norm in model.batch_norms(network):
            norm.momentum = _MEMORY
        student = _with_eyes(network, labels)
        if weights is not None:
            student.set_weights(weights)
        losses.append(_attend(student, course, lessons, recipe, rng))
        weights = student.get_weights()
    _save(network, recipe, path)
    return losses


def _sized(recipe: Recipe, size: int) -> Recipe:
    return msgspec.structs.replace(recipe, model=msgspec.structs.replace(recipe.model, height=size, width=size))


def _save(network: model.Network, recipe: Recipe, path: Path) -> None:
    """Write the weights by the names that Keras' own MobileNetV2 has for its layers."""
    base = keras.applications.MobileNetV2(
        (recipe.model.height, recipe.model.width, 3), recipe.model.alpha, include_top=False, weights=None
    )
    learnt = {layer.name: layer.get_weights() for part in (network.trunk, network.tail) for layer in part.layers}
    for layer in base.layers:
        if layer.weights:
            layer.set_weights(learnt[layer.name])
    base.save_weights(path)


def _with_eyes(network: model.Network, labels: int) -> Any:
    """Return the network with a map of labels at each of the finer layers besides its own outputs."""
    eyes = [network.trunk.get_layer(name).output for name in _EYES]
    trunk = keras.Model(network.trunk.input, [network.trunk.output, *eyes])
    start = keras.Input(network.trunk.input.shape[1:])
    end, *seen = trunk(start)
    outputs = network.head(network.tail(end))
    maps = [keras.layers.Conv2D(labels, 1)(features) for features in seen]
    return keras.Model(start, {"logits": outputs["logits"], "maps": [*maps, outputs["logit_map"]]})


def _attend(student: Any, course: Course, lessons: Lessons, recipe: Recipe, rng: np.random.Generator) -> list[float]:
    steps = course.pictures // course.batch
    step = _make_step(student, course, recipe, steps)
    losses: list[float] = []
    with progress.stage(course.title, steps) as advance:
        for number in range(steps):
            rows = rng.integers(len(lessons.truth), size=course.batch)
            pixels, masks, truth, weights = _turned(cut(lessons, rows, course.size, rng), rng)
            left = (steps - number) / steps
            share = min(1.0, left / course.fade) if course.fade else 1.0
            cells = [_cells(masks, truth, stride) for stride in _STRIDES]
            losses.append(float(step(pixels, truth, weights, cells, np.float32(share))))
            noted = number % _NOTE_EVERY == _NOTE_EVERY - 1
            advance(f"loss {np.mean(losses[-_NOTE_EVERY:]):.3f}" if noted else "")
    return losses


def _make_step(student: Any, course: Course, recipe: Recipe, steps: int) -> Callable[..., Any]:
    """Return one optimisation step, AdamW with warm-up and cosine; it gives the loss of the labels."""
    warm_up = max(1, round(recipe.warm_up * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), alpha=0.02, warmup_target=course.rate, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.loss.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    variables = student.trainable_variables
    optimizer.build(variables)

    def step(pixels: Any, truth: Any, weights: Any, cells: list[Any], share: Any) -> Any:
        """Take one step towards labels and masks; returns the labels' loss in nats."""
        with tf.GradientTape() as tape:
            outputs = student((tf.cast(pixels, tf.float32) - 128) / 128, training=True)
            labels = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, outputs["logits"])
            of_labels = tf.math.divide_no_nan(tf.reduce_sum(weights * labels), tf.reduce_sum(weights))
            of_maps = [_map_loss(*pair) for pair in zip(cells, outputs["maps"], strict=True)]
            loss = of_labels + share * tf.add_n(of_maps)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return of_labels

    return tf.function(step, reduce_retracing=True)  # type: ignore[no-any-return] # TensorFlow ships no types


def _map_loss(cells: Any, logits: Any) -> Any:
    """Return the cross-entropy over cells, in which the few damaged ones weigh _DAMAGED_WEIGHT together."""
    damaged = tf.cast(cells != INTACT, tf.float32)
    weights = tf.where(cells != INTACT, _DAMAGED_WEIGHT / tf.maximum(tf.reduce_mean(damaged), 0.01), 1.0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(cells, logits)
    return tf.reduce_sum(weights * losses) / tf.reduce_sum(weights)


def _cells(masks: Pixels, truth: Integers, stride: int) -> Integers:
    """Return the label of each cell of a map, int64 [n, h, w]."""
    count, height, width = masks.shape
    each = stride // CELL
    sums = masks.reshape(count, height // each, each, width // each, each).sum(axis=(2, 4), dtype=np.int64)
    most = sums.max(axis=(1, 2), keepdims=True)
    enough = np.clip(np.minimum(_ENOUGH, 0.9 * most), 1, None)
    return np.where(sums >= enough, truth[:, np.newaxis, np.newaxis], INTACT)


def cut(lessons: Lessons, rows: Integers, size: int, rng: np.random.Generator) -> Batch:
    """Cut a square of `size` out of each picture of `rows`, on the grid of the finest map."""
    pixels = np.empty((len(rows), size, size, 3), np.uint8)
    masks = np.empty((len(rows), size // CELL, size // CELL), np.uint8)
    truth, weights = lessons.truth[rows], np.ones(len(rows), np.float32)
    for place, row in enumerate(rows):
        mask = lessons.masks[row]
        top, left = _corner(mask, size, lessons.pixels.shape[1] - size, rng)
        pixels[place] = lessons.pixels[row, top : top + size, left : left + size]
        part = mask[top // CELL : (top + size) // CELL, left // CELL : (left + size) // CELL]
        masks[place] = part
        if not part.any():
            truth[place] = INTACT
        elif 2 * part.sum(dtype=int) < mask.sum(dtype=int):
            # Too little of the damage to name it, too much to call it intact: only the maps learn from it.
            weights[place] = 0
    return pixels, masks, truth, weights


def _corner(mask: Pixels, size: int, room: int, rng: np.random.Generator) -> Integers:
    """Draw a crop's top and left within 0 to `room`, mostly so that damage lies well inside."""
    corner = rng.uniform(0, room + 1, 2)
    if mask.any() and rng.random() < _CENTRED:
        middle = CELL * np.argwhere(mask).mean(axis=0)
        corner = middle - size / 2 + size * rng.uniform(-0.3, 0.3, 2)
    grid = _STRIDES[0]
    return np.clip(np.round(corner / grid).astype(np.int64) * grid, 0, room // grid * grid)


def _turned(batch: Batch, rng: np.random.Generator) -> Batch:
    """Turn and mirror: of the eight ways to lay a square, each quarter of the batch gets one."""
    pixels, masks, truth, weights = batch
    for rows in np.array_split(np.arange(len(truth)), 4):
        turns, mirror = int(rng.integers(4)), 1 - 2 * int(rng.integers(2))
        pixels[rows] = np.rot90(pixels[rows], turns, (1, 2))[:, :, ::mirror]
        masks[rows] = np.rot90(masks[rows], turns, (1, 2))[:, :, ::mirror]
    return pixels, masks, truth, weights
