"""Fits one model to one stage of a recipe: the best weights on validation stay, and a stopped run goes on."""

from __future__ import annotations

import math
import sys
import weakref
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from training import progress
from training.network.memory import at_once
from training.network.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from training.data.dataset import Integers
    from training.network.checkpoint import Checkpoint
    from training.network.model import Floats
    from training.network.scores import Stage
    from training.recipe import Loss, Recipe
    from training.recipe import Stage as Plan

_SMALLEST_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Task:
    """One stage: which model learns from what, and how long."""

    name: str
    model: Any
    """Inputs to logits [n, classes]."""
    plan: Plan
    draw: Callable[[Integers, np.random.Generator], Any]
    """Rows of the training set to the model's inputs, arrays of a row each, drawn anew each time."""
    truth: Integers
    held: tuple[Any, ...]
    """The validation pictures' inputs."""
    held_truth: Integers
    classes: int
    earlier: bool = False
    """Whether the model is already worth keeping should validation get worse."""

    @property
    def at_once(self) -> int:
        """How many pictures a step of one device may take, 1 at least."""
        return at_once(self.model.parts, [given.shape[1:] for given in self.held])


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a stage goes through its pictures."""

    epochs: int
    """At most."""
    steps: int
    """Of each epoch."""
    batch: int
    """Pictures that the largest step takes, over all devices."""


def fit(task: Task, recipe: Recipe, *, seed: int, checkpoint: Checkpoint, logs: Path | None = None) -> Stage:
    """Run one stage and leave the weights of its best epoch, or the earlier ones if no epoch was better.

    Raises DivergedError naming the stage and its rate if it diverged and there are no earlier ones.
    """
    schedule = _schedule(task, recipe)
    epochs = schedule.epochs
    _compile(task, recipe, epochs * schedule.steps)
    watcher = Watcher(task, schedule, checkpoint=checkpoint, logs=logs)
    if not watcher.begin():
        _say_smaller(task, recipe, schedule)
        batches = _batches(task, recipe, schedule.steps, seed, first=watcher.epoch)
        with progress.stage(f"training {task.name}", epochs, done=watcher.epoch) as watcher.advance:
            task.model.fit(
                batches,
                shuffle=False,
                epochs=epochs,
                initial_epoch=watcher.epoch,
                steps_per_epoch=schedule.steps,
                callbacks=[watcher],
                verbose=0,
            )
    return watcher.end()


def _schedule(task: Task, recipe: Recipe) -> Schedule:
    (fewest, most), count = task.plan.epochs, len(task.truth)
    devices: int = tf.distribute.get_strategy().num_replicas_in_sync
    steps = math.ceil(count / min(_asked(task, recipe), task.at_once * devices))
    epochs = min(most, max(fewest, round(task.plan.pictures / count)))
    return Schedule(epochs=epochs, steps=steps, batch=math.ceil(count / steps))


def _asked(task: Task, recipe: Recipe) -> int:
    """Return how many pictures a step takes at most, if it were for the recipe alone."""
    return min(recipe.batch, max(_SMALLEST_BATCH, len(task.truth) // 8))


def _say_smaller(task: Task, recipe: Recipe, schedule: Schedule) -> None:
    """Tell of a batch that memory cut down: the rate was meant for a larger one."""
    asked = _asked(task, recipe)
    if schedule.steps > math.ceil(len(task.truth) / asked):
        told = f"steps of {schedule.batch} instead of {asked} pictures, as many as memory allows"
        print(f"training {task.name}: {told}", file=sys.stderr)


def _compile(task: Task, recipe: Recipe, steps: int) -> None:
    """AdamW with warm-up and cosine; weight decay on kernels alone."""
    warm_up = max(1, round(recipe.warm_up * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=task.plan.rate, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.loss.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    task.model(tuple(given[:1].astype(np.float32) for given in task.held))
    task.model.compile(optimizer, _loss(recipe.loss))
    optimizer.build(task.model.trainable_variables)


def _loss(loss: Loss) -> Any:
    """Return the cross-entropy of smoothed targets, or the focal one (Lin et al. 2017), on logits."""
    common = {"from_logits": True, "label_smoothing": loss.label_smoothing}
    if loss.focal_gamma:
        return keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=loss.focal_gamma, **common)
    return keras.losses.CategoricalCrossentropy(**common)


def _batches(task: Task, recipe: Recipe, steps: int, seed: int, *, first: int) -> Any:
    """Return a tf.data pipeline of (inputs, targets, weights) without end, drawn while the model learns.

    Each epoch has random numbers of its own: from epoch `first` on a resumed run sees what it would have seen.
    """
    weights = class_weights(task.truth, task.classes, recipe.loss.class_balance)
    shapes, classes = [(None, *given.shape[1:]) for given in task.held], task.classes
    name, count = task.name, len(task.truth)
    # TensorFlow keeps the functions below until the process ends: they must not keep the pictures too.
    learning = weakref.ref(task)
    devices = tf.distribute.get_strategy().num_replicas_in_sync

    def rows() -> Iterator[tuple[Integers, int]]:
        """Yield the rows of each batch, int64 [n], and a seed of its own."""
        epoch, stage = first, zlib.crc32(name.encode())
        while True:
            rng = np.random.default_rng([seed, stage, epoch])
            order = rng.permutation(count)
            for part in np.array_split(order, steps):
                # Every device takes the same share, some pictures twice if it does not come out even.
                yield np.resize(part, math.ceil(len(part) / devices) * devices), int(rng.integers(2**62))
            epoch += 1

    def draw(part: Integers, key: int) -> list[Any]:
        """Draw the batch of these rows; what is still drawn ahead once the stage is over ends here."""
        task = learning()
        if task is None:
            raise StopIteration
        return _draw(task, part, np.random.default_rng(int(key)), weights, recipe.loss.mixup)

    kinds = [tf.float32] * (len(shapes) + 2)

    def load(part: Any, key: Any) -> Any:
        """Draw it outside of the graph, and tell the graph what comes."""
        *inputs, target, weight = tf.numpy_function(draw, [part, key], kinds, stateful=False)
        for given, shape in zip(inputs, shapes, strict=True):
            given.set_shape(shape)
        target.set_shape((None, classes))
        weight.set_shape((None,))
        return tuple(inputs), target, weight

    signature = (tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.int64))
    return (
        tf.data.Dataset.from_generator(rows, output_signature=signature)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def _draw(task: Task, rows: Integers, rng: np.random.Generator, weights: Floats, mixup: float) -> list[Any]:
    """Return one batch: its inputs, targets float32 [n, classes] and weights float32 [n]."""
    inputs = [np.asarray(given, np.float32) for given in task.draw(rows, rng)]
    target, weight = np.eye(task.classes, dtype=np.float32)[task.truth[rows]], weights[task.truth[rows]]
    if mixup:
        # Zhang et al., mixup (2018): one share for the batch, each picture with another one of it.
        share, other = np.float32(rng.beta(mixup, mixup)), rng.permutation(len(rows))
        inputs = [share * given + (1 - share) * given[other] for given in inputs]
        target, weight = (share * each + (1 - share) * each[other] for each in (target, weight))
    return [*inputs, target, weight]


def class_weights(truth: Integers, classes: int, balance: float) -> Floats:
    """Return float32 [classes]: each class's frequency to the power -balance, 1 on average over all pictures."""
    counts = np.maximum(1, np.bincount(truth, minlength=classes))
    raw = (counts / counts.mean()) ** -balance
    result: Floats = (raw / np.average(raw, weights=counts)).astype(np.float32)
    return result
