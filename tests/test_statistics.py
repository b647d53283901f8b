from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics

from training.evaluation.statistics import (
    Confusion,
    Share,
    brier,
    calibration_error,
    chance_calibration_error,
    log_loss,
    lower_bound,
    precision_recall,
    reliability,
    roc,
    trade_off,
    upper_bound,
)

RNG = np.random.default_rng(1)


@given(st.integers(1, 400).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_bounds_are_clopper_and_pearsons(counts: tuple[int, int]) -> None:
    """One-sided bounds and the two-sided interval agree with SciPy's exact method for any counts."""
    hits, total = counts
    upper = binomtest(hits, total, alternative="less").proportion_ci(0.95, "exact").high
    lower = binomtest(hits, total, alternative="greater").proportion_ci(0.95, "exact").low
    assert (lower_bound(hits, total), upper_bound(hits, total)) == pytest.approx((lower, upper), abs=1e-9)
    assert Share(hits, total).upper == upper_bound(hits, total)
    both = binomtest(hits, total).proportion_ci(0.95, "exact")
    assert Share(hits, total).interval == pytest.approx((both.low, both.high), abs=1e-9)


def test_bounds_at_the_ends() -> None:
    """No hit in n is bounded by 1 - 0.05^(1/n), n of n by 1, and nothing says nothing."""
    assert Share(0, 120).upper == pytest.approx(1 - 0.05 ** (1 / 120))
    assert Share(7, 7).interval == (pytest.approx(0.025 ** (1 / 7)), 1.0)
    assert Share(0, 0).interval == (0.0, 1.0)
    assert Share(0, 0).plain() == {"share": None, "hits": 0, "total": 0, "low": 0.0, "high": 1.0}


def test_figures_of_a_confusion_agree_with_scikit_learn() -> None:
    """Accuracy, balanced accuracy, macro-F1, recall and precision are the field's."""
    truth, named = RNG.integers(0, 4, (2, 300))
    found = Confusion.of(truth, named, 4)
    assert found.table.tolist() == metrics.confusion_matrix(truth, named).tolist()
    assert found.accuracy.value == pytest.approx(metrics.accuracy_score(truth, named))
    assert found.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(truth, named))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(truth, named, average="macro"))
    assert [found.recall(i).value for i in range(4)] == pytest.approx(metrics.recall_score(truth, named, average=None))
    assert [found.precision(i).value for i in range(4)] == pytest.approx(
        metrics.precision_score(truth, named, average=None)
    )


def test_a_class_without_pictures_is_no_class_lost() -> None:
    """Balanced accuracy and macro-F1 leave out a class that was neither shown nor named; its shares are of nothing."""
    found = Confusion.of(np.array([0, 0, 2]), np.array([0, 2, 2]), 4)
    assert found.balanced_accuracy == pytest.approx((0.5 + 1) / 2)
    assert found.macro_f1 == pytest.approx(2 / 3)
    assert found.recall(1).value is found.precision(1).value is None


def test_bins_hold_equal_numbers_and_never_part_equal_scores() -> None:
    """Whatever the order of pictures that score alike, the bins and the error are the same."""
    confidence = np.concatenate([RNG.uniform(0.3, 1, 300), np.full(200, 0.75), np.full(100, 0.999)])
    right = RNG.random(600) < confidence
    bins = reliability(confidence, right)
    assert sum(one.right.total for one in bins) == 600
    assert 10 <= len(bins) <= 15
    assert [one.confidence for one in bins] == sorted(one.confidence for one in bins)
    assert min(one.right.total for one in bins if one.right.total >= 200) >= 200
    order = RNG.permutation(600)
    again = reliability(confidence[order], right[order])
    assert [(b.right, pytest.approx(b.confidence)) for b in bins] == [(b.right, b.confidence) for b in again]


def test_few_pictures_give_few_bins() -> None:
    """With fewer than 40 pictures there is one bin: a share of a handful says nothing."""
    assert len(reliability(RNG.random(39), np.ones(39, bool))) == 1
    assert len(reliability(RNG.random(60), np.ones(60, bool))) == 3


def test_calibration_error_tells_overconfidence_from_chance() -> None:
    """Scores that mean what they say show about what chance does; scores 10 points too high show 10 points."""
    confidence = RNG.uniform(0.6, 1.0, 4000)
    honest = RNG.random(4000) < confidence
    chance = chance_calibration_error(confidence)
    assert calibration_error(reliability(confidence, honest)) == pytest.approx(chance, abs=0.01)
    assert chance == chance_calibration_error(confidence)
    boasting = RNG.random(4000) < confidence - 0.1
    assert calibration_error(reliability(confidence, boasting)) == pytest.approx(0.1, abs=0.02)


def test_chance_grows_as_pictures_get_fewer() -> None:
    """The error's bias, which a perfect model shows too, is what the figure beside it says."""
    few, many = (chance_calibration_error(RNG.uniform(0.5, 1.0, n)) for n in (100, 5000))
    assert few > 3 * many > 0


def test_losses_agree_with_scikit_learn() -> None:
    """Log loss and Brier score are the field's; a score of 0 for the truth is bad but finite."""
    scores = RNG.dirichlet([1, 1, 1], 200)
    truth = RNG.integers(0, 3, 200)
    assert log_loss(scores, truth) == pytest.approx(metrics.log_loss(truth, scores))
    assert brier(scores, truth) == pytest.approx(metrics.brier_score_loss(truth, scores, labels=[0, 1, 2]))
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(9 * np.log(10))


def test_curves_run_from_left_to_right() -> None:
    """ROC ends in both corners, precision-recall ends where all is found, and their areas are the field's."""
    defect = np.arange(400) % 4 == 0
    score = np.round(np.clip(RNG.normal(np.where(defect, 0.7, 0.3), 0.2), 0, 1), 2)
    curve = roc(defect, score)
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
    assert curve.area == pytest.approx(metrics.roc_auc_score(defect, score))
    curve = precision_recall(defect, score)
    assert np.all(np.diff(curve.x) >= 0)
    assert (curve.x[-1], curve.y[0]) == (1, 1)
    assert curve.area == pytest.approx(metrics.average_precision_score(defect, score))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])), min_size=1, max_size=30))
def test_the_trade_off_counts_as_the_rule_decides(pictures: list[tuple[bool, float]]) -> None:
    """At each threshold, missed are the defects below it and alarms the intact parts at or above it."""
    defect, score = np.array([d for d, _ in pictures]), np.array([s for _, s in pictures])
    found = trade_off(defect, score)
    for threshold, missed, alarms in zip(found.threshold, found.missed, found.alarms, strict=True):
        assert missed == np.sum(defect & (score < threshold))
        assert alarms == np.sum(~defect & (score >= threshold))
    assert (found.missed[0], found.alarms[-1]) == (0, 0)
    assert (found.defects, found.intact) == (defect.sum(), (~defect).sum())
