"""Percentiles in bounded memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sketch import Sketch


def sketched(numbers: list[float]) -> Sketch:
    sketch = Sketch()
    for number in numbers:
        sketch.add(number)
    return sketch


@given(st.lists(st.floats(1e-3, 1e9), min_size=1), st.sampled_from([1, 50, 95, 99, 100]))
def test_percentiles_are_within_one_percent(numbers: list[float], percent: int) -> None:
    """Whatever is counted, a percentile is the one by nearest rank, within 1%."""
    exact = sorted(numbers)[math.ceil(len(numbers) * percent / 100) - 1]
    assert sketched(numbers).percentile(percent) == pytest.approx(exact, rel=0.01)


@given(st.lists(st.floats(0, allow_infinity=True)), st.lists(st.floats(0)))
def test_two_together_are_as_one(first: list[float], second: list[float]) -> None:
    """What two have counted is the same as if one had, zero and infinity included."""
    both = sketched(first)
    both += sketched(second)
    whole = sketched(first + second)
    assert bool(both) == bool(first + second)
    if both:
        assert [both.percentile(p) for p in range(0, 101, 10)] == [whole.percentile(p) for p in range(0, 101, 10)]


def test_memory_is_bounded() -> None:
    """A hundred thousand different numbers over all magnitudes take no more than 1,400 buckets."""
    sketch = sketched([1e-6 * 1.0003**number for number in range(100_000)])
    assert 1_000 < len(sketch._buckets) <= 1_400


def test_nothing_has_no_percentile() -> None:
    """Where nothing was counted nothing is made up."""
    assert not Sketch()
    with pytest.raises(ValueError, match="no number"):
        Sketch().percentile(50)
