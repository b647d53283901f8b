"""Scores to PASS / DEFECT / UNKNOWN: pure, no I/O. Training evaluates with the same functions."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING

from edge.contract.messages import Verdict
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.contract.bundle import Label, Thresholds
    from edge.contract.messages import Event

NO_MAJORITY = "the last frames do not agree"
WORST_FIRST = (Verdict.DEFECT, Verdict.UNKNOWN, Verdict.PASS)


class Decision(Record, frozen=True):
    """What one frame shows: `label` is the likeliest class on the verdict's side, `score` its score, 0-1."""

    verdict: Verdict
    label: str | None
    score: float | None
    reason: str = ""


def unknown(reason: str) -> Decision:
    """Return the verdict about a frame that could not be judged."""
    return Decision(Verdict.UNKNOWN, None, None, reason)


def decide(scores: Sequence[float], labels: Sequence[Label], thresholds: Thresholds) -> Decision:
    """Judge one frame by its scores (0-1, in the labels' order) and the rule of `Thresholds`."""
    if len(scores) != len(labels) or not all(math.isfinite(score) for score in scores):
        return unknown("the model's scores are not finite numbers, one a label")
    defect = sum(score for score, label in zip(scores, labels, strict=True) if label.verdict == "DEFECT")
    no_pass_label = all(label.verdict == "DEFECT" for label in labels)
    if defect >= thresholds.defect_at or no_pass_label:
        return _best(Verdict.DEFECT, scores, labels)
    if defect < thresholds.pass_below:
        return _best(Verdict.PASS, scores, labels)
    reason = f"P(defect) {defect:.3f} lies between {thresholds.pass_below:g} and {thresholds.defect_at:g}"
    return _best(Verdict.UNKNOWN, scores, labels, reason)


def _best(verdict: Verdict, scores: Sequence[float], labels: Sequence[Label], reason: str = "") -> Decision:
    side = [i for i, label in enumerate(labels) if verdict in (label.verdict, Verdict.UNKNOWN)]
    best = max(side, key=scores.__getitem__)
    return Decision(verdict, labels[best].name, float(scores[best]), reason)


def worst_of(events: Sequence[Event]) -> Event:
    """Return the first with the worst verdict."""
    return min(events, key=lambda event: WORST_FIRST.index(event.verdict))


class Smoother:
    """N of M: the verdict that at least `votes` of the last `window` frames gave, the worst first.

    While no verdict has that many, the answer is UNKNOWN: a part is never passed for lack of frames.
    """

    def __init__(self, votes: int, window: int) -> None:
        self._votes = votes
        self._last: deque[Verdict] = deque(maxlen=window)

    def smooth(self, verdict: Verdict) -> Verdict:
        """Add one frame's verdict and return the camera's."""
        self._last.append(verdict)
        counts = Counter(self._last)
        return next((v for v in WORST_FIRST if counts[v] >= self._votes), Verdict.UNKNOWN)
