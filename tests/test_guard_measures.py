"""What the guard measures on a frame: light, focus, where the scene lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from guard_line import HEIGHT, WIDTH, Shot, photograph
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge.guard.measures import LONGEST, Glance, halved, measure, picture_shape, plain
from edge.guard.reference import Reference

SIDES = st.integers(1, 2000)


@settings(max_examples=60)
@given(SIDES, SIDES, st.sampled_from([(), (1,), (3,)]))
def test_any_frame_is_measured(height: int, width: int, channels: tuple[int, ...]) -> None:
    """Whatever its size, a frame has finite measures, and a small picture of the size that is said of it."""
    found = measure(np.full((height, width, *channels), 100, np.uint8), "RGB")
    assert found.picture.shape == picture_shape(height, width)
    assert max(found.picture.shape) <= LONGEST // 2
    assert found.picture.dtype == np.float32
    assert (round(found.luma), found.dark, found.bright, round(found.sharpness, 3)) == (100, 0, 0, 0)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8), np.float32),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8), np.uint8),
        np.zeros(8, np.uint8),
        np.zeros((8, 0, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(pixels: Any) -> None:
    """Another dtype, another count of channels or no pixels at all are a ValueError."""
    with pytest.raises(ValueError, match="a frame must be uint8"):
        measure(pixels, "RGB")


def test_the_order_of_channels_and_the_memory_layout_do_not_matter() -> None:
    """The same colours as B, G, R, and as a view that is not contiguous, measure the same."""
    pixels = photograph(2, 0)
    found, turned = measure(pixels, "RGB"), measure(pixels[:, :, ::-1], "BGR")
    assert turned.luma == pytest.approx(found.luma, rel=1e-6)
    assert turned.sharpness == pytest.approx(found.sharpness, rel=1e-6)
    assert (turned.dark, turned.bright) == (found.dark, found.bright)


def test_grey_measures_as_its_colour() -> None:
    """A grey frame, with or without an axis for its channel, measures as the same grey in three channels."""
    grey = photograph(2, 0)[:, :, 1]
    found = measure(np.repeat(grey[:, :, np.newaxis], 3, axis=2), "RGB")
    for pixels in (grey, grey[:, :, np.newaxis]):
        assert measure(pixels, "RGB").sharpness == pytest.approx(found.sharpness, rel=1e-5)
        assert measure(pixels, "RGB").luma == pytest.approx(found.luma, rel=1e-6)


def test_the_size_of_the_frame_does_not_matter() -> None:
    """Twice and three times as many pixels of the same scene measure the same."""
    pixels = photograph(2, 0)
    found = measure(pixels, "RGB")
    for times in (2, 3):
        larger = measure(pixels.repeat(times, axis=0).repeat(times, axis=1), "RGB")
        assert larger.sharpness == pytest.approx(found.sharpness, rel=0.01)
        assert larger.luma == pytest.approx(found.luma, abs=0.5)


@pytest.mark.parametrize("station", range(4))
def test_blur_takes_sharpness_and_light_does_not(station: int) -> None:
    """Each step out of focus has less than the one before, down to far out; a third of the light changes a fifth."""
    steps = [measure(photograph(station, 0, Shot(blur=blur)), "RGB").sharpness for blur in (0, 1, 2)]
    assert steps[1] < 0.55 * steps[0]
    assert steps[2] < 0.55 * steps[1]
    for far in (4, 8, 16):
        assert measure(photograph(station, 0, Shot(blur=far)), "RGB").sharpness < 0.25 * steps[0]
    for light in (0.67, 1.33):
        assert measure(photograph(station, 0, Shot(light=light)), "RGB").sharpness == pytest.approx(steps[0], rel=0.2)


def test_dark_and_bright_are_shares_of_the_frame() -> None:
    """A quarter of black is 25% dark; a third of pure red is 33% bright, though its luma is low."""
    pixels = np.full((240, 300, 3), 100, np.uint8)
    pixels[:60] = 3
    pixels[60:140] = (255, 0, 0)
    found = measure(pixels, "RGB")
    assert (found.dark, found.bright) == (0.25, pytest.approx(1 / 3))
    assert found.luma < 100


def moved(pixels: np.ndarray[Any, Any], dx: float, dy: float) -> np.ndarray[Any, Any]:
    """Move a picture by fractions of a pixel, repeating its border."""
    plan = (1, 0, -dx, 0, 1, -dy)
    wide = np.pad(pixels, ((64, 64), (64, 64), (0, 0)), mode="reflect")
    image = Image.fromarray(wide).transform(
        (wide.shape[1], wide.shape[0]), Image.Transform.AFFINE, plan, Image.Resampling.BICUBIC
    )
    return np.asarray(image)[64:-64, 64:-64]


@settings(max_examples=60)
@given(st.integers(0, 3), st.floats(-40, 40), st.floats(-24, 24))
def test_a_shift_is_found_to_a_fraction_of_a_pixel(station: int, dx: float, dy: float) -> None:
    """Any shift of up to a fifteenth of the frame is found to within a thousandth of it, between pixels too."""
    reference = Reference(measure(photograph(station, 0), "RGB").picture)
    found = reference.place(measure(moved(photograph(station, 1), dx, dy), "RGB").picture)
    assert found.known
    assert found.dx == pytest.approx(dx / WIDTH, abs=1e-3)
    assert found.dy == pytest.approx(dy / HEIGHT, abs=1.5e-3)
    assert found.likeness > 0.85


def test_the_reference_lies_where_it_lies() -> None:
    """A picture compared with itself has not moved, for certain, and is wholly like itself."""
    picture = measure(photograph(1, 0), "RGB").picture
    found = Reference(picture).place(picture)
    assert (found.dx, found.dy) == (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))
    assert (found.confidence, found.likeness) == (pytest.approx(1, abs=0.01), pytest.approx(1))


@given(st.integers(1, 90), st.integers(1, 160), st.integers(0, 1000))
def test_noise_has_no_place_in_any_picture(height: int, width: int, seed: int) -> None:
    """White noise is not taken for a shifted reference, whatever the size; nor is a picture of one level."""
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(128, 40, (height, width)).astype(np.float32) for _ in range(2))
    for reference in (first, np.full_like(first, 90)):
        for picture in (second, np.full_like(first, 100)):
            found = Reference(reference).place(picture)
            assert np.isfinite((found.confidence, found.likeness)).all()
            assert (found.known, found.dx, found.dy) == (False, 0, 0)


def test_halving_is_the_mean_of_blocks() -> None:
    """Blocks of 2 x 2 are averaged, an odd end is left out, and a single line stays."""
    assert halved(np.arange(15, dtype=np.float32).reshape(3, 5)).tolist() == [[3, 5]]
    assert halved(np.array([[1, 3, 9]], np.float32)).tolist() == [[2]]


@settings(max_examples=200)
@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.sampled_from([(), (1,), (3,)]),
    st.sampled_from([0, 16, 17, 100, 239, 240, 255]),
    st.data(),
)
def test_a_glance_overlooks_no_blank_frame(
    size: tuple[int, int], channels: tuple[int, ...], level: int, data: st.DataObject
) -> None:
    """Wherever something else lies in it, a frame that measures as blank may be so at a glance too."""
    pixels = np.full((*size, *channels), level, np.uint8)
    for _ in range(data.draw(st.integers(0, 3))):
        row, column = (data.draw(st.integers(0, side - 1)) for side in size)
        pixels[row : row + data.draw(st.integers(1, 40)), column : column + 9] = data.draw(st.integers(0, 255))
    found, share = measure(pixels, "RGB"), data.draw(st.sampled_from([0.9, 0.99, 0.999, 1.0]))
    assert Glance(pixels).may_be_blank(share) or max(found.dark, found.bright, plain(pixels)) < share


def test_a_glance_tells_most_frames_from_blank_ones() -> None:
    """A part that is lit and one before a dark ground are not measured as a whole; one of a single level is."""
    dark = np.zeros((720, 1280, 3), np.uint8)
    dark[300:420, 500:700] = 100
    assert not any(Glance(pixels).may_be_blank(0.999) for pixels in (photograph(2, 0), dark))
    assert all(Glance(np.full_like(dark, level)).may_be_blank(0.999) for level in (0, 99, 255))
