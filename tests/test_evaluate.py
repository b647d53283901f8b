from __future__ import annotations

import pytest

from edge.contract.bundle import Label
from training.evaluation.evaluate import Judgement, Result

LABELS = (
    Label(name="crack", verdict="DEFECT"),
    Label(name="good", verdict="PASS"),
    Label(name="wear", verdict="DEFECT"),
)


def judged(truth: str, label: str, verdict: str, float_label: str | None = None) -> Judgement:
    """One picture and what the device made of it."""
    return Judgement(
        file=f"{truth}/1.png",
        truth=truth,
        verdict=verdict,
        label=label,
        score=0.8,
        scores={"crack": 0.1, "good": 0.1, "wear": 0.8},
        float_label=float_label or label,
    )


RESULT = Result(
    LABELS,
    [
        judged("crack", "crack", "DEFECT"),
        judged("crack", "wear", "DEFECT", float_label="crack"),
        judged("crack", "good", "PASS"),
        judged("crack", "good", "UNKNOWN"),
        judged("good", "good", "PASS"),
        judged("good", "wear", "DEFECT"),
    ],
)


def test_figures_count_labels_and_verdicts_apart() -> None:
    """A crack called wear is a wrong label but no missed defect; UNKNOWN is neither a miss nor an alarm."""
    assert RESULT.metrics == {
        "accuracy_int8": pytest.approx(2 / 6, abs=1e-6),
        "accuracy_float": pytest.approx(3 / 6, abs=1e-6),
        "test_pictures": 6,
        "missed_defects": 0.25,
        "false_alarms": 0.5,
    }


def test_the_confusion_matrix_has_the_truth_in_its_rows() -> None:
    """Rows are true classes and columns what was said, in the labels' order."""
    assert RESULT.confusion.tolist() == [[1, 2, 1], [0, 1, 1], [0, 0, 0]]


def test_recall_and_precision_by_class() -> None:
    """Recall is of the class's pictures, precision of those that were given its name; none of either is None."""
    found = RESULT.per_class()
    assert found["crack"] == {"pictures": 4, "recall": 0.25, "precision": 1.0}
    assert found["good"] == {"pictures": 2, "recall": 0.5, "precision": pytest.approx(1 / 3, abs=1e-6)}
    assert found["wear"] == {"pictures": 0, "recall": None, "precision": 0.0}


def test_without_a_passing_class_there_is_nothing_to_miss() -> None:
    """A data set of defects only reports accuracies, not shares of nothing."""
    labels = tuple(Label(name=label.name, verdict="DEFECT") for label in LABELS)
    assert Result(labels, RESULT.judged).metrics.keys() == {"accuracy_int8", "accuracy_float", "test_pictures"}
