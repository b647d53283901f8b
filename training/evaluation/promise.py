"""What photographed defects prove of those yet to come: a bound on the share that passes unseen. Pure.

The bound is of independent draws, and several photographs of one part are not: a part that looks intact looks so
in all of them. So damaged parts are counted, and the photograph of each that looks most like an intact part stands
for it. What is bounded is the share of damaged parts of which any photograph would pass, if they are photographed as
often and as differently as these were; a device that takes one photograph of each misses no larger share. Where
nobody knows which photographs show the same part, each counts as a part of its own, and the text says so.

Where the pictures chose the model too, out of several, each of these is held to a share of the doubt (Bonferroni's
inequality): the bound then holds for whichever was chosen.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training.evaluation.rounding import percent_up
from training.evaluation.statistics import CONFIDENCE, lowest, upper_bound

if TYPE_CHECKING:
    from training.data.dataset import Integers
    from training.evaluation.statistics import Doubles

SMALLEST = 1e-9
"""A threshold must be above 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """How the photographs came about that a promise is made from."""

    share: float = 1.0
    """Of all photographed defects that are among them, above 0: others prove nothing here."""
    models: int = 1
    """From how many they chose the one that judged them."""
    part: Integers | None = None
    """Which of them show the same part, int64 [n]; None: each another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What so many damaged parts show, whichever they are, of the share of damaged parts that pass unseen."""

    max_miss: float
    """The share asked for, 0-1."""
    defects: int
    """Damaged parts in the calibration part: each photograph is one if it is not known what belongs together."""
    pictures: int
    """Photographs of them."""
    allowed: int
    """How many of them may lie below `pass_below`."""
    bound: float
    """What is shown, 0-1: of calibration parts of this size, 95% give a rule that misses no larger share."""
    share: float = 1.0
    """Of all photographed defects that go to the calibration part, above 0."""
    models: int = 1
    """From how many these chose the one that judged them."""

    @classmethod
    def of(cls, score: Doubles, max_miss: float, evidence: Evidence) -> tuple[Promise, float]:
        """Return the promise and the highest `pass_below` that keeps it, from P(defect) of photographed defects [n].

        `evidence` is of these photographs. If even the lowest score is too high for the promise, that one: no rule is
        safer on what was photographed.
        """
        part, models = evidence.part, evidence.models
        defects = score if part is None else lowest(score, part)
        rank = max(1, allowance(len(defects), max_miss, models))
        cap = float(np.sort(defects)[rank - 1]) if len(defects) else math.inf
        # Defects that score lower than any threshold can be, if there are any, pass under each rule.
        allowed = rank - 1 if cap >= SMALLEST else int((defects < SMALLEST).sum())
        bound = upper_bound(allowed, len(defects), _confidence(models))
        counts = {"defects": len(defects), "pictures": len(score), "allowed": allowed}
        return cls(max_miss=max_miss, bound=bound, share=evidence.share, models=models, **counts), cap

    @property
    def by_part(self) -> bool:
        """Whether parts were counted, of some of which there are several photographs."""
        return self.defects < self.pictures

    @property
    def shown(self) -> bool:
        """Whether `bound` is as low as was asked for."""
        return self.bound <= self.max_miss

    @property
    def more(self) -> int:
        """How many more defects the calibration part takes to show it, if none of them may pass."""
        return max(0, enough(self.max_miss, self.models) - self.defects)

    @property
    def photographs(self) -> int:
        """How many more must be photographed for that, each of another part, if the same share of them calibrates."""
        return math.ceil(self.more / self.share)

    @property
    def text(self) -> str:
        """Say in one line what is shown, or what is missing and what holds instead."""
        asked, bound = _as_given(self.max_miss), percent_up(self.bound)
        if self.shown:
            what = "damaged parts pass unseen in any of their photographs" if self.by_part else "defects pass unseen"
            return f"at most {asked} of {what} (95% confidence), shown with {self._counted}"
        if not self.more:
            return f"a miss rate of {asked} cannot be shown: some defects score as surely intact; the bound is {bound}"
        needed = f"{self.photographs:,} more {'parts ' if self.by_part else ''}must be photographed"
        if self.photographs > self.more:
            needed += f", of which {self.more:,} would calibrate"
        return (
            f"a miss rate of {asked} cannot be shown by calibration with {self._counted}: "
            f"{needed}; with these the best bound is {bound}, and it is kept"
        )

    @property
    def _counted(self) -> str:
        if self.by_part:
            return f"{self.defects:,} damaged parts ({self.pictures:,} photographs)"
        return f"{self.defects:,} photographs of defects, each counted as a part of its own"

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json: the fields, `by_part`, `shown`, `more`, `photographs` and `text`."""
        told = {name: getattr(self, name) for name in ("by_part", "shown", "more", "photographs", "text")}
        return asdict(self) | told


def allowance(defects: int, max_miss: float, models: int = 1) -> int:
    """Return the rank k, from 1, of the defect score that `pass_below` may reach; 0 if none keeps the promise.

    The largest k for which the upper bound of k - 1 misses in so many defects is at most `max_miss`.
    """
    ranks, confidence = range(1, defects + 1), _confidence(models)
    return bisect.bisect_right(ranks, max_miss, key=lambda rank: upper_bound(rank - 1, defects, confidence))


def enough(max_miss: float, models: int = 1) -> int:
    """Return how many defects, none missed, show a miss rate: n >= log(1 - confidence) / log(1 - max_miss)."""
    return math.ceil(math.log(1 - _confidence(models)) / math.log1p(-max_miss))


def _confidence(models: int) -> float:
    """Return what each of so many models is held to, so that the bound of the one chosen has CONFIDENCE."""
    return 1 - (1 - CONFIDENCE) / models


def _as_given(share: float) -> str:
    """Return the share asked for in per cent, as it was typed: less than that was not shown."""
    return f"{100 * share:.10g}%"
