from __future__ import annotations

import argparse
import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts_scores import sample

from edge.contract.bundle import Label
from edge.decision import decide
from edge.errors import ConfigError
from training.evaluation.options import add_options, parse_share, read_options
from training.evaluation.statistics import Booleans, Doubles, upper_bound
from training.evaluation.thresholds import Aim, Costs, choose, defect_scores

TIES = st.sampled_from([0.0, 1e-12, 0.01, 0.1, 0.30000000000000004, 0.5, 0.9, 0.999, 1.0])
SCORES = st.lists(st.tuples(st.booleans(), TIES | st.floats(0, 1)), max_size=60)
COST = st.floats(1e-3, 1e3)


def pictures(found: list[tuple[bool, float]]) -> tuple[Doubles, Booleans]:
    """Scores and which of them are defects'."""
    return np.array([score for _, score in found], np.float64), np.array([defect for defect, _ in found], bool)


@settings(deadline=None)
@given(SCORES, COST, COST, COST, st.none() | st.floats(1e-4, 0.9))
def test_any_scores_give_a_rule_that_a_manifest_takes(
    found: list[tuple[bool, float]], miss: float, false_alarm: float, unknown: float, max_miss: float | None
) -> None:
    """Ties, one kind only, extremes or nothing at all: thresholds are in order, and counts are what `decide` says."""
    score, defect = pictures(found)
    aim = Aim(costs=Costs(miss=miss, false_alarm=false_alarm, unknown=unknown), max_miss=max_miss)
    rule = choose(score, defect, aim)
    labels = (Label(name="intact", verdict="PASS"), Label(name="crack", verdict="DEFECT"))
    verdicts = [str(decide([1 - p, p], labels, rule.thresholds).verdict) for p in score.tolist()]
    assert rule.missed == sum(v == "PASS" and d for v, d in zip(verdicts, defect, strict=True))
    assert rule.alarms == sum(v == "DEFECT" and not d for v, d in zip(verdicts, defect, strict=True))
    assert rule.unknown == verdicts.count("UNKNOWN")
    assert rule.defects + rule.intact == len(score)
    if rule.promise:
        assert rule.missed <= rule.promise.allowed
        assert rule.promise.bound == upper_bound(rule.promise.allowed, rule.defects)


def test_ideal_thresholds_are_chows() -> None:
    """By default 1 in 20 passes and more likely than not alarms; where a look costs too much there is no band."""
    assert Costs().ideal() == (0.05, 0.5)
    assert Costs(unknown=2).ideal() == (pytest.approx(1 / 11), pytest.approx(1 / 11))
    assert Costs(miss=1, unknown=0.1).ideal() == (pytest.approx(0.1), pytest.approx(0.9))


@pytest.mark.parametrize("each", [3, 20, 500])
def test_separated_scores_get_the_ideal_thresholds(each: int) -> None:
    """Where the pictures have nothing against it, the costs alone decide, and no picture is left UNKNOWN."""
    score = np.concatenate([np.linspace(0.001, 0.01, each), np.linspace(0.98, 0.999, each)])
    rule = choose(score, np.arange(2 * each) >= each, Aim())
    assert rule.thresholds.defect_at == pytest.approx(0.5)
    assert rule.thresholds.pass_below == pytest.approx(max(0.05, 1 / (2 * each + 2)), rel=0.01)
    assert (rule.missed, rule.alarms, rule.unknown) == (0, 0, 0)


def test_thresholds_keep_away_from_the_scores_beside_them() -> None:
    """A gap that excludes the ideal threshold is used with a margin, or in its middle if it is narrow."""
    wide = choose(np.array([0.2] * 900 + [0.95] * 900), np.arange(1800) >= 900, Aim()).thresholds
    assert 0.2 + 0.05 < wide.pass_below < wide.defect_at == pytest.approx(0.5)
    narrow = choose(np.array([0.2] * 900 + [0.22] * 900), np.arange(1800) >= 900, Aim()).thresholds
    assert narrow.pass_below == narrow.defect_at == pytest.approx(0.21, abs=0.001)


def test_few_pictures_never_put_a_threshold_at_an_extreme() -> None:
    """Twenty pictures cannot show a chance below 1 in 22, whatever the costs are."""
    score = np.array([1e-7] * 10 + [1 - 1e-7] * 10)
    rule = choose(score, np.arange(20) >= 10, Aim(costs=Costs(miss=1e3, unknown=1e-2)))
    assert rule.thresholds.pass_below == pytest.approx(1 / 22, rel=1e-4)
    assert rule.thresholds.defect_at == pytest.approx(21 / 22, rel=1e-4)


def test_many_pictures_overrule_scores_that_mislead() -> None:
    """Scores that say 3% where a fifth is damaged are not passed once enough pictures show it."""
    rng = np.random.default_rng(1)
    score = np.concatenate([np.full(1000, 0.001), np.full(2000, 0.03), np.full(1000, 0.999)])
    defect = np.concatenate([np.zeros(1000), rng.random(2000) < 0.2, np.ones(1000)]).astype(bool)
    rule = choose(score, defect, Aim())
    assert 0.001 < rule.thresholds.pass_below <= 0.03
    assert rule.missed == 0


@pytest.mark.parametrize("max_miss", [0.005, 0.02])
def test_the_rule_costs_little_more_than_the_best_on_fresh_parts(max_miss: float) -> None:
    """Chosen on 200 pictures, it comes within a fifth of the least possible cost, and the promise makes it dearer."""
    rng = np.random.default_rng(2)
    score, defect = sample(rng, 50_000)

    def cost(rule_score: Doubles, rule_defect: Booleans, aim: Aim) -> float:
        found = choose(rule_score, rule_defect, aim).thresholds
        passed, alarmed = score < found.pass_below, score >= found.defect_at
        errors = 10 * (passed & defect) + (alarmed & ~defect) + 0.5 * (~passed & ~alarmed)
        return float(errors.mean())

    best = cost(score, defect, Aim())
    chosen = [sample(rng, 100) for _ in range(30)]
    free = np.mean([cost(*one, Aim()) for one in chosen])
    assert best <= free <= 1.2 * best
    assert np.mean([cost(*one, Aim(max_miss=max_miss)) for one in chosen]) > free


def test_p_defect_is_the_sum_that_the_device_compares() -> None:
    """Every score is exactly what `decide` computes: a threshold at it decides DEFECT."""
    from edge.contract.bundle import Thresholds

    labels = tuple(Label(name=name, verdict="PASS" if name == "b" else "DEFECT") for name in "abcd")
    scores = np.random.default_rng(6).dirichlet(np.ones(4), 200).astype(np.float32)
    for row, found in zip(scores.tolist(), defect_scores(scores, labels).tolist(), strict=True):
        assert decide(row, labels, Thresholds(pass_below=found, defect_at=found)).verdict == "DEFECT"


@pytest.mark.parametrize(("text", "share"), [("0.5%", 0.005), ("0.005", 0.005), (" 5% ", 0.05), (".02", 0.02)])
def test_a_share_is_read_in_both_forms(text: str, share: float) -> None:
    """Per cent and plain shares mean the same."""
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    "text", ["", "%", "0", "0%", "1", "100%", "150%", "-1%", "nan", "inf", "1e-3", "5 %", "\u0665%"]
)
def test_a_wrong_share_is_refused_by_name(text: str) -> None:
    """What is no share above 0 and below 1 is quoted, with examples of what is."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a share above 0 and below 100%, such as 0\.5%"):
        parse_share(text)


@given(st.text(max_size=12))
def test_any_text_is_a_share_or_that_error(text: str) -> None:
    """No text ends in anything else."""
    with contextlib.suppress(argparse.ArgumentTypeError):
        assert 0 < parse_share(text) < 1


def parsed(*arguments: str) -> Aim:
    """What a command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pass", dest="passing", nargs="+", default=[])
    add_options(parser)
    return read_options(parser.parse_args(arguments))


def test_options_become_an_aim() -> None:
    """Without options the defaults hold; a promise needs a class of intact parts, and costs must be above 0."""
    assert parsed() == Aim()
    assert parsed("--pass", "good", "--max-miss", "0.5%", "--cost-miss", "50").costs == Costs(miss=50)
    with pytest.raises(ConfigError, match="--max-miss needs --pass"):
        parsed("--max-miss", "0.5%")
    with pytest.raises(ConfigError, match="--cost-false-alarm 0 is not a number above 0"):
        parsed("--cost-false-alarm", "0")
    with pytest.raises(ConfigError, match="--cost-unknown nan"):
        parsed("--cost-unknown", "nan")
