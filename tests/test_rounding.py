from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation import rounding
from training.evaluation.promise import Promise
from training.evaluation.statistics import Share, upper_bound

SHARES = st.floats(0, 1) | st.builds(upper_bound, st.integers(0, 50), st.integers(0, 10**6))


def share_of(text: str, whole: int) -> float:
    """Read what was printed."""
    return float(Decimal(text.removesuffix("%")) / whole)


@given(SHARES)
def test_a_printed_bound_is_never_tighter_than_the_computed_one_nor_needlessly_wide(share: float) -> None:
    """Upper ends are at or above it, lower ones at or below, by no more than a hundredth, or what is finest."""
    room = max(0.01 * share, 1e-6)
    assert share <= share_of(rounding.percent_up(share), 100) <= share + room
    assert share - room <= share_of(rounding.percent_down(share), 100) <= share
    assert share <= share_of(rounding.of_thousand_up(share), 1000) <= share + max(0.1 * min(share, 0.01), 1e-6)
    assert share <= rounding.up(share) <= share + 1e-6
    assert share - 1e-6 <= rounding.down(share) <= share


@given(st.integers(0, 10**6).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_what_is_written_holds_what_was_found(counts: tuple[int, int]) -> None:
    """The interval in report.json holds the computed one."""
    found = Share(*counts)
    plain = found.plain()
    assert plain["low"] <= found.interval[0]
    assert found.interval[1] <= plain["high"]


@pytest.mark.parametrize(
    ("share", "upper", "lower", "of_thousand"),
    [
        (upper_bound(0, 2_000), "0.15%", "0.149%", "1.5"),
        (upper_bound(0, 7_000), "0.0428%", "0.0427%", "0.43"),
        (upper_bound(0, 120), "2.47%", "2.46%", "25"),
        (0.005, "0.5%", "0.5%", "5"),
        (0.07, "7%", "7%", "70"),
        (0.1532, "15.4%", "15.3%", "154"),
        (0.99993, "100%", "99.99%", "1000"),
        (0.0, "0%", "0%", "0"),
        (1.0, "100%", "100%", "1000"),
    ],
)
def test_bounds_are_rounded_for_people(share: float, upper: str, lower: str, of_thousand: str) -> None:
    """Three digits, two of few parts in a thousand, and round numbers as they are."""
    assert rounding.percent_up(share) == upper
    assert rounding.percent_down(share) == lower
    assert rounding.of_thousand_up(share) == of_thousand


@given(st.integers(0, 3_000), st.floats(0.001, 0.5))
def test_a_promise_says_no_less_than_it_shows(defects: int, max_miss: float) -> None:
    """What its sentence states first if it is shown, and last if it is not, is at least its bound."""
    promise = Promise(max_miss=max_miss, defects=defects, pictures=defects, allowed=0, bound=upper_bound(0, defects))
    stated = [share_of(text, 100) for text in re.findall(r"[0-9.]+%", promise.text.replace("(95%", ""))]
    assert stated[0 if promise.shown else -1] >= promise.bound - 1e-10
