from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.classifier import softmax
from training.evaluation.calibrate import RANGE, temperature
from training.evaluation.statistics import calibration_error, log_loss, reliability

LOGITS = arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(2, 5)),
    elements=st.floats(-60, 60, width=32),
)


def sampled(true: float, pictures: int, seed: int, spread: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and truths drawn from what they say under a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (pictures, 4)).astype(np.float32)
    scores = softmax(logits / np.float32(true)).astype(np.float64)
    return logits, (rng.random((pictures, 1)) > scores.cumsum(axis=1)).sum(axis=1).clip(max=3)


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_found_again(true: float) -> None:
    """From 20,000 pictures whose truths follow softmax(logits / T), T comes back within 5%."""
    assert temperature(*sampled(true, 20_000, 1)) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize("true", [0.5, 3.0])
def test_the_error_on_fresh_pictures_is_small(true: float) -> None:
    """Fitted to 300 pictures that are mostly right, scores of 5,000 others mean what they say to within 2 points."""
    logits, truth = sampled(true, 300, 2, 20 * true)
    fresh, answers = sampled(true, 5_000, 3, 20 * true)
    scores = softmax(fresh / np.float32(temperature(logits, truth))).astype(np.float64)
    right = scores.argmax(axis=1) == answers
    assert calibration_error(reliability(scores.max(axis=1), right)) <= 0.02


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("pictures", [5, 20, 500])
def test_without_a_mistake_scores_stay_modest(pictures: int, classes: int) -> None:
    """Perfectly separated pictures get scores of about 1 - 1/(n + 2): what n successes in a row show, and no more."""
    truth = np.arange(pictures) % classes
    logits = 9 * np.eye(classes, dtype=np.float32)[truth]
    logits[np.arange(pictures), (truth + 1) % classes] = 3
    best = softmax(logits / np.float32(temperature(logits, truth))).max(axis=1)
    assert 0.6 <= (1 - best.mean()) * (pictures + 2) <= 1.2


def test_nothing_but_mistakes_means_nothing_is_sure() -> None:
    """Logits that are always wrong get the highest temperature: every score about the same."""
    logits = 5 * np.eye(3, dtype=np.float32)
    assert temperature(logits, np.array([1, 2, 0])) == pytest.approx(RANGE[1], rel=0.01)


@settings(deadline=None)
@given(LOGITS, st.integers(0, 2**32 - 1))
def test_it_is_in_range_and_never_worse_than_none(logits: np.ndarray, seed: int) -> None:
    """For any logits the result is a manifest's temperature and, up to the smoothing, fits no worse than 1."""
    truth = np.random.default_rng(seed).integers(0, logits.shape[1], len(logits))
    found = temperature(logits, truth)
    assert RANGE[0] <= found <= RANGE[1]

    def loss(t: float) -> float:
        scores = softmax(logits.astype(np.float64) / t)
        rows = np.arange(len(truth))
        rivals = scores.copy()
        rivals[rows, truth] = -1
        unseen = 1 / (len(truth) + 2)
        logs = np.log(np.maximum(scores, 1e-300))
        return float(-((1 - unseen) * logs[rows, truth] + unseen * logs[rows, rivals.argmax(axis=1)]).mean())

    assert loss(found) <= loss(1.0) + 1e-6


@settings(deadline=None)
@given(LOGITS, st.floats(-20, 20, width=32))
def test_a_constant_added_to_all_logits_changes_nothing(logits: np.ndarray, constant: float) -> None:
    """Only differences between a picture's logits count, as in the softmax."""
    logits = np.round(logits * 4) / 4  # Sums of quarters are exact in float32.
    shifts = np.round(constant) * np.arange(len(logits), dtype=np.float32)[:, np.newaxis]
    truth = np.arange(len(logits)) % logits.shape[1]
    assert temperature(logits + shifts, truth) == pytest.approx(temperature(logits, truth), rel=1e-6)


def test_equal_logits_need_none() -> None:
    """A model that tells nothing apart keeps temperature 1."""
    assert temperature(np.zeros((9, 3), np.float32), np.arange(9) % 3) == 1


@pytest.mark.parametrize("logits", [np.empty((0, 3), np.float32), np.array([[np.nan, 1.0]], np.float32)])
def test_nothing_to_fit_is_an_error(logits: np.ndarray) -> None:
    """No pictures, or logits that are no numbers, are refused rather than fitted."""
    with pytest.raises(ValueError, match="all finite"):
        temperature(logits, np.zeros(len(logits), np.int64))


def test_a_better_fit_lowers_the_loss_on_fresh_pictures() -> None:
    """The temperature of one sample lowers another's log loss where the scores were far too sure."""
    logits, truth = sampled(4.0, 400, 4)
    fresh, answers = sampled(4.0, 4_000, 5)
    fitted = softmax(fresh / np.float32(temperature(logits, truth))).astype(np.float64)
    assert log_loss(fitted, answers) < 0.8 * log_loss(softmax(fresh).astype(np.float64), answers)
