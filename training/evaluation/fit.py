"""From the calibration part to the temperature and the thresholds that a manifest states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.classifier import softmax
from edge.contract.bundle import Thresholds
from training.evaluation.calibrate import temperature
from training.evaluation.evaluate import int8_logits
from training.evaluation.thresholds import choose, defect_scores

if TYPE_CHECKING:
    from edge.classifier import Classifier, Floats
    from training.data.dataset import Dataset
    from training.evaluation.promise import Evidence
    from training.evaluation.thresholds import Aim, Rule


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """What the calibration part gave."""

    logits: Floats
    """The device's, of the calibration part, [n, classes]."""
    temperature: float
    rule: Rule | None
    """None where every class means DEFECT: there is nothing to decide."""

    @property
    def thresholds(self) -> Thresholds:
        """The manifest's."""
        return self.rule.thresholds if self.rule else Thresholds()


def fit(classifier: Classifier, data: Dataset, aim: Aim, evidence: Evidence) -> Fitted:
    """Fit to what the device's int8 model says of pictures that taught it nothing; what its bundle states is not used.

    `evidence` says how they came about: see `choose`.
    """
    logits = int8_logits(classifier, data)
    degree = temperature(logits, data.truth)
    damaged = np.array([label.verdict == "DEFECT" for label in data.labels])
    if damaged.all():
        return Fitted(logits=logits, temperature=degree, rule=None)
    score = defect_scores(softmax(logits / np.float32(degree)), data.labels)
    rule = choose(score, damaged[data.truth], aim, evidence)
    return Fitted(logits=logits, temperature=degree, rule=rule)
