"""Trains the network: on a pretrained trunk's cached features, or everything from scratch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from edge.errors import InspectError
from training import progress
from training.data.augment import augment
from training.network import features
from training.network.model import batch_norms, join, normalise

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from training.data.dataset import Dataset, Integers
    from training.data.split import Parts
    from training.network.features import Inputs
    from training.network.model import Network
    from training.recipe import Recipe


@dataclass(frozen=True, slots=True, order=True)
class Score:
    """How a model does on the validation pictures; of two the greater is the better."""

    accuracy: float
    minus_loss: float
    """Cross-entropy in nats, negated: it decides between equal accuracies."""


_NOTHING = Score(-1.0, -math.inf)
"""Worse than any model, however little that has learnt."""


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
    earlier: bool = False
    """Whether the model is already worth keeping should validation get worse."""


def train(network: Network, parts: Parts, *, pretrained: bool, recipe: Recipe, seed: int) -> list[Stage]:
    """Train in place; the weights that do best on the validation part remain. Returns what each stage came to."""
    rng = np.random.default_rng(seed)
    learn = _on_features if pretrained else _from_scratch
    return learn(network, parts.train, parts.validation, recipe, rng)


def _from_scratch(
    network: Network, data: Dataset, held: Dataset, recipe: Recipe, rng: np.random.Generator
) -> list[Stage]:
    task = _Task(
        name="from scratch",
        model=network.whole,
        draw=lambda rows: augment(data.pixels[rows], recipe.augmentation, rng),
        truth=data.truth,
        held_inputs=normalise(held.pixels),
        held_truth=held.truth,
        pictures=recipe.scratch.pictures,
        epochs=recipe.scratch.epochs,
        peak_rate=recipe.scratch.rate,
    )
    for norm in [*batch_norms(network.trunk), *batch_norms(network.tail)]:
        norm.momentum = recipe.scratch_momentum
    return [_fit(task, recipe, rng)]


def _on_features(
    network: Network, data: Dataset, held: Dataset, recipe: Recipe, rng: np.random.Generator
) -> list[Stage]:
    """Converge the head on the frozen base's features, then fine-tune the top blocks with it."""
    passes = features.cache(network.trunk, data, recipe, rng)
    held_features = features.inference(network.trunk, recipe.batch)(normalise(held.pixels))
    statistics = _moving_statistics(network)

    def pick(cache: Inputs) -> Callable[[Integers], Any]:
        return lambda rows: cache[rng.integers(len(cache), size=len(rows)), rows].astype(np.float32)

    pooled = np.stack([features.pool(network.tail, each, recipe) for each in passes])
    head = _Task(
        name="head",
        model=network.head,
        draw=pick(pooled),
        truth=data.truth,
        held_inputs=features.pool(network.tail, held_features, recipe),
        held_truth=held.truth,
        pictures=recipe.head.pictures,
        epochs=recipe.head.epochs,
        peak_rate=recipe.head.rate,
    )
    top = _Task(
        name="top blocks",
        model=join(network.tail, network.head),
        draw=pick(passes),
        truth=data.truth,
        held_inputs=held_features,
        held_truth=held.truth,
        pictures=recipe.top.pictures,
        epochs=recipe.top.epochs,
        peak_rate=recipe.top.rate,
        earlier=True,
    )
    stages = [_fit(head, recipe, rng), _fit(top, recipe, rng)]
    if not all(np.array_equal(a, b) for a, b in zip(statistics, _moving_statistics(network), strict=True)):
        raise InspectError("fine-tuning moved the batch normalisation's statistics: the model cannot be trusted")
    return stages


def _moving_statistics(network: Network) -> list[npt.NDArray[np.float32]]:
    norms = [*batch_norms(network.trunk), *batch_norms(network.tail)]
    return [moving.numpy() for norm in norms for moving in (norm.moving_mean, norm.moving_variance)]


def _fit(task: _Task, recipe: Recipe, rng: np.random.Generator) -> Stage:
    """Run one stage and leave the weights of its best epoch, or the earlier ones if no epoch was better."""
    epochs = _epochs(task)
    step = _make_step(task, recipe)
    infer = features.inference(task.model, recipe.batch)
    start = _score(infer, task)
    best = start if task.earlier else _NOTHING
    weights = task.model.get_weights()
    with progress.stage(f"training {task.name}", epochs) as advance:
        for _ in range(epochs):
            order = rng.permutation(len(task.truth))
            losses = [step(task.draw(rows), task.truth[rows]) for rows in features.batches(order, _batch(task, recipe))]
            now = _score(infer, task)
            if now > best:
                best, weights = now, task.model.get_weights()
            loss = float(np.mean([float(value) for value in losses]))
            advance(f"loss {loss:.3f}, validation loss {-now.minus_loss:.3f}, accuracy {now.accuracy:.1%}")
    task.model.set_weights(weights)
    return Stage(task.name, epochs, start, best, kept=best is not start)


def _epochs(task: _Task) -> int:
    fewest, most = task.epochs
    return min(most, max(fewest, round(task.pictures / len(task.truth))))


def _batch(task: _Task, recipe: Recipe) -> int:
    return min(recipe.batch, max(16, len(task.truth) // 8))


def _steps(task: _Task, recipe: Recipe) -> int:
    return _epochs(task) * math.ceil(len(task.truth) / _batch(task, recipe))


def _make_step(task: _Task, recipe: Recipe) -> Callable[[Any, Integers], Any]:
    """Return one optimisation step, AdamW with warm-up and cosine; it gives the batch's loss."""
    steps = _steps(task, recipe)
    warm_up = max(1, round(recipe.warm_up * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=task.peak_rate, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.loss.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    variables = task.model.trainable_variables
    optimizer.build(variables)
    classes = task.model.output["logits"].shape[-1]

    def step(inputs: Any, truth: Any) -> Any:
        target = tf.one_hot(truth, classes) * (1 - recipe.loss.label_smoothing) + recipe.loss.label_smoothing / classes
        with tf.GradientTape() as tape:
            logits = task.model(inputs, training=True)["logits"]
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return tf.function(step, reduce_retracing=True)  # type: ignore[no-any-return] # TensorFlow ships no types


def _score(infer: Callable[[Inputs], Any], task: _Task) -> Score:
    logits = infer(task.held_inputs)
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(task.held_truth, logits)
    return Score(float(np.mean(logits.argmax(axis=1) == task.held_truth)), -float(np.mean(loss)))
