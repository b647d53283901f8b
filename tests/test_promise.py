from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts_scores import sample
from scipy.stats import binom

from edge.contract.bundle import Label
from training.evaluation.promise import Evidence, Promise, allowance, enough
from training.evaluation.statistics import upper_bound
from training.evaluation.thresholds import Aim, Costs, choose, defect_scores


def views(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return P(defect) of six photographs of each of so many damaged parts, which are much alike, and their part."""
    logit = rng.normal(2, 1.5, (count, 1)) + rng.normal(0, 0.2, (count, 6))
    return 1 / (1 + np.exp(-logit.ravel())), np.repeat(np.arange(count), 6)


def kept(shares: list[float], max_miss: float) -> int:
    """Count the rules that miss no larger share than promised."""
    return sum(share <= max_miss for share in shares)


@given(st.integers(0, 3000), st.floats(0.001, 0.5))
def test_the_rank_is_the_largest_that_keeps_the_bound(defects: int, max_miss: float) -> None:
    """Rank - 1 misses are bounded by the promise and rank are not; there is none below `enough` defects."""
    rank = allowance(defects, max_miss)
    assert rank == 0 or upper_bound(rank - 1, defects) <= max_miss
    assert rank == defects or upper_bound(rank, defects) > max_miss
    assert (rank == 0) == (defects < enough(max_miss))


def test_too_few_defects_say_how_many_are_missing() -> None:
    """With 120 defects 0.5% takes 478 more; the safest rule is chosen and its bound is stated."""
    rng = np.random.default_rng(3)
    score, defect = sample(rng, 120)
    rule = choose(score, defect, Aim(max_miss=0.005))
    assert rule.promise is not None
    assert (rule.promise.shown, rule.promise.more, rule.missed) == (False, 478, 0)
    assert rule.promise.text == (
        "a miss rate of 0.5% cannot be shown by calibration with 120 photographs of defects, each counted as a "
        "part of its own: 478 more must be photographed; with these the best bound is 2.47%, and it is kept"
    )
    assert rule.thresholds.pass_below <= score[defect].min()


def test_missing_photographs_are_counted_as_they_are_dealt() -> None:
    """If a tenth of all defects calibrates, ten times as many must be photographed, and the text says why."""
    promise, _ = Promise.of(np.ones(120), 0.005, Evidence(share=0.1))
    assert (promise.more, promise.photographs) == (478, 4780)
    assert "4,780 more must be photographed, of which 478 would calibrate" in promise.text


def test_enough_defects_keep_the_promise_in_words() -> None:
    """With 598 defects and no miss 0.5% is shown."""
    promise, cap = Promise.of(np.linspace(0.5, 1, 598), 0.005, Evidence())
    assert (promise.shown, promise.more, promise.allowed, cap) == (True, 0, 0, 0.5)
    assert promise.text == (
        "at most 0.5% of defects pass unseen (95% confidence), "
        "shown with 598 photographs of defects, each counted as a part of its own"
    )
    assert promise.plain()["shown"] is True


def test_defects_that_score_nothing_pass_under_any_rule_and_are_counted() -> None:
    """A threshold must be above 0; where that breaks the promise it says so instead of promising."""
    promise, _ = Promise.of(np.concatenate([np.zeros(5), np.ones(995)]), 0.005, Evidence())
    assert (promise.shown, promise.allowed) == (False, 5)
    assert "surely intact" in promise.text


@pytest.mark.parametrize("each", [80, 300])
def test_the_promise_holds_for_95_of_100_calibration_sets(each: int) -> None:
    """Over 400 sets the true miss rate exceeds the promise no oftener than 5%; the best observed rate would exceed it.

    Scores come in steps, and costs push the threshold up (a miss is cheap). 5% of 400 sets is exceeded by more than
    binomial chance allows once in a thousand times.
    """
    rng = np.random.default_rng(4)
    max_miss, cheap = 0.05, Aim(costs=Costs(miss=0.1), max_miss=0.05)
    fresh = np.sort(sample(rng, 200_000)[0][200_000:])
    promised, naive = [], []
    for _ in range(400):
        score, defect = sample(rng, each)
        promised.append(np.searchsorted(fresh, choose(score, defect, cheap).thresholds.pass_below) / len(fresh))
        ordered = np.sort(score[defect])
        # As if what was observed were the truth: the highest threshold below which no more than 5% of them lie.
        naive.append(np.searchsorted(fresh, ordered[math.floor(max_miss * each)]) / len(fresh))
    least = binom.ppf(0.001, 400, 0.95)
    assert kept(promised, max_miss) >= least
    assert kept(naive, max_miss) < least


def test_photographs_of_a_part_are_one_defect_and_its_most_intact_looking_one_counts() -> None:
    """Six alike of each of 60 parts show what 60 parts show; the lowest of each part bounds the threshold."""
    score = np.linspace(0.3, 0.9, 360)
    promise, cap = Promise.of(score, 0.01, Evidence(part=np.arange(360) % 60))
    assert (promise.by_part, promise.defects, promise.pictures, promise.shown) == (True, 60, 360, False)
    assert promise.bound == pytest.approx(upper_bound(0, 60))
    assert "cannot be shown by calibration with 60 damaged parts (360 photographs)" in promise.text
    assert f"{enough(0.01) - 60} more parts must be photographed" in promise.text
    assert cap == score[0]
    alone, _ = Promise.of(score, 0.01, Evidence(part=np.arange(360)))
    assert (alone.by_part, alone.defects, alone.shown) == (False, 360, True)
    score = np.concatenate([np.full(600, 0.9), [0.2], np.full(600, 0.8)])
    many, cap = Promise.of(score, 0.01, Evidence(part=np.arange(1201) % 600))
    assert many.shown
    assert "of damaged parts pass unseen in any of their photographs" in many.text
    assert cap == 0.8


def test_the_promise_holds_for_95_of_100_sets_of_parts_photographed_six_times() -> None:
    """Counted by part it is kept as often as it says; counted by photograph it is not."""
    rng = np.random.default_rng(6)
    aim = Aim(costs=Costs(miss=0.1), max_miss=0.05)
    fresh = np.sort(views(rng, 100_000)[0].reshape(-1, 6).min(axis=1))
    counted, torn = [], []
    for _ in range(300):
        score, part = views(rng, 60)
        sound = np.zeros(60)
        scores, defect = np.append(score, sound), np.arange(420) < 360
        parts = np.append(part, 60 + np.arange(60))
        for found, known in ((counted, parts), (torn, None)):
            rule = choose(scores, defect, aim, Evidence(part=known))
            found.append(np.searchsorted(fresh, rule.thresholds.pass_below) / len(fresh))
    least = binom.ppf(0.001, 300, 0.95)
    assert kept(counted, 0.05) >= least
    assert kept(torn, 0.05) < least


def test_the_promise_holds_for_the_best_of_four_models() -> None:
    """Whichever of four the calibration part itself chose, by the rule that looks best; told of one it would not."""
    rng = np.random.default_rng(7)
    aim, defect = Aim(costs=Costs(miss=0.1), max_miss=0.05), np.arange(354) < 234  # With these the bound is tight.
    honest, careless = [], []
    for _ in range(600):
        # Of a defect by each model, independently uniform: what lies below a threshold is the threshold.
        scores = [np.append(rng.random(234), np.zeros(120)) for _ in range(4)]
        for found, models in ((honest, 4), (careless, 1)):
            rules = [choose(score, defect, aim, Evidence(models=models)) for score in scores]
            found.append(max(rule.thresholds.pass_below for rule in rules))
    least = binom.ppf(0.001, 600, 0.95)
    assert kept(honest, 0.05) >= least
    assert kept(careless, 0.05) < least


def test_the_promise_holds_where_the_temperature_came_from_the_same_pictures() -> None:
    """With three classes too, whose order the fitted temperature may change, the bound is kept on 95 of 100 sets."""
    from edge.classifier import softmax
    from training.evaluation.calibrate import temperature

    rng = np.random.default_rng(5)
    labels = tuple(Label(name=name, verdict="PASS" if name == "a" else "DEFECT") for name in "abc")

    def draw(each: int) -> tuple[np.ndarray, np.ndarray]:
        truth = np.arange(3 * each) % 3
        return (rng.normal(0, 1.5, (3 * each, 3)) + 4 * np.eye(3)[truth]).astype(np.float32), truth

    fresh, answers = draw(20_000)
    within = 0
    for _ in range(100):
        logits, truth = draw(60)
        divide = np.float32(temperature(logits, truth))
        rule = choose(defect_scores(softmax(logits / divide), labels), truth > 0, Aim(max_miss=0.05))
        scores = softmax(fresh / divide)[:, 1:].sum(axis=1)
        within += bool((scores[answers > 0] < rule.thresholds.pass_below).mean() <= 0.05)
    assert within >= binom.ppf(0.001, 100, 0.95)
