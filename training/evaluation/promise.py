"""What photographed defects prove of those yet to come: a bound on the share that passes unseen. Pure."""

from __future__ import annotations

import bisect
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training.evaluation.statistics import CONFIDENCE, upper_bound

if TYPE_CHECKING:
    from training.evaluation.statistics import Doubles

SMALLEST = 1e-9
"""A threshold must be above 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What so many photographed defects show, whichever they are, of the share of defects that pass unseen."""

    max_miss: float
    """The share asked for, 0-1."""
    defects: int
    """In the calibration part."""
    allowed: int
    """How many of them may lie below `pass_below`."""
    bound: float
    """What is shown, 0-1: of calibration parts of this size, 95% give a rule that misses no larger share."""
    share: float = 1.0
    """Of all photographed defects that go to the calibration part, above 0: others prove nothing here."""

    @classmethod
    def of(cls, defects: Doubles, max_miss: float, share: float = 1.0) -> tuple[Promise, float]:
        """Return the promise and the highest `pass_below` that keeps it, from the P(defect) of defects [n].

        If even the lowest score is too high for the promise, that one: no rule is safer on what was photographed.
        """
        rank = max(1, allowance(len(defects), max_miss))
        cap = float(np.sort(defects)[rank - 1]) if len(defects) else math.inf
        # Defects that score lower than any threshold can be, if there are any, pass under each rule.
        allowed = rank - 1 if cap >= SMALLEST else int((defects < SMALLEST).sum())
        bound = upper_bound(allowed, len(defects))
        return cls(max_miss=max_miss, defects=len(defects), allowed=allowed, bound=bound, share=share), cap

    @property
    def shown(self) -> bool:
        """Whether `bound` is as low as was asked for."""
        return self.bound <= self.max_miss

    @property
    def more(self) -> int:
        """How many more defects the calibration part takes to show it, if none of them may pass."""
        return max(0, enough(self.max_miss) - self.defects)

    @property
    def photographs(self) -> int:
        """How many more defects must be photographed for that, as long as the same share of them calibrates."""
        return math.ceil(self.more / self.share)

    @property
    def text(self) -> str:
        """Say in one line what is shown, or what is missing and what holds instead."""
        asked, bound = _percent(self.max_miss), _percent(self.bound)
        if self.shown:
            return f"at most {asked} of defects pass unseen (95% confidence), shown with {self.defects} defects"
        if not self.more:
            return f"a miss rate of {asked} cannot be shown: some defects score as surely intact; the bound is {bound}"
        needed = f"{self.photographs:,} more must be photographed"
        if self.photographs > self.more:
            needed += f", of which {self.more:,} would calibrate"
        return (
            f"a miss rate of {asked} cannot be shown with {self.defects} defects to calibrate with: "
            f"{needed}; with these the best bound is {bound}, and it is kept"
        )

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json: the fields, `shown`, `more`, `photographs` and `text`."""
        told = {"shown": self.shown, "more": self.more, "photographs": self.photographs, "text": self.text}
        return asdict(self) | told


def allowance(defects: int, max_miss: float) -> int:
    """Return the rank k, from 1, of the defect score that `pass_below` may reach; 0 if none keeps the promise.

    The largest k for which the upper bound of k - 1 misses in so many defects is at most `max_miss`.
    """
    ranks = range(1, defects + 1)
    return bisect.bisect_right(ranks, max_miss, key=lambda rank: upper_bound(rank - 1, defects))


def enough(max_miss: float) -> int:
    """Return how many defects, none missed, show a miss rate: n >= log(1 - confidence) / log(1 - max_miss)."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-max_miss))


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
