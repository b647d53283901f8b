"""The decision rule: thresholds on P(defect) by what errors cost, under a promise about missed defects. Pure."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.contract.bundle import Thresholds
from edge.errors import ConfigError
from training.evaluation.promise import SMALLEST, Evidence, Promise

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from edge.classifier import Floats
    from edge.contract.bundle import Label
    from training.evaluation.statistics import Booleans, Doubles

_ONE_EACH = Evidence()
_MARGIN = 0.5
"""Log-odds: 12 points of P(defect) at 0.5; runtimes were seen to differ by 8 points in a score."""
_TRUST = 100
"""Pictures that the calibrated scores count as, beside those seen.

In simulations with scores that were right, too sure, not sure enough or shifted, 100 gave rules that cost least on
fresh parts for 60 to 200 pictures, and hardly more than the least below and above; 0 cost up to twice as much.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What an error costs, in any one unit; only the ratios matter. Right verdicts cost nothing.

    They apply to the mix of parts that was photographed. With the defaults, scores that mean what they say give:
    PASS where fewer than 1 in 20 such parts is damaged, DEFECT where more than half are, a look in between.
    """

    miss: float = 10.0
    """A damaged part judged PASS."""
    false_alarm: float = 1.0
    """An intact part judged DEFECT."""
    unknown: float = 0.5
    """A part, damaged or not, left to somebody to look at."""

    def __post_init__(self) -> None:
        """Refuse a cost that is not a number above 0; raises ConfigError."""
        for name, cost in asdict(self).items():
            if not (math.isfinite(cost) and cost > 0):
                raise ConfigError(f"--cost-{name.replace('_', '-')} {cost:g} is not a number above 0")

    def ideal(self) -> tuple[float, float]:
        """Return the (pass_below, defect_at) that cost least if P(defect) is right, equal if UNKNOWN never pays.

        Source: Chow, On optimum recognition error and reject tradeoff (1970), with unequal costs.
        """
        low, high = self.unknown / self.miss, 1 - self.unknown / self.false_alarm
        if low < high:
            return low, high
        even = self.false_alarm / (self.false_alarm + self.miss)
        return even, even


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What the rule is chosen for."""

    costs: Costs = Costs()
    max_miss: float | None = None
    """The share of defects, 0-1 exclusive, that may pass unseen with 95% confidence; None: no promise, costs alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Thresholds, why they are what they are, and what they do on the pictures that they were chosen on."""

    thresholds: Thresholds
    aim: Aim
    promise: Promise | None
    defects: int
    intact: int
    missed: int
    """Of `defects`, those judged PASS."""
    alarms: int
    """Of `intact`, those judged DEFECT."""
    unknown: int

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json; the counts are those of the calibration part."""
        counts = {name: getattr(self, name) for name in ("defects", "intact", "missed", "alarms", "unknown")}
        return {
            "pass_below": self.thresholds.pass_below,
            "defect_at": self.thresholds.defect_at,
            "costs": asdict(self.aim.costs),
            "promise": None if self.promise is None else self.promise.plain(),
            "calibration": counts,
        }


def choose(score: Doubles, defect: Booleans, aim: Aim, evidence: Evidence = _ONE_EACH) -> Rule:
    """Choose the thresholds that cost least on pictures with P(defect) `score` [n], 0-1, calibrated.

    `evidence` says how these pictures came about, for the promise alone.

    Each picture counts as what it is, and a little as what its score says: that is worth 100 pictures, so that few
    pictures change little of what the costs alone would give (`Costs.ideal`), and many overrule it. Between two
    scores, where no picture tells, a threshold lies as near to the ideal one as it can while it keeps away from both
    scores, by half a unit of log-odds or half their distance: runtimes differ. The ideal one is never nearer to 0 or
    1 than 1 / (n + 2), what n pictures can show of a chance (Laplace's rule of succession).

    The promise: `pass_below` is at most the k-th lowest score of a defect, where k depends on the number of defects
    and the promise alone. The share of all defects that score lower is then no larger than a Beta(k, n - k + 1)
    variable, whatever the scores' distribution and however else the threshold is chosen (Wilks, Determination of
    sample sizes for setting tolerance limits, 1941); equal scores make it smaller. That the temperature was fitted
    to the same pictures does not matter with two classes, whose order it keeps, and hardly with more.
    For what is cheapest several pictures of one part count each; only the promise counts parts.
    """
    promise, cap = None, math.inf
    if aim.max_miss is not None:
        part = None if evidence.part is None else evidence.part[defect]
        promise, cap = Promise.of(score[defect], aim.max_miss, replace(evidence, part=part))
    distinct, place = np.unique(score, return_inverse=True)
    below, from_ = _cheapest(distinct, place, defect, aim.costs, cap)
    limit = 1 / (len(score) + 2)
    ideal = [min(max(share, limit), 1 - limit) for share in aim.costs.ideal()]
    pass_below = _round_down(max(min(_within(distinct, below, ideal[0]), cap), SMALLEST))
    defect_at = max(_round_down(_within(distinct, from_, ideal[1])), pass_below)
    passed, alarmed = score < pass_below, score >= defect_at
    return Rule(
        thresholds=Thresholds(pass_below=pass_below, defect_at=defect_at),
        aim=aim,
        promise=promise,
        defects=int(defect.sum()),
        intact=int((~defect).sum()),
        missed=int((passed & defect).sum()),
        alarms=int((alarmed & ~defect).sum()),
        unknown=int((~passed & ~alarmed).sum()),
    )


def defect_scores(scores: Floats | Doubles, labels: Sequence[Label]) -> Doubles:
    """Return P(defect) [n] of scores [n, classes], summed exactly as `edge.decision.decide` does."""
    defects = [i for i, label in enumerate(labels) if label.verdict == "DEFECT"]
    return np.array([sum(row[i] for i in defects) for row in scores.tolist()], np.float64)


def _cheapest(
    distinct: Doubles, place: npt.NDArray[np.intp], defect: Booleans, costs: Costs, cap: float
) -> tuple[int, int]:
    """Return how many of the distinct scores to pass, and how many to lie below DEFECT, at the least cost.

    Costs are counted from leaving every picture UNKNOWN, so that the two thresholds add up.
    """
    trust = _TRUST / (_TRUST + len(place))
    truth = (1 - trust) * defect + trust * distinct[place]
    passing = np.bincount(place, costs.miss * truth - costs.unknown, len(distinct))
    alarming = np.bincount(place, costs.false_alarm * (1 - truth) - costs.unknown, len(distinct))
    below = np.concatenate([[0.0], np.cumsum(passing)])
    above = np.concatenate([np.cumsum(alarming[::-1])[::-1], [0.0]])
    below[np.searchsorted(distinct, cap, side="left") + 1 :] = np.inf
    best_below = np.minimum.accumulate(below)
    last = int(np.argmin(best_below + above))
    return int(np.argmin(below[: last + 1])), last


def _within(distinct: Doubles, count: int, ideal: float) -> float:
    """Return the best threshold above the `count` lowest scores and at most the next one, as `choose` says."""
    low = distinct[count - 1] if count else 0.0
    high = distinct[count] if count < len(distinct) else 1.0
    start, end = (_log_odds(min(max(score, SMALLEST), 1 - SMALLEST)) for score in (low, high))
    margin = min(_MARGIN, (end - start) / 2)
    return 1 / (1 + math.exp(-min(max(_log_odds(ideal), start + margin), end - margin)))


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))


def _round_down(threshold: float) -> float:
    """Keep six significant digits, never more than the threshold: rounding up could break the promise."""
    step = 10.0 ** (math.floor(math.log10(threshold)) - 5)
    rounded = float(f"{math.floor(threshold / step) * step:.6g}")
    return min(rounded, threshold)
