"""What the preview page measures, and how it turns places to and fro."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.contract.preprocess import Region, Rotation, crop
from edge.preview.figures import BEST_SECONDS, BINS, FocusMeter, RateMeter, channels
from edge.preview.turning import turned, turned_back, turned_shift

ROTATIONS: tuple[Rotation, ...] = (0, 90, 180, 270)
SIDES = st.integers(0, 12)


@st.composite
def areas(draw: st.DrawFn) -> tuple[Region, tuple[int, int]]:
    """A rectangle of whole pixels, and its frame's height and width."""
    rows, columns = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    top, left = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
    bottom, right = draw(st.integers(top + 1, rows)), draw(st.integers(left + 1, columns))
    area = Region(left / columns, top / rows, (right - left) / columns, (bottom - top) / rows)
    return area, (rows, columns)


@given(areas(), st.sampled_from(ROTATIONS))
def test_a_region_turns_with_its_picture(found: tuple[Region, tuple[int, int]], rotate: Rotation) -> None:
    """What a region shows, turned, is what the turned picture shows at the turned region; and back again."""
    area, shape = found
    pixels = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    there = crop(np.rot90(pixels, -rotate // 90), turned(area, rotate))
    assert np.array_equal(there, np.rot90(crop(pixels, area), -rotate // 90))
    back = turned_back(turned(area, rotate), rotate)
    assert (back.x, back.y, back.width, back.height) == pytest.approx((area.x, area.y, area.width, area.height))


@pytest.mark.parametrize("rotate", ROTATIONS)
def test_a_shift_turns_with_its_picture(rotate: Rotation) -> None:
    """What moves a part in the frame moves it as far in the turned picture, where it then lies."""
    before, after = Region(0.2, 0.3, 0.1, 0.1), Region(0.3, 0.35, 0.1, 0.1)
    one, other = turned(before, rotate), turned(after, rotate)
    assert turned_shift(0.1, 0.05, rotate) == pytest.approx((other.x - one.x, other.y - one.y))


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 3]))),
    st.sampled_from(["RGB", "BGR"]),
)
def test_a_histogram_counts_all_pixels(pixels: np.ndarray, order: str) -> None:
    """Of any small picture, the shares of each channel sum to 1, and mean and ends are those of its pixels."""
    found = channels(pixels, order)  # type: ignore[arg-type]
    names = ["luma"] if pixels.shape[2] == 1 else ["luma", "red", "green", "blue"]
    assert [each.name for each in found] == names
    for each in found:
        assert len(each.bins) == BINS
        assert sum(each.bins) == pytest.approx(1)
        assert 0 <= each.mean <= 255
    red = pixels[..., 0 if order == "RGB" else -1]
    colour = found[-1] if len(found) == 1 else found[1]
    assert (colour.mean, colour.low, colour.high) == pytest.approx((red.mean(), (red == 0).mean(), (red == 255).mean()))


def test_a_clipped_channel_shows() -> None:
    """A large picture whose red alone is too much here and there: no average hides that."""
    pixels = np.full((1200, 1600, 3), 100, np.uint8)
    pixels[::7, :, 2] = 255
    luma, red, green, blue = channels(pixels, "BGR")
    assert red.high == pytest.approx(1 / 7, abs=0.01)
    assert luma.high == green.high == blue.high == 0
    assert green.bins[100 // (256 // BINS)] == 1


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 1000)), min_size=1, max_size=60))
def test_the_best_focus_is_that_of_the_last_minute(steps: list[tuple[float, float]]) -> None:
    """After each frame the mark is the greatest sharpness of the frames less than a minute old."""
    meter, now, seen = FocusMeter(), 0.0, []
    for wait, value in steps:
        now += wait
        seen.append((now, value))
        focus = meter.add(now, value)
        assert focus.value == value
        assert focus.best == max(each for at, each in seen if at > now - BEST_SECONDS)


def test_frames_per_second_are_of_the_last_seconds() -> None:
    """A camera of ten frames a second that stops comes down to none."""
    meter = RateMeter()
    rates = [meter.add(tenth / 10, min(tenth, 50)) for tenth in range(101)]
    assert rates[0] == 0
    assert rates[40] == pytest.approx(10)
    assert rates[100] == 0
    assert all(later <= earlier for earlier, later in pairwise(rates[51:]))
