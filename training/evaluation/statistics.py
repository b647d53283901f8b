"""What can be said of a model from so many pictures: figures, each with how far it is to be trusted. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from training.evaluation import rounding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.data.dataset import Integers

Doubles: TypeAlias = npt.NDArray[np.float64]
Booleans: TypeAlias = npt.NDArray[np.bool_]

CONFIDENCE = 0.95
"""Of every interval and bound."""
_MOST_BINS = 15
"""Of a reliability diagram, as in Guo et al., On calibration of modern neural networks (2017)."""
_LEAST_IN_BIN = 20
"""Pictures: fewer say nothing about a share."""
_RESAMPLES = 200
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `total`, and what that says of the share in general: the Clopper-Pearson interval, two-sided.

    It holds at least CONFIDENCE for any share and any total. Of nothing the interval is 0 to 1.
    Source: Clopper and Pearson, The use of confidence or fiducial limits (1934), as quantiles of beta distributions.
    """

    hits: int
    total: int

    @classmethod
    def of(cls, hits: Sequence[bool] | Booleans) -> Share:
        """Count which are true."""
        return cls(int(np.sum(hits)), len(hits))

    @property
    def value(self) -> float | None:
        """The share, 0-1, or None of nothing."""
        return self.hits / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end, 0-1: the share lies outside in no more than 5% of all samples."""
        tail = (1 - CONFIDENCE) / 2
        return lower_bound(self.hits, self.total, 1 - tail), upper_bound(self.hits, self.total, 1 - tail)

    @property
    def upper(self) -> float:
        """The one-sided upper bound, 0-1: the share lies above it in no more than 5% of all samples."""
        return upper_bound(self.hits, self.total)

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json: `share` (None of nothing), `hits`, `total`, `low`, `high`."""
        low, high = self.interval
        share = None if self.value is None else round(self.value, _DIGITS)
        counts = {"hits": self.hits, "total": self.total}
        return {"share": share, **counts, "low": rounding.down(low), "high": rounding.up(high)}


def lowest(score: Doubles, group: Integers) -> Doubles:
    """Return the lowest score of each group, in the groups' order, from the score and the group of each row [n]."""
    groups, place = np.unique(group, return_inverse=True)
    found = np.full(len(groups), np.inf)
    np.minimum.at(found, place, score)
    return found


def upper_bound(hits: int, total: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided Clopper-Pearson upper bound of a share, 0-1; 1 of nothing."""
    from scipy.special import betaincinv

    return 1.0 if hits >= total else float(betaincinv(hits + 1, total - hits, confidence))


def lower_bound(hits: int, total: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided Clopper-Pearson lower bound of a share, 0-1; 0 of nothing."""
    return 1.0 - upper_bound(total - hits, total, confidence)


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Counts of true class (rows) against the named one (columns), int64 [classes, classes]."""

    table: Integers

    @classmethod
    def of(cls, truth: Integers, named: Integers, classes: int) -> Confusion:
        """Count pairs of class indices, int64 [n] each."""
        table = np.zeros((classes, classes), np.int64)
        np.add.at(table, (truth, named), 1)
        return cls(table)

    def recall(self, label: int) -> Share:
        """Return how many of a class's pictures were given its name."""
        return Share(int(self.table[label, label]), int(self.table[label].sum()))

    def precision(self, label: int) -> Share:
        """Return how many of the pictures that were given a class's name are of it."""
        return Share(int(self.table[label, label]), int(self.table[:, label].sum()))

    @property
    def accuracy(self) -> Share:
        """How many pictures were given their class's name."""
        return Share(int(np.trace(self.table)), int(self.table.sum()))

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that there are pictures of: each weighs the same, however rare."""
        recalls = [self.recall(label).value for label in range(len(self.table))]
        return float(np.mean([recall for recall in recalls if recall is not None]))

    @property
    def macro_f1(self) -> float:
        """The mean over classes of 2 TP / (2 TP + FP + FN); a class neither shown nor named is left out."""
        right = np.diagonal(self.table)
        both = self.table.sum(axis=0) + self.table.sum(axis=1)
        return float(np.mean(2 * right[both > 0] / both[both > 0]))


@dataclass(frozen=True, slots=True)
class Bin:
    """Pictures of similar confidence: what the model said of them on average, and how often it was right."""

    confidence: float
    right: Share


def reliability(confidence: Doubles, right: Booleans) -> list[Bin]:
    """Sort pictures into bins of about equal numbers by confidence [n], 0-1; equal confidences share a bin.

    Equal numbers rather than equal widths: the estimate is less biased (Roelofs et al., Mitigating bias in
    calibration error estimation, 2022). int8 scores repeat often, and where to cut among equals would be chance.
    At most 15 bins, and on average at least 20 pictures in each.
    """
    order = np.argsort(confidence, kind="stable")
    ordered = confidence[order]
    bins = int(np.clip(len(ordered) // _LEAST_IN_BIN, 1, _MOST_BINS))
    wanted = ordered[np.arange(1, bins) * len(ordered) // bins]
    cuts = np.unique(np.searchsorted(ordered, wanted, side="left"))
    return [
        Bin(float(confidence[rows].mean()), Share.of(right[rows])) for rows in np.split(order, cuts) if len(rows) > 0
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error, 0-1: how far confidence and truth are apart, weighted by pictures.

    Source: Naeini et al., Obtaining well calibrated probabilities using Bayesian binning (2015). It is biased
    upwards, the more the fewer pictures: a perfect model's is not 0 either. See `chance_calibration_error`.
    """
    total = sum(one.right.total for one in bins)
    return sum(one.right.total * abs(one.confidence - (one.right.value or 0.0)) for one in bins) / total


def chance_calibration_error(confidence: Doubles) -> float:
    """Return the calibration error that a perfectly calibrated model would show, on average, with these confidences.

    Truths are drawn from the confidences themselves: consistency resampling, Broecker and Smith, Increasing the
    reliability of reliability diagrams (2007). The same confidences give the same figure.
    """
    rng = np.random.default_rng(0)
    draws = (rng.random(len(confidence)) < confidence for _ in range(_RESAMPLES))
    return float(np.mean([calibration_error(reliability(confidence, right)) for right in draws]))


def log_loss(scores: Doubles, truth: Integers) -> float:
    """Return the mean negative log-likelihood in nats of scores [n, classes], 0-1; 0 counts as 1e-9."""
    return float(-np.log(np.maximum(scores[np.arange(len(truth)), truth], 1e-9)).mean())


def brier(scores: Doubles, truth: Integers) -> float:
    """Return the mean squared distance, 0-2, of scores [n, classes] from certainty (Brier, 1950)."""
    return float(np.square(scores - np.eye(scores.shape[1])[truth]).sum(axis=1).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points from left to right, each axis 0-1, and one figure for the whole curve."""

    x: Doubles
    y: Doubles
    area: float


def roc(defect: Booleans, score: Doubles) -> Curve:
    """Return false alarms against defects found as one threshold on P(defect) [n] moves; area: the AUC.

    Both kinds of picture must be there.
    """
    from sklearn.metrics import auc, roc_curve

    false_alarms, found, _ = roc_curve(defect, score)
    return Curve(false_alarms, found, float(auc(false_alarms, found)))


def precision_recall(defect: Booleans, score: Doubles) -> Curve:
    """Return defects found (x) against the share of alarms that are true (y); area: the average precision.

    Both kinds of picture must be there. The share depends on how frequent defects are in these pictures.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(defect, score, drop_intermediate=True)
    return Curve(recall[::-1], precision[::-1], float(average_precision_score(defect, score)))


@dataclass(frozen=True, slots=True, eq=False)
class TradeOff:
    """What one threshold on P(defect) would do, from the lowest to the highest; all arrays [thresholds]."""

    threshold: Doubles
    missed: Integers
    """Of `defects`, those below the threshold."""
    alarms: Integers
    """Of `intact`, those at or above it."""
    defects: int
    intact: int


def trade_off(defect: Booleans, score: Doubles) -> TradeOff:
    """Count missed defects and false alarms at each distinct score, and above all of them."""
    thresholds = np.append(np.unique(score), np.inf)
    missed = np.searchsorted(np.sort(score[defect]), thresholds, side="left")
    quiet = np.searchsorted(np.sort(score[~defect]), thresholds, side="left")
    intact = int((~defect).sum())
    return TradeOff(thresholds, missed, intact - quiet, len(score) - intact, intact)
