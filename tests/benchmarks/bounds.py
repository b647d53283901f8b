"""Does the bound that a report states of its missed defects hold? On test sets drawn from a pool whose truth is known.

The pool is all that there is: its own share of missed parts is the truth, and each test set is drawn from it with
replacement, as parts that a factory makes. Counted is how often the report's own bound is no lower than the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from limits import Line

from edge.decision import decide
from training.evaluation.result import Judgement, Result

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge.contract.bundle import Label, Thresholds

LEAST_HELD, MANY = 0.95, 2_000
SIZE = 200
"""Damaged parts in a test set."""


class Pool(NamedTuple):
    """Judged pictures of damaged parts."""

    labels: tuple[Label, ...]
    judged: list[Judgement]
    part: npt.NDArray[np.int64]
    """Which of them show the same part, from 0."""

    def result(self, rows: npt.NDArray[np.int64], part: npt.NDArray[np.int64]) -> Result:
        """Return what a report would be made of."""
        return Result(labels=self.labels, judged=[self.judged[row] for row in rows], part=part)

    @property
    def true(self) -> float:
        """The share of all parts of which a picture passes."""
        return self.result(np.arange(len(self.judged)), self.part).missed.value or 0.0

    def bound(self, seed: int, *, by_part: bool) -> float:
        """Draw a test set and return its report's bound; otherwise each picture counts as a part of its own."""
        drawn = np.random.default_rng([1, seed]).integers(self.part.max() + 1, size=SIZE)
        rows = [np.flatnonzero(self.part == number) for number in drawn]
        shown = np.repeat(np.arange(SIZE), [len(each) for each in rows])
        together = np.concatenate(rows)
        return self.result(together, shown if by_part else np.arange(len(together))).missed.upper


def judgements(
    scores: npt.NDArray[np.floating], truth: npt.NDArray[np.int64], labels: tuple[Label, ...], limit: Thresholds
) -> list[Judgement]:
    """Decide on scores [n, classes] as the device does."""
    found = []
    for row, label in zip(scores.tolist(), truth, strict=True):
        decision = decide(row, labels, limit)
        named = {one.name: score for one, score in zip(labels, row, strict=True)}
        found.append(
            Judgement(
                file="",
                truth=labels[label].name,
                verdict=str(decision.verdict),
                label=str(decision.label),
                score=float(decision.score or 0),
                scores=named,
                float_label="",
            )
        )
    return found


def lines(name: str, pool: Pool, times: int) -> list[Line]:
    """Count on how many drawn test sets the bound holds; by chance some of 100 more or less, so 2,000 stand beside."""
    true, parts = pool.true, int(pool.part.max()) + 1
    held = [pool.bound(seed, by_part=True) >= true for seed in range(max(times, MANY))]
    within = sum(held[:times])
    found = [
        Line(
            f"{name}: holds", f"{within} of {times}", f">= {LEAST_HELD * times:.0f} of {times}",
            within >= LEAST_HELD * times,
        ),
        Line(f"  of {len(held):,} test sets of {SIZE} damaged parts", f"{sum(held) / len(held):.1%}"),
        Line(f"  missed of all {parts:,}", f"{true:.2%}"),
    ]  # fmt: skip
    if parts < len(pool.judged):
        torn = sum(pool.bound(seed, by_part=False) >= true for seed in range(times))
        found.append(Line("  each photograph counted as a part", f"{torn} of {times}"))
    return found
