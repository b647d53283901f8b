"""Logits by place become one logit a class."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.contract.pooling import Floats, LogSumExp, Mean, Pooling, TopK, pool, top_count

if TYPE_CHECKING:
    from random import Random

PLACES = np.array([[0, 5], [1, 5], [2, 5], [7, 5], [0, -5]], np.float32)
"""Five places of two classes."""

SHARES = st.floats(1e-6, 1)
SHARPNESSES = st.floats(0.01, 100)
POOLINGS = st.one_of(st.just(Mean()), st.builds(TopK, share=SHARES), st.builds(LogSumExp, sharpness=SHARPNESSES))
LOGITS = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=12),
    elements=st.floats(-50, 50, width=32),
)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (Mean(), [2, 3]),
        (TopK(share=0.4), [4.5, 5]),
        (TopK(share=0.2), [7, 5]),
        # ln((2 + e + e^2 + e^7) / 5) and ln((4 e^5 + e^-5) / 5)
        (LogSumExp(sharpness=1), [5.40154, 4.77687]),
        # Half as sharp: 2 ln((2 + e^0.5 + e^1 + e^3.5) / 5) and 2 ln((4 e^2.5 + e^-2.5) / 5)
        (LogSumExp(sharpness=0.5), [4.13284, 4.55708]),
    ],
    ids=repr,
)
def test_known_values(pooling: Pooling, expected: list[float]) -> None:
    """Five places give what a pocket calculator gives, each class by itself."""
    found = pool(PLACES, pooling)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@given(LOGITS, POOLINGS)
def test_leading_axes_are_kept(logits: Floats, pooling: Pooling) -> None:
    """Of float32 [..., places, n] comes float32 [..., n], each leading index pooled as if it were alone."""
    found = pool(logits, pooling)
    assert found.dtype == np.float32
    assert found.shape == (*logits.shape[:-2], logits.shape[-1])
    for index in np.ndindex(*logits.shape[:-2]):
        np.testing.assert_allclose(found[index], pool(logits[index], pooling), rtol=1e-5, atol=1e-5)


@given(LOGITS, POOLINGS, st.randoms(use_true_random=False))
def test_the_order_of_places_does_not_matter(logits: Floats, pooling: Pooling, dice: Random) -> None:
    """Shuffled places give the same logits, and the input is left as it was."""
    order = list(range(logits.shape[-2]))
    dice.shuffle(order)
    before = logits.copy()
    np.testing.assert_allclose(pool(logits[..., order, :], pooling), pool(logits, pooling), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(logits, before)


@given(LOGITS, POOLINGS)
def test_pooled_logits_lie_between_mean_and_maximum(logits: Floats, pooling: Pooling) -> None:
    """Whatever the pooling, nothing is below the mean nor above the highest place."""
    found, slack = pool(logits, pooling), 2e-4
    assert (found >= logits.mean(axis=-2, dtype=np.float64) - slack).all()
    assert (found <= logits.max(axis=-2) + slack).all()


@given(LOGITS, POOLINGS, st.floats(-1000, 1000, width=32))
def test_a_shift_of_all_places_is_one_of_the_result(logits: Floats, pooling: Pooling, shift: float) -> None:
    """A constant added to every place is added to what they pool to, and so changes no score."""
    moved = pool(logits + np.float32(shift), pooling) - np.float32(shift)
    np.testing.assert_allclose(moved, pool(logits, pooling), atol=1e-2)


@given(LOGITS)
def test_the_ends_of_top_k(logits: Floats) -> None:
    """A share of 1 is the mean, a share below one place the maximum."""
    np.testing.assert_array_equal(pool(logits, TopK(share=1)), pool(logits, Mean()))
    np.testing.assert_array_equal(pool(logits, TopK(share=1e-9)), logits.max(axis=-2))


@given(LOGITS)
def test_the_ends_of_log_sum_exp(logits: Floats) -> None:
    """A small sharpness is nearly the mean (off by half of it times the variance), a great one the maximum."""
    variance = logits.var(axis=-2, dtype=np.float64)
    gap = pool(logits, LogSumExp(sharpness=0.01)) - logits.mean(axis=-2, dtype=np.float64)
    np.testing.assert_allclose(gap, 0.005 * variance, atol=0.01 + 0.3 * 0.005 * float(variance.max()))
    most = np.log(logits.shape[-2]) / 100
    np.testing.assert_allclose(pool(logits, LogSumExp(sharpness=100)), logits.max(axis=-2), atol=most + 1e-4)


@given(LOGITS, SHARPNESSES)
def test_log_sum_exp_is_its_formula(logits: Floats, sharpness: float) -> None:
    """It agrees with numpy's own log of a sum of exponentials, in double precision."""
    scaled = np.float64(sharpness) * logits
    expected = (np.logaddexp.reduce(scaled, axis=-2) - np.log(logits.shape[-2])) / sharpness
    np.testing.assert_allclose(pool(logits, LogSumExp(sharpness=sharpness)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooling", [Mean(), TopK(), LogSumExp(sharpness=0.01), LogSumExp(sharpness=100)], ids=repr)
@pytest.mark.parametrize("size", [1e4, 1e30, -1e30])
def test_huge_logits_stay_numbers(pooling: Pooling, size: float) -> None:
    """Logits whose exponential no float holds are pooled without overflow: equal places to their own value."""
    np.testing.assert_allclose(pool(np.full((9, 2), size, np.float32), pooling), [size] * 2, rtol=1e-5)
    mixed = pool(np.array([[size], [0], [-size]], np.float32), pooling)
    assert np.isfinite(mixed).all()


@given(POOLINGS, arrays.arrays(np.float32, (1, 3), elements=st.floats(width=32, allow_nan=False)))
def test_one_place_is_its_own_logits(pooling: Pooling, logits: Floats) -> None:
    """A map of a single place gives exactly its values."""
    np.testing.assert_array_equal(pool(logits, pooling), logits[0])


def test_many_places_lose_no_digits() -> None:
    """The mean over a great canvas' places is as exact as float32 is."""
    many = np.full((2_000_000, 1), 0.1, np.float32)
    many[0] = 0
    np.testing.assert_allclose(pool(many, Mean()), many.mean(dtype=np.float64), rtol=1e-7)


def test_not_a_number_stays_one() -> None:
    """A broken place is seen in the result, so that the verdict is UNKNOWN; it is not passed over."""
    broken = np.array([[np.nan, 1], [0, 1], [3, 1]], np.float32)
    for pooling in (Mean(), TopK(share=0.1), LogSumExp()):
        found = pool(broken, pooling)
        assert np.isnan(found[0])
        assert found[1] == pytest.approx(1)


@given(st.integers(1, 100_000), SHARES)
def test_top_count_is_the_share_of_places(places: int, share: float) -> None:
    """Of all places it is the nearest whole number to the share, but one at least."""
    count = top_count(places, share)
    assert 1 <= count <= places
    assert abs(count - Fraction(share) * places) <= Fraction(1, 2) + Fraction(1, 10**6) or count == 1


@pytest.mark.parametrize(
    ("raw", "pooling"),
    [
        (b'{"kind": "mean"}', Mean()),
        (b'{"kind": "top-k", "share": 0.25}', TopK(share=0.25)),
        (b'{"kind": "top-k"}', TopK(share=0.1)),
        (b'{"kind": "log-sum-exp", "sharpness": 4}', LogSumExp(sharpness=4)),
    ],
)
def test_json_names_the_kind(raw: bytes, pooling: Pooling) -> None:
    """A pooling is written by its kind and its own parameter, and read back as it was."""
    assert msgspec.json.decode(raw, type=Pooling) == pooling
    assert msgspec.json.decode(msgspec.json.encode(pooling), type=Pooling) == pooling


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'"mean"',
        b'{"kind": "max"}',
        b'{"kind": "mean", "share": 0.1}',
        b'{"kind": "top-k", "share": 0}',
        b'{"kind": "top-k", "share": 1.5}',
        b'{"kind": "top-k", "sharpness": 1}',
        b'{"kind": "log-sum-exp", "sharpness": 0}',
        b'{"kind": "log-sum-exp", "sharpness": 1e3}',
    ],
)
def test_another_pooling_is_refused(raw: bytes) -> None:
    """No kind, an unknown one, another kind's parameter and one out of range are not guessed at."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(raw, type=Pooling)
