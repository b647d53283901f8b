"""Judges held-out pictures through the device's own classifier and decision, and counts what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.classifier import softmax
from edge.contract.messages import Verdict
from edge.decision import decide
from training import progress
from training.network.model import normalise
from training.network.pooled import inference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.classifier import Classifier
    from edge.contract.bundle import Label
    from training.data.dataset import Dataset, Integers
    from training.network.model import Network

_DIGITS = 6
_BATCH = 64


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


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Everything that the report says of the held-out pictures; row i of `judged` is row i of that set."""

    labels: tuple[Label, ...]
    judged: list[Judgement]

    @property
    def metrics(self) -> dict[str, float]:
        """Return the manifest's figures: shares 0-1 of the held-out pictures, and how many those are.

        Where some class means intact: `missed_defects` is the share of damaged parts judged PASS,
        `false_alarms` that of intact parts judged DEFECT.
        """
        figures = {
            "accuracy_int8": _share([j.right for j in self.judged]),
            "accuracy_float": _share([j.float_label == j.truth for j in self.judged]),
            "test_pictures": float(len(self.judged)),
        }
        intact = {label.name for label in self.labels if label.verdict == "PASS"}
        if intact:
            damaged = [j for j in self.judged if j.truth not in intact]
            figures["missed_defects"] = _share([j.verdict == Verdict.PASS for j in damaged])
            figures["false_alarms"] = _share([j.verdict == Verdict.DEFECT for j in self.judged if j.truth in intact])
        return {name: round(value, _DIGITS) for name, value in figures.items()}

    @property
    def confusion(self) -> Integers:
        """Count true class (rows) against the device's label (columns), both in the labels' order."""
        index = {label.name: i for i, label in enumerate(self.labels)}
        table = np.zeros((len(self.labels), len(self.labels)), np.int64)
        for j in self.judged:
            table[index[j.truth], index[j.label]] += 1
        return table

    def per_class(self) -> dict[str, dict[str, Any]]:
        """Return the count of each class, its recall and precision, 0-1 or None of nothing."""
        table = self.confusion
        result = {}
        for i, label in enumerate(self.labels):
            right, pictures, named = (int(n) for n in (table[i, i], table[i].sum(), table[:, i].sum()))
            result[label.name] = {
                "pictures": pictures,
                "recall": round(right / pictures, _DIGITS) if pictures else None,
                "precision": round(right / named, _DIGITS) if named else None,
            }
        return result

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json."""
        return {
            "metrics": self.metrics,
            "per_class": self.per_class(),
            "confusion": self.confusion.tolist(),
            "test": [
                {"file": j.file, "truth": j.truth, "verdict": j.verdict, "label": j.label, "score": j.score}
                for j in self.judged
            ],
        }


def evaluate(classifier: Classifier, network: Network, test: Dataset) -> Result:
    """Classify every original of `test` as the daemon does, and its cached pixels with the float model."""
    rule = classifier.bundle.manifest
    names = [label.name for label in test.labels]
    logits = inference(network.whole, _BATCH)(normalise(test.pixels))
    judged = []
    with progress.stage("evaluating", len(test.sources)) as advance:
        for source, before in zip(test.sources, softmax(logits / rule.temperature), strict=True):
            scores = classifier.classify(source.load()).scores.tolist()
            decision = decide(scores, rule.labels, rule.thresholds)
            judged.append(
                Judgement(
                    file=source.name,
                    truth=names[source.label],
                    verdict=str(decision.verdict),
                    label=str(decision.label),
                    score=round(float(decision.score or 0), _DIGITS),
                    scores={name: round(s, _DIGITS) for name, s in zip(names, scores, strict=True)},
                    float_label=str(decide(before.tolist(), rule.labels, rule.thresholds).label),
                )
            )
            advance()
    return Result(test.labels, judged)


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)
