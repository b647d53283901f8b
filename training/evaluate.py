"""Judges held-out pictures through the device's own classifier and decision, and counts what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.classifier import softmax
from edge.contract.messages import Verdict
from edge.decision import decide
from training import progress
from training.model import normalise
from training.train import predict

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from edge.classifier import Classifier
    from edge.contract.bundle import Bundle, Label
    from edge.decision import Decision
    from training.dataset import Dataset, Integers
    from training.model import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the device says of one held-out picture, beside the truth. All labels are class names."""

    file: str
    truth: str
    verdict: str
    label: str
    score: float
    scores: dict[str, float]
    float_label: str
    """What the model said before it was quantized."""

    @property
    def right(self) -> bool:
        """Whether the device names the true class."""
        return self.label == self.truth

    @property
    def truth_score(self) -> float:
        """The score that the device gave to the true class: the lower, the worse the mistake."""
        return self.scores[self.truth]


def judge(classifier: Classifier, network: Network, test: Dataset) -> list[Judgement]:
    """Classify every original of `test` as the daemon does, and its cached pixels with the float model."""
    bundle = classifier.bundle
    names = [label.name for label in test.labels]
    logits = predict(network.whole, normalise(test.pixels), 64)["logits"]
    found = []
    with progress.stage("evaluating", len(test.sources)) as advance:
        for source, before in zip(test.sources, softmax(logits / bundle.manifest.temperature), strict=True):
            scores = classifier.classify(source.load()).scores
            decision = _decide(scores, bundle)
            found.append(
                Judgement(
                    file=source.name,
                    truth=names[source.label],
                    verdict=str(decision.verdict),
                    label=str(decision.label),
                    score=round(float(decision.score or 0), 6),
                    scores={name: round(float(s), 6) for name, s in zip(names, scores, strict=True)},
                    float_label=str(_decide(before, bundle).label),
                )
            )
            advance()
    return found


def _decide(scores: npt.NDArray[np.float32], bundle: Bundle) -> Decision:
    return decide([float(score) for score in scores], bundle.manifest.labels, bundle.manifest.thresholds)


def metrics(judged: Sequence[Judgement], labels: Sequence[Label]) -> dict[str, float]:
    """Return the manifest's figures: shares 0-1 of the held-out pictures, and how many those are.

    Where some class means intact: `missed_defects` is the share of damaged parts judged PASS,
    `false_alarms` that of intact parts judged DEFECT.
    """
    figures = {
        "accuracy_int8": _share([j.right for j in judged]),
        "accuracy_float": _share([j.float_label == j.truth for j in judged]),
        "test_pictures": float(len(judged)),
    }
    intact = {label.name for label in labels if label.verdict == "PASS"}
    if intact:
        figures["missed_defects"] = _share([j.verdict == Verdict.PASS for j in judged if j.truth not in intact])
        figures["false_alarms"] = _share([j.verdict == Verdict.DEFECT for j in judged if j.truth in intact])
    return {name: round(value, 6) for name, value in figures.items()}


def confusion(judged: Sequence[Judgement], labels: Sequence[Label]) -> Integers:
    """Count true class (rows) against the device's label (columns), both in the labels' order."""
    index = {label.name: i for i, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), np.int64)
    for j in judged:
        table[index[j.truth], index[j.label]] += 1
    return table


def per_class(table: Integers, labels: Sequence[Label]) -> dict[str, dict[str, Any]]:
    """Return recall and precision (0-1; precision None for a class never named) and the count of each class."""
    result = {}
    for i, label in enumerate(labels):
        named = int(table[:, i].sum())
        result[label.name] = {
            "pictures": int(table[i].sum()),
            "recall": round(float(table[i, i] / table[i].sum()), 6),
            "precision": round(float(table[i, i] / named), 6) if named else None,
        }
    return result


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)
