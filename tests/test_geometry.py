from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL.Image import Resampling
from surfaces import waves

from training.data import geometry


@pytest.mark.parametrize("kernel", [Resampling.HAMMING, Resampling.BOX])
@pytest.mark.parametrize("degrees", [-170, -30, 1, 45, 90])
def test_rotation_is_about_the_middle_by_its_angle(degrees: float, kernel: Resampling) -> None:
    """A surface turned by the formula that drew it is what a rotated view shows, to three levels where nothing ends."""
    angle = np.radians(degrees)
    window = geometry.Window(0, 0, 120, 90, angle)
    view = np.asarray(geometry.sample(waves(90, 120), window, (120, 90), kernel))[15:-15, 30:-30].astype(int)
    assert np.abs(view - waves(90, 120, angle)[15:-15, 30:-30]).max() <= 3


def test_a_window_shows_its_part_of_the_picture() -> None:
    """Whole pixels come back as they are, and beyond the edge their mirror image follows."""
    picture = waves(20, 30)
    shown = geometry.sample(picture, geometry.Window(-4, 5, 20, 10, 0), (20, 10), Resampling.HAMMING)
    assert np.array_equal(shown, np.concatenate([picture[5:15, 3::-1], picture[5:15, :16]], axis=1))


@given(
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    margins=st.tuples(*[st.tuples(st.integers(0, 20), st.integers(0, 20))] * 2),
)
def test_reflection_is_numpys(sides: tuple[int, int], margins: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """The quick padding gives what NumPy's symmetric one gives, for margins beyond the picture's own size too."""
    picture = np.random.default_rng(0).integers(0, 256, (*sides, 3), dtype=np.uint8)
    assert np.array_equal(geometry._reflect(picture, *margins), np.pad(picture, (*margins, (0, 0)), mode="symmetric"))
