"""What came of judging the held-out pictures, and every figure that the report and the manifest state of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from edge.contract.bundle import Thresholds
from edge.contract.messages import Verdict
from training.evaluation import rounding, statistics
from training.evaluation.statistics import Confusion, Share
from training.evaluation.thresholds import defect_scores

if TYPE_CHECKING:
    from edge.contract.bundle import Label
    from training.data.dataset import Integers
    from training.evaluation.statistics import Bin, Booleans, Curve, Doubles, TradeOff
    from training.evaluation.thresholds import Rule

_DIGITS = 6


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How long the device's code took for a picture on the machine that evaluated: (median, 95th percentile) in ms."""

    machine: str
    """Its processor."""
    runtime: str
    """Name and version."""
    threads: int
    preprocess: tuple[float, float]
    """From the original to the model's pixels."""
    invoke: tuple[float, float]
    total: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Result:
    """Everything that the report says of the held-out pictures; row i of `judged` is row i of that set."""

    labels: tuple[Label, ...]
    judged: list[Judgement]
    temperature: float = 1.0
    thresholds: Thresholds = field(default_factory=Thresholds)
    rule: Rule | None = None
    """Why the thresholds are what they are; None: nothing was chosen."""
    speed: Speed | None = None
    part: Integers | None = None
    """Which of the pictures show the same part, int64 [n]; None: each another one."""

    @cached_property
    def truth(self) -> Integers:
        """The class of each picture, int64 [n]."""
        index = self._index
        return np.array([index[j.truth] for j in self.judged], np.int64)

    @cached_property
    def scores(self) -> Doubles:
        """The device's scores, float64 [n, classes]."""
        return np.array([[j.scores[label.name] for label in self.labels] for j in self.judged], np.float64)

    @cached_property
    def p_defect(self) -> Doubles:
        """P(defect) of each picture, [n], 0-1."""
        return defect_scores(self.scores, self.labels)

    @cached_property
    def damaged(self) -> Booleans:
        """Which pictures show a class that means DEFECT, [n]."""
        return np.array([label.verdict == "DEFECT" for label in self.labels])[self.truth]

    @property
    def both_kinds(self) -> bool:
        """Whether there are pictures of damaged and of intact parts."""
        return bool(self.damaged.any() and not self.damaged.all())

    def verdicts(self, *, damaged: bool) -> dict[str, Share]:
        """Return by verdict how many of the damaged or of the intact parts it was given to."""
        given = [j.verdict for j, is_damaged in zip(self.judged, self.damaged, strict=True) if is_damaged == damaged]
        return {str(verdict): Share(given.count(verdict), len(given)) for verdict in Verdict}

    @property
    def parts(self) -> int:
        """How many parts the pictures show, as far as is known."""
        return len(self.judged) if self.part is None else len(np.unique(self.part))

    def parts_given(self, verdict: Verdict, *, damaged: bool) -> Share:
        """Return of how many damaged or intact parts any picture was given the verdict: parts are independent."""
        given = np.array([j.verdict == verdict for j in self.judged], np.float64)[self.damaged == damaged]
        if self.part is not None:
            given = -statistics.lowest(-given, self.part[self.damaged == damaged])
        return Share.of(given > 0)

    @property
    def missed(self) -> Share:
        """Damaged parts of which a picture was judged PASS."""
        return self.parts_given(Verdict.PASS, damaged=True)

    @property
    def false_alarms(self) -> Share:
        """Intact parts of which a picture was judged DEFECT."""
        return self.parts_given(Verdict.DEFECT, damaged=False)

    @property
    def unknown(self) -> Share:
        """Pictures, of damaged parts or not, left to somebody to look at."""
        return Share(sum(j.verdict == Verdict.UNKNOWN for j in self.judged), len(self.judged))

    @cached_property
    def confusion(self) -> Confusion:
        """True classes (rows) against the device's labels (columns), both in the labels' order."""
        index = self._index
        named = np.array([index[j.label] for j in self.judged], np.int64)
        return Confusion.of(self.truth, named, len(self.labels))

    @cached_property
    def float_confusion(self) -> Confusion:
        """The same with what the model said before it was quantized."""
        index = self._index
        named = np.array([index[j.float_label] for j in self.judged], np.int64)
        return Confusion.of(self.truth, named, len(self.labels))

    @property
    def confidence(self) -> Doubles:
        """The highest score of each picture, [n], 0-1."""
        return np.asarray(self.scores.max(axis=1))

    @cached_property
    def reliability(self) -> list[Bin]:
        """How often the likeliest class is the true one, by its score."""
        return statistics.reliability(self.confidence, self.scores.argmax(axis=1) == self.truth)

    @cached_property
    def defect_reliability(self) -> list[Bin]:
        """How often parts are damaged, by P(defect)."""
        return statistics.reliability(self.p_defect, self.damaged)

    @cached_property
    def trade_off(self) -> TradeOff:
        """See `statistics.trade_off`, by part: a damaged one has its lowest P(defect), an intact one its highest."""
        if self.part is None:
            return statistics.trade_off(self.damaged, self.p_defect)
        missed = statistics.lowest(self.p_defect[self.damaged], self.part[self.damaged])
        alarm = -statistics.lowest(-self.p_defect[~self.damaged], self.part[~self.damaged])
        return statistics.trade_off(np.arange(len(missed) + len(alarm)) < len(missed), np.append(missed, alarm))

    @cached_property
    def roc(self) -> Curve:
        """See `statistics.roc`; only where there are both kinds of picture."""
        return statistics.roc(self.damaged, self.p_defect)

    @cached_property
    def precision_recall(self) -> Curve:
        """See `statistics.precision_recall`; only where there are both kinds of picture."""
        return statistics.precision_recall(self.damaged, self.p_defect)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Return the manifest's figures: shares 0-1 of the held-out pictures, and how many those are.

        `accuracy_int8` and what follows from it count the device's label, `accuracy_float` that of the model before
        quantization under the same rule. `ece` is the expected calibration error of the highest score,
        `ece_by_chance` what a perfectly calibrated model would show. Where some class means intact:
        `missed_defects` is the share of damaged parts of which a picture was judged PASS, `false_alarms` that of intact
        parts of which one was judged DEFECT, each with its one-sided 95% bound `_upper`, rounded up; `unknown` is the
        share of all pictures judged UNKNOWN. Latencies are milliseconds on the machine that evaluated: median and
        95th percentile.
        """
        figures = {
            "accuracy_int8": self.confusion.accuracy.value or 0.0,
            "accuracy_float": self.float_confusion.accuracy.value or 0.0,
            "test_pictures": float(len(self.judged)),
            "balanced_accuracy": self.confusion.balanced_accuracy,
            "macro_f1": self.confusion.macro_f1,
            "ece": statistics.calibration_error(self.reliability),
            "ece_by_chance": statistics.chance_calibration_error(self.confidence),
            "log_loss": statistics.log_loss(self.scores, self.truth),
            "brier": statistics.brier(self.scores, self.truth),
        }
        if self.both_kinds:
            figures |= {
                "missed_defects": self.missed.value or 0.0,
                "missed_defects_upper": rounding.up(self.missed.upper),
                "false_alarms": self.false_alarms.value or 0.0,
                "false_alarms_upper": rounding.up(self.false_alarms.upper),
                "unknown": self.unknown.value or 0.0,
                "roc_auc": self.roc.area,
                "average_precision": self.precision_recall.area,
            }
        if self.speed:
            figures |= {"latency_ms": self.speed.total[0], "latency_p95_ms": self.speed.total[1]}
        return {name: round(float(value), _DIGITS) for name, value in figures.items()}

    @property
    def _index(self) -> dict[str, int]:
        return {label.name: i for i, label in enumerate(self.labels)}
