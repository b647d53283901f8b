"""Trains the network: on a pretrained trunk's cached features, or everything from scratch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from edge.errors import InspectError
from training import progress
from training.augment import augment
from training.model import batch_norms, join, normalise

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from training.dataset import Dataset, Integers
    from training.model import Network
    from training.recipe import Recipe

Inputs: TypeAlias = "npt.NDArray[np.floating[Any]]"
"""What one part of the network takes: [n, h, w, channels]."""


@dataclass(frozen=True, slots=True, order=True)
class Score:
    """How a model does on the validation pictures; of two the greater is the better."""

    accuracy: float
    minus_loss: float
    """Cross-entropy in nats, negated: it decides between equal accuracies."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage of training came to, for the report."""

    name: str
    epochs: int
    start: Score
    best: Score
    kept: bool
    """False: it made validation worse, and the weights from before it were put back."""

    def summary(self) -> dict[str, Any]:
        """Return plain values for report.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One stage: which model learns from what, and how long."""

    name: str
    model: Any
    draw: Callable[[Integers], Any]
    """Rows of the training set to the model's inputs, drawn anew each time."""
    truth: Integers
    held_inputs: Inputs
    held_truth: Integers
    pictures: int
    epochs: tuple[int, int]
    peak_rate: float


def train(
    network: Network, data: Dataset, held: Dataset, *, pretrained: bool, recipe: Recipe, seed: int
) -> list[Stage]:
    """Train in place on `data`; the best weights on `held` remain. Returns what each stage came to."""
    rng = np.random.default_rng(seed)
    if pretrained:
        return _on_features(network, data, held, recipe, rng)
    return [_from_scratch(network, data, held, recipe, rng)]


def _from_scratch(network: Network, data: Dataset, held: Dataset, recipe: Recipe, rng: np.random.Generator) -> Stage:
    task = _Task(
        name="from scratch",
        model=network.whole,
        draw=lambda rows: augment(data.pixels[rows], recipe, rng),
        truth=data.truth,
        held_inputs=normalise(held.pixels),
        held_truth=held.truth,
        pictures=recipe.scratch_pictures,
        epochs=recipe.scratch_epochs,
        peak_rate=recipe.scratch_rate,
    )
    return _fit(task, recipe, rng)


def _on_features(
    network: Network, data: Dataset, held: Dataset, recipe: Recipe, rng: np.random.Generator
) -> list[Stage]:
    """Converge the head on the frozen base's features, then fine-tune the top blocks with it."""
    passes = _feature_passes(network.trunk, data, recipe, rng)
    held_features = predict(network.trunk, normalise(held.pixels), recipe.batch)
    statistics = _moving_statistics(network)

    def pick(cache: Inputs) -> Callable[[Integers], Any]:
        return lambda rows: cache[rng.integers(len(cache), size=len(rows)), rows].astype(np.float32)

    pooled = np.stack([_pooled(network.tail, features, recipe) for features in passes])
    head = _Task(
        name="head",
        model=network.head,
        draw=pick(pooled),
        truth=data.truth,
        held_inputs=_pooled(network.tail, held_features, recipe),
        held_truth=held.truth,
        pictures=recipe.head_pictures,
        epochs=(20, 400),
        peak_rate=recipe.head_rate,
    )
    top = _Task(
        name="top blocks",
        model=join(network.tail, network.head),
        draw=pick(passes),
        truth=data.truth,
        held_inputs=held_features,
        held_truth=held.truth,
        pictures=recipe.tune_pictures,
        epochs=(4, 60),
        peak_rate=recipe.tune_rate,
    )
    stages = [_fit(head, recipe, rng), _fit(top, recipe, rng)]
    if not all(np.array_equal(a, b) for a, b in zip(statistics, _moving_statistics(network), strict=True)):
        raise InspectError("fine-tuning moved the batch normalisation's statistics: the model cannot be trusted")
    return stages


def _feature_passes(trunk: Any, data: Dataset, recipe: Recipe, rng: np.random.Generator) -> Inputs:
    """Return the trunk's features of every picture, plain and then augmented, float16 [passes, n, h, w, c]."""
    count = len(data.sources)
    passes = max(2, math.ceil(recipe.feature_pictures / count))
    features = np.empty((passes, count, *trunk.output.shape[1:]), np.float16)
    batches = _batches(np.arange(count), recipe.batch)
    run = tf.function(trunk, reduce_retracing=True)
    with progress.stage("features", passes * len(batches)) as advance:
        for index in range(passes):
            for rows in batches:
                pixels = data.pixels[rows]
                features[index, rows] = run(
                    augment(pixels, recipe, rng) if index else normalise(pixels), training=False
                )
                advance()
    return features


def _pooled(tail: Any, features: Inputs, recipe: Recipe) -> Inputs:
    """Finish the frozen base and pool: float32 [n, 1, 1, d], which the head takes like a whole map."""
    pooled: Inputs = np.concatenate(
        [
            predict(tail, part.astype(np.float32), recipe.batch).mean(axis=(1, 2), keepdims=True)
            for part in np.array_split(features, math.ceil(len(features) / 1024))
        ]
    )
    return pooled


def predict(model: Any, inputs: Inputs, batch: int) -> Any:
    """Run a model in inference mode over [n, ...]; the same as Keras' predict, but without its progress bar."""
    return model.predict(inputs, batch_size=batch, verbose=0)


def _moving_statistics(network: Network) -> list[npt.NDArray[np.float32]]:
    norms = [*batch_norms(network.trunk), *batch_norms(network.tail)]
    return [moving.numpy() for norm in norms for moving in (norm.moving_mean, norm.moving_variance)]


def _fit(task: _Task, recipe: Recipe, rng: np.random.Generator) -> Stage:
    """Run one stage and leave the model with the weights of the best epoch, or of before it if none was better."""
    epochs = _epochs(task)
    step = _make_step(task, recipe, epochs * math.ceil(len(task.truth) / recipe.batch))
    start = best = _score(task, recipe)
    weights = task.model.get_weights()
    with progress.stage(f"training {task.name}", epochs) as advance:
        for _ in range(epochs):
            order = rng.permutation(len(task.truth))
            losses = [step(task.draw(rows), task.truth[rows]) for rows in _batches(order, recipe.batch)]
            now = _score(task, recipe)
            if now > best:
                best, weights = now, task.model.get_weights()
            loss = float(np.mean([float(value) for value in losses]))
            advance(f"loss {loss:.3f}, validation loss {-now.minus_loss:.3f}, accuracy {now.accuracy:.1%}")
    task.model.set_weights(weights)
    return Stage(task.name, epochs, start, best, kept=best > start)


def _epochs(task: _Task) -> int:
    fewest, most = task.epochs
    return min(most, max(fewest, round(task.pictures / len(task.truth))))


def _make_step(task: _Task, recipe: Recipe, steps: int) -> Callable[[Any, Integers], Any]:
    """Return one optimisation step, AdamW with warm-up and cosine; it gives the batch's loss."""
    warm_up = max(1, round(recipe.warm_up * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=task.peak_rate, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    variables = task.model.trainable_variables
    optimizer.build(variables)
    classes = task.model.output["logits"].shape[-1]

    def step(inputs: Any, truth: Any) -> Any:
        target = tf.one_hot(truth, classes) * (1 - recipe.label_smoothing) + recipe.label_smoothing / classes
        with tf.GradientTape() as tape:
            logits = task.model(inputs, training=True)["logits"]
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return tf.function(step, reduce_retracing=True)  # type: ignore[no-any-return] # TensorFlow ships no types


def _score(task: _Task, recipe: Recipe) -> Score:
    logits = predict(task.model, task.held_inputs, recipe.batch)["logits"]
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(task.held_truth, logits)
    return Score(float(np.mean(logits.argmax(axis=1) == task.held_truth)), -float(np.mean(loss)))


def _batches(rows: Integers, size: int) -> list[Integers]:
    """Divide rows evenly: no batch is so small that its statistics mean little."""
    return np.array_split(rows, math.ceil(len(rows) / size))
