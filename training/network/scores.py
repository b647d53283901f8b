"""What a stage of training came to, and how epochs are compared."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from training.data.dataset import Integers
    from training.network.model import Floats


@dataclass(frozen=True, slots=True, order=True)
class Score:
    """How a model does on the validation pictures; of two the greater is the better."""

    balanced_accuracy: float
    minus_loss: float
    """Cross-entropy in nats, negated: it decides between equal accuracies."""


NOTHING = Score(-1.0, -math.inf)
"""Worse than any model, however little that has learnt; of one whose loss is no number."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage of training came to, for the report."""

    name: str
    epochs: int
    batch: int
    """Pictures the largest step took, over all devices: what the recipe gives so many, or what memory allowed."""
    start: Score
    best: Score
    kept: bool
    """False: it made validation worse, and the weights from before it were put back."""
    loss: list[float] = field(default_factory=list)
    """Of the training pictures as they were varied, an epoch each."""
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    """Balanced: the mean of the classes' recalls."""

    def summary(self) -> dict[str, Any]:
        """Return plain values for report.json."""
        return asdict(self)


def score(logits: Floats, truth: Integers) -> Score:
    """Score logits [n, classes]: balanced accuracy over the classes that are there, and the loss.

    NOTHING if the loss is not finite: NaN compares with nothing, and the labels of such logits mean nothing.
    """
    import tensorflow as tf  # A checkpoint's notes hold a Score, and commands read them without TensorFlow.

    right = logits.argmax(axis=1) == truth
    recalls = [right[truth == label].mean() for label in np.unique(truth)]
    # Doubles: of logits near the largest single the sum is none any more.
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits.astype(np.float64))
    loss = float(np.mean(losses))
    return Score(float(np.mean(recalls)), -loss) if math.isfinite(loss) else NOTHING
