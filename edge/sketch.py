"""Quantiles of many numbers in little memory."""

from __future__ import annotations

import math
from collections import Counter
from typing import Self

_GROWTH = 1.02
"""Of a bucket over the one before: a quantile is off by 1% at most, (_GROWTH - 1) / (_GROWTH + 1)."""
_LOG_GROWTH = math.log(_GROWTH)
_LEAST, _MOST = 1e-3, 1e9
"""What is outside counts as the nearer of the two: 1,400 buckets at most, whatever comes."""


class Sketch:
    """Counts numbers in buckets that grow with them: DDSketch, by Masson, Rim and Lee (PVLDB 12(12), 2019)."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, number: float) -> None:
        """Count one more, from 0 up."""
        self._buckets[math.ceil(math.log(min(max(number, _LEAST), _MOST)) / _LOG_GROWTH)] += 1

    def __iadd__(self, other: Self) -> Self:
        """Count all that another has counted."""
        self._buckets.update(other._buckets)
        return self

    def __bool__(self) -> bool:
        """Whether there is any number."""
        return bool(self._buckets)

    def percentile(self, percent: float) -> float:
        """Return the number that `percent` of all do not exceed, within 1%; raises ValueError where there is none."""
        rank = max(1, math.ceil(self._buckets.total() * percent / 100))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return float(2 * _GROWTH**bucket / (_GROWTH + 1))
        raise ValueError("no number was counted")
