from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from training.data import optics
from training.recipe import Augmentation

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels


def flat(level: int, rows: int = 24, columns: int = 40) -> Pixels:
    return np.full((rows, columns, 3), level, np.uint8)


@pytest.mark.parametrize("deviation", [0.002, 0.01, 0.05, optics.MOST_NOISE])
def test_noise_has_its_standard_deviation(deviation: float) -> None:
    """What is added to mid-grey has the mean 0 and the deviation asked for, rounding to whole levels included."""
    noise = optics.disturb(flat(128, 300, 300), deviation, 0.3).astype(float) - 128
    assert abs(noise.mean()) < 0.02 * 255 * deviation + 0.01
    assert noise.std() == pytest.approx(np.hypot(255 * deviation, 12**-0.5), rel=0.04)


def test_noise_differs_by_channel_and_reaches_the_last_corner() -> None:
    """Channels are noisy independently, and a picture of more values than were ever drawn is noisy to its end."""
    noise = optics.disturb(flat(128, 1216, 1216), 0.02, 0.9).astype(float) - 128
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.02
    assert noise[-32:, -32:].std() > 4


def test_the_recipe_refuses_more_noise_than_the_arithmetic_holds() -> None:
    """The largest deviation is allowed, and the next larger one is not."""
    msgspec.convert({"noise": optics.MOST_NOISE}, Augmentation)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"noise": optics.MOST_NOISE + 0.001}, Augmentation)


@pytest.mark.parametrize("deviation", [0.2, 0.3, 0.5, 1.0, 3.0, 8.0])
def test_blur_spreads_a_point_by_its_standard_deviation(deviation: float) -> None:
    """The weights sum to one and their variance is that of the Gaussian asked for, below one pixel too."""
    weights = np.array(optics._gaussian(deviation)) / 256
    assert weights[0] + 2 * weights[1:].sum() == 1
    assert 2 * (weights * np.arange(len(weights)) ** 2).sum() == pytest.approx(deviation**2, rel=0.1)
    point = flat(0, 101, 101)
    point[50, 50] = 255
    assert np.array_equal(optics.soften(point, deviation), optics.soften(point, deviation).transpose(1, 0, 2))


def test_an_even_surface_stays_even_when_blurred() -> None:
    """No level and no edge becomes darker or brighter by rounding, at any strength."""
    for level in (0, 1, 127, 254, 255):
        for deviation in (0.3, 1.0, 8.0):
            assert np.array_equal(optics.soften(flat(level), deviation), flat(level))


def test_light_buries_no_damage_in_black_or_white() -> None:
    """A pit ten levels from nearly white or nearly black metal keeps four of them at every end of the defaults."""
    levels = np.repeat(np.array([[5, 15, 240, 250]], np.uint8)[:, :, None], 3, axis=2)
    own = Augmentation()
    for contrast, brightness, warmth in product(*[(-a, a) for a in (own.contrast, own.brightness, own.temperature)]):
        lit = optics.light(Image.fromarray(levels), contrast=1 + contrast, brightness=brightness, warmth=warmth)
        dark, pit_in_dark, pit_in_bright, bright = np.asarray(lit)[0].astype(int)
        assert (pit_in_dark - dark).min() >= 4
        assert (bright - pit_in_bright).min() >= 4


@given(contrast=st.floats(0.5, 1.5), brightness=st.floats(-0.5, 0.5), warmth=st.floats(-0.5, 0.5))
def test_light_keeps_the_order_of_levels(contrast: float, brightness: float, warmth: float) -> None:
    """Within the recipe's ranges what was brighter stays at least as bright, in every channel."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    lit = np.asarray(optics.light(Image.fromarray(ramp), contrast=contrast, brightness=brightness, warmth=warmth))
    assert (np.diff(lit.astype(int), axis=1) >= 0).all()
