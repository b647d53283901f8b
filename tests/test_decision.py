"""The decision rule, as a table."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.bundle import Label, Thresholds
from edge.contract.messages import Verdict
from edge.decision import Decision, Smoother, decide, unknown

PASS, DEFECT, UNKNOWN = Verdict.PASS, Verdict.DEFECT, Verdict.UNKNOWN
GOOD, CLEAN = Label(name="good", verdict="PASS"), Label(name="clean", verdict="PASS")
CRACK, WEAR = Label(name="crack", verdict="DEFECT"), Label(name="wear", verdict="DEFECT")
HALF, BAND = Thresholds(), Thresholds(pass_below=0.25, defect_at=0.75)


@pytest.mark.parametrize(
    ("scores", "labels", "thresholds", "verdict", "label", "score"),
    [
        # The threshold belongs to DEFECT.
        ((0.75, 0.25), (GOOD, CRACK), HALF, PASS, "good", 0.75),
        ((0.5, 0.5), (GOOD, CRACK), HALF, DEFECT, "crack", 0.5),
        ((0.25, 0.75), (GOOD, CRACK), HALF, DEFECT, "crack", 0.75),
        ((0.75, 0.25), (CRACK, GOOD), HALF, DEFECT, "crack", 0.75),
        # Defects add up: none is likelier than "good", all together are.
        ((0.4, 0.3, 0.3), (GOOD, CRACK, WEAR), HALF, DEFECT, "crack", 0.3),
        ((0.4, 0.25, 0.35), (GOOD, CRACK, WEAR), HALF, DEFECT, "wear", 0.35),
        # Passes are several classes too; the label follows the verdict, not the highest score.
        ((0.3, 0.3, 0.4), (GOOD, CLEAN, CRACK), HALF, PASS, "good", 0.3),
        ((0.7, 0.3), (GOOD, CRACK), Thresholds(pass_below=0.2, defect_at=0.2), DEFECT, "crack", 0.3),
        # Between the thresholds nobody knows; the label is the likeliest of all.
        ((0.76, 0.24), (GOOD, CRACK), BAND, PASS, "good", 0.76),
        ((0.75, 0.25), (GOOD, CRACK), BAND, UNKNOWN, "good", 0.75),
        ((0.3, 0.7), (GOOD, CRACK), BAND, UNKNOWN, "crack", 0.7),
        ((0.25, 0.75), (GOOD, CRACK), BAND, DEFECT, "crack", 0.75),
        # Where no class means intact, every frame is a defect of some kind, whatever the threshold.
        ((0.1, 0.2), (CRACK, WEAR), Thresholds(pass_below=1, defect_at=1), DEFECT, "wear", 0.2),
        # Where no class means a defect, none is found.
        ((0.1, 0.9), (GOOD, CLEAN), HALF, PASS, "clean", 0.9),
        # A threshold of 1 wants certainty.
        ((0.01, 0.99), (GOOD, CRACK), Thresholds(pass_below=1, defect_at=1), PASS, "good", 0.01),
        ((0.0, 1.0), (GOOD, CRACK), Thresholds(pass_below=1, defect_at=1), DEFECT, "crack", 1.0),
    ],
)
def test_the_rule(  # noqa: PLR0913, PLR0917 - the columns of the table
    scores: tuple[float, ...],
    labels: tuple[Label, ...],
    thresholds: Thresholds,
    verdict: Verdict,
    label: str,
    score: float,
) -> None:
    """Each row: scores, what the labels mean, the thresholds, and what that makes of the frame."""
    found = decide(scores, labels, thresholds)
    assert msgspec.structs.replace(found, reason="") == Decision(verdict, label, score)
    assert bool(found.reason) == (verdict is UNKNOWN)


@pytest.mark.parametrize("scores", [(math.nan, 0.5), (0.5, math.inf), (1.0,), (0.2, 0.3, 0.5), ()])
def test_scores_that_are_none_are_unknown(scores: tuple[float, ...]) -> None:
    """A score that is not finite, or not one a label, is never a PASS and never a DEFECT: it names no label."""
    found = decide(scores, (GOOD, CRACK), HALF)
    assert found == unknown("the model's scores are not finite numbers, one a label")
    assert (found.verdict, found.label, found.score) == (UNKNOWN, None, None)


def test_the_reason_names_the_figures() -> None:
    """Between the thresholds the reason gives P(defect) and both of them."""
    assert decide((0.6, 0.4), (GOOD, CRACK), BAND).reason == "P(defect) 0.400 lies between 0.25 and 0.75"


LABELS = st.lists(st.sampled_from(["PASS", "DEFECT"]), min_size=2, max_size=6).map(
    lambda verdicts: [Label(name=f"class {i}", verdict=verdict) for i, verdict in enumerate(verdicts)]
)


@given(LABELS, st.data())
def test_raising_a_threshold_never_finds_more_defects(labels: list[Label], data: st.DataObject) -> None:
    """The rule is monotone: with a higher threshold a frame that passed still passes; the label fits the verdict."""
    parts = data.draw(st.lists(st.floats(0.01, 1), min_size=len(labels), max_size=len(labels)))
    scores = [part / sum(parts) for part in parts]
    low, high = sorted(data.draw(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1))))
    first, second = (decide(scores, labels, Thresholds(pass_below=at, defect_at=at)) for at in (low, high))
    assert (first.verdict, second.verdict) != (PASS, DEFECT)
    for found in (first, second):
        assert found.verdict in (PASS, DEFECT)
        (label,) = [label for label in labels if label.name == found.label]
        assert label.verdict == found.verdict
        assert found.score == scores[labels.index(label)]


@pytest.mark.parametrize(
    ("votes", "window", "frames", "verdicts"),
    [
        (1, 1, "PDUP", "PDUP"),
        (2, 3, "PPPDPP", "UPPPPP"),
        (2, 3, "PPDDPPP", "UPPDDPP"),
        (3, 3, "PPPDPPP", "UUPUUUP"),
        (2, 2, "UUPP", "UUUP"),
        # The worst first: one vote is enough for a DEFECT as long as it is in the window.
        (1, 3, "PDPPP", "PDDDP"),
        (1, 3, "PUPPP", "PUUUP"),
        (2, 4, "PPDD", "UPPD"),
    ],
)
def test_smoothing(votes: int, window: int, frames: str, verdicts: str) -> None:
    """Each row: N of M, the frames' verdicts by their first letters, and the camera's."""
    letters = {"P": PASS, "D": DEFECT, "U": UNKNOWN}
    smoother = Smoother(votes, window)
    assert [smoother.smooth(letters[frame]) for frame in frames] == [letters[verdict] for verdict in verdicts]


@given(st.integers(1, 6), st.integers(0, 6), st.lists(st.sampled_from(Verdict), max_size=30))
def test_smoothing_never_passes_for_lack_of_frames(votes: int, surplus: int, frames: list[Verdict]) -> None:
    """PASS needs N passes among the last M frames, and N defects or N unknowns there are never passed over."""
    window = votes + surplus
    smoother = Smoother(votes, window)
    for end, frame in enumerate(frames, 1):
        verdict = smoother.smooth(frame)
        last = frames[max(0, end - window) : end]
        if verdict is PASS:
            assert last.count(PASS) >= votes
            assert last.count(DEFECT) < votes
            assert last.count(UNKNOWN) < votes
        if last.count(DEFECT) >= votes:
            assert verdict is DEFECT
