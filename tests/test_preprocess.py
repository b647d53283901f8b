"""Contract 2: a frame becomes the model's pixels in exactly one way."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.contract.preprocess import NEUTRAL, PreprocessSpec, Region, ResizeMode, preprocess

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels, Rotation

MODES: tuple[ResizeMode, ...] = get_args(ResizeMode)
SQUASH, LETTERBOX, CROP = (PreprocessSpec(mode=mode) for mode in ("squash", "letterbox", "centre-crop"))
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def stripes(height: int = 40, width: int = 120) -> Pixels:
    """Red, green and blue thirds from left to right, wider than high: no square, no grey."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[:, : width // 3] = RED
    frame[:, width // 3 : 2 * width // 3] = GREEN
    frame[:, 2 * width // 3 :] = BLUE
    return frame


def colours(pixels: Pixels, row: int) -> list[tuple[int, ...]]:
    """The colours of a row at its left, middle and right."""
    return [tuple(int(n) for n in pixels[row, column]) for column in (1, pixels.shape[1] // 2, -2)]


def test_squash_shows_the_whole_frame_distorted() -> None:
    """All three stripes reach the model and fill it from edge to edge."""
    small = preprocess(stripes(), SQUASH, height=24, width=24)
    for row in (0, 12, 23):
        assert colours(small, row) == [RED, GREEN, BLUE]


def test_centre_crop_shows_the_middle_undistorted() -> None:
    """Of a frame three times as wide as high, only the middle stripe reaches the model."""
    small = preprocess(stripes(), CROP, height=24, width=24)
    for row in (0, 12, 23):
        assert colours(small, row) == [GREEN, GREEN, GREEN]


def test_letterbox_shows_the_whole_frame_undistorted() -> None:
    """All three stripes reach the model in a band of a third of its height, grey above and below."""
    small = preprocess(stripes(), LETTERBOX, height=24, width=24)
    assert colours(small, 12) == [RED, GREEN, BLUE]
    for row in (0, 7, 16, 23):
        assert set(colours(small, row)) == {(NEUTRAL,) * 3}
    assert colours(small, 8) == colours(small, 15) == [RED, GREEN, BLUE]


def test_high_frames_are_treated_as_wide_ones() -> None:
    """A frame higher than wide is cropped above and below, and letterboxed left and right."""
    high = np.ascontiguousarray(stripes().swapaxes(0, 1))
    for spec in (SQUASH, LETTERBOX, CROP):
        wide = preprocess(stripes(), spec, height=24, width=24)
        np.testing.assert_array_equal(preprocess(high, spec, height=24, width=24), wide.swapaxes(0, 1), spec.mode)


def test_the_models_own_aspect_counts() -> None:
    """For a model as wide as the frame, all three modes are the same plain resize."""
    squashed = preprocess(stripes(), SQUASH, height=20, width=60)
    assert squashed.shape == (20, 60, 3)
    for spec in (LETTERBOX, CROP):
        np.testing.assert_array_equal(preprocess(stripes(), spec, height=20, width=60), squashed)


@pytest.mark.parametrize("mode", MODES)
def test_bgr_is_turned_into_rgb(mode: ResizeMode) -> None:
    """A coloured frame with its channels as B, G, R gives what it gives as R, G, B, and not without saying so."""
    spec = PreprocessSpec(mode=mode)
    backwards = np.ascontiguousarray(stripes()[:, :, ::-1])
    expected = preprocess(stripes(), spec, height=24, width=20)
    np.testing.assert_array_equal(preprocess(backwards, spec, height=24, width=20, order="BGR"), expected)
    assert mode == "centre-crop" or (preprocess(backwards, spec, height=24, width=20) != expected).any()


@pytest.mark.parametrize("mode", MODES)
def test_grey_is_repeated(mode: ResizeMode) -> None:
    """A grey frame, [h, w] or [h, w, 1], gives what its three equal channels give, in either channel order."""
    grey = np.random.default_rng(1).integers(0, 256, (37, 91), np.uint8)
    expected = preprocess(np.repeat(grey[:, :, np.newaxis], 3, axis=2), PreprocessSpec(mode=mode), height=24, width=20)
    for frame in (grey, grey[:, :, np.newaxis]):
        for order in ("RGB", "BGR"):
            found = preprocess(frame, PreprocessSpec(mode=mode), height=24, width=20, order=order)
            np.testing.assert_array_equal(found, expected)


def test_a_region_is_cut_out_first() -> None:
    """A region in fractions gives exactly what the same part of the frame gives alone."""
    frame = np.random.default_rng(2).integers(0, 256, (80, 200, 3), np.uint8)
    for spec in (SQUASH, LETTERBOX, CROP):
        found = preprocess(frame, spec, height=24, width=20, region=Region(0.25, 0.5, 0.5, 0.25))
        np.testing.assert_array_equal(found, preprocess(frame[40:60, 50:150], spec, height=24, width=20))


def test_a_region_thinner_than_a_pixel_shows_that_pixel() -> None:
    """The thinnest region still shows the place it lies on, at the far edge too."""
    small = preprocess(stripes(), SQUASH, height=4, width=4, region=Region(0.999999, 0.999999, 1e-6, 1e-6))
    assert {tuple(pixel) for pixel in small.reshape(-1, 3)} == {BLUE}


@pytest.mark.parametrize(
    "corners", [(1, 0, 1, 1), (-0.1, 0, 1, 1), (0, 0, 0, 1), (0.5, 0, 0.6, 1), (0, 0, 1, float("nan")), (float("inf"),)]
)
def test_a_region_outside_the_frame_is_refused(corners: tuple[float, ...]) -> None:
    """A rectangle that is empty, not a number or leaves the frame is an error."""
    with pytest.raises(ValueError, match="leaves the frame"):
        Region(*corners)


@pytest.mark.parametrize(("rotate", "turns"), [(0, 0), (90, -1), (180, 2), (270, 1)])
@pytest.mark.parametrize("mode", MODES)
def test_rotation_is_clockwise(mode: ResizeMode, rotate: Rotation, turns: int) -> None:
    """Rotating gives what the frame gives that was turned clockwise before, to one grey step of rounding."""
    height = 36 if mode == "centre-crop" else 32  # so that the margins on both sides are equal
    frame = np.random.default_rng(3).integers(0, 256, (height, 96, 3), np.uint8)
    spec = PreprocessSpec(mode=mode)
    found = preprocess(frame, spec, height=24, width=36, rotate=rotate)
    turned = preprocess(np.rot90(frame, turns), spec, height=24, width=36)
    assert np.abs(found.astype(int) - turned.astype(int)).max() <= 1


def test_rotation_comes_after_the_region() -> None:
    """The region is a part of the frame as the camera shows it: its left third stays red however it is turned."""
    small = preprocess(stripes(), SQUASH, height=8, width=8, region=Region(0, 0, 1 / 3, 1), rotate=90)
    assert {tuple(pixel) for pixel in small.reshape(-1, 3)} == {RED}


FRAMES = st.one_of(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70))),
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3]))),
)
SIZES = st.integers(1, 48)


@given(
    frame=FRAMES,
    mode=st.sampled_from(MODES),
    height=SIZES,
    width=SIZES,
    rotate=st.sampled_from([0, 90, 180, 270]),
    corner=st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)),
)
def test_every_frame_becomes_the_models_shape(  # noqa: PLR0913 - one argument a strategy
    *,
    frame: Pixels,
    mode: ResizeMode,
    height: int,
    width: int,
    rotate: Rotation,
    corner: tuple[float, float],
) -> None:
    """Whatever its size, channels, region and rotation, the result is contiguous uint8 [height, width, 3]."""
    region = Region(*corner, 1 - corner[0], 1 - corner[1])
    small = preprocess(frame, PreprocessSpec(mode=mode), height=height, width=width, rotate=rotate, region=region)
    assert small.shape == (height, width, 3)
    assert small.dtype == np.uint8
    assert small.flags.c_contiguous


@pytest.mark.parametrize("mode", MODES)
def test_views_and_read_only_frames_give_the_same(mode: ResizeMode) -> None:
    """A padded, strided, mirrored, Fortran-ordered or read-only view gives what its copy gives and is not changed."""
    padded = np.random.default_rng(4).integers(0, 256, (40, 140, 4), np.uint8)
    locked = padded[:, :, :3].copy()
    locked.flags.writeable = False
    views = [padded[:, :100, :3], padded[::2, ::3, 1:], padded[::-1, ::-1, :3], np.asfortranarray(locked), locked]
    for view in views:
        before = view.copy()
        found = preprocess(view, PreprocessSpec(mode=mode), height=24, width=20)
        np.testing.assert_array_equal(found, preprocess(before, PreprocessSpec(mode=mode), height=24, width=20))
        np.testing.assert_array_equal(view, before)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
    ids=lambda frame: f"{frame.dtype}{list(frame.shape)}",
)
def test_what_is_no_frame_is_refused(frame: Pixels) -> None:
    """Another type, another number of channels, an empty frame or a batch is an error that names what came."""
    with pytest.raises(ValueError, match="a frame must be uint8") as caught:
        preprocess(frame, SQUASH, height=8, width=8)
    assert str(list(frame.shape)) in str(caught.value)


def gradient() -> Pixels:
    """A small coloured frame that no resampler leaves as it is."""
    y, x = np.mgrid[0:13, 0:29]
    return np.stack([x * 8, y * 19, (x * y) % 256], axis=2).astype(np.uint8)


GOLDEN: dict[ResizeMode, list[list[int]]] = {
    "squash": [
        [23, 27, 4, 66, 27, 12, 112, 27, 21, 159, 27, 29, 202, 27, 37],
        [23, 83, 13, 66, 83, 36, 112, 83, 62, 159, 83, 87, 202, 83, 111],
        [23, 145, 22, 66, 145, 63, 112, 145, 107, 159, 145, 151, 202, 145, 182],
        [23, 201, 31, 66, 201, 87, 112, 201, 148, 159, 201, 190, 202, 201, 113],
    ],
    "letterbox": [
        [128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128],
        [23, 64, 10, 66, 64, 28, 112, 64, 47, 159, 64, 67, 202, 64, 85],
        [23, 170, 26, 66, 170, 73, 112, 170, 125, 159, 170, 162, 202, 170, 133],
        [128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128],
    ],
    "centre-crop": [
        [59, 27, 11, 83, 27, 15, 108, 27, 20, 133, 27, 24, 157, 27, 28],
        [59, 83, 33, 83, 83, 45, 108, 83, 60, 133, 83, 73, 157, 83, 86],
        [59, 145, 56, 83, 145, 79, 108, 145, 103, 133, 145, 127, 157, 145, 149],
        [59, 201, 78, 83, 201, 109, 108, 201, 143, 133, 201, 176, 157, 201, 207],
    ],
}
GOLDEN_LARGE = [
    [48, 48, 97, 119, 48, 159, 180, 48, 138, 95, 48, 81],
    [48, 119, 159, 119, 119, 143, 180, 119, 92, 95, 119, 134],
    [48, 190, 149, 119, 190, 88, 180, 190, 135, 95, 190, 173],
]


@pytest.mark.parametrize("mode", MODES)
def test_golden_pixels_have_not_moved(mode: ResizeMode) -> None:
    """The pixels are those that bundles were trained on: another Pillow must not change them unnoticed."""
    small = preprocess(gradient(), PreprocessSpec(mode=mode), height=4, width=5)
    assert small.reshape(4, -1).tolist() == GOLDEN[mode]


def test_golden_pixels_of_a_large_frame_have_not_moved() -> None:
    """The same for a frame so large that whole pixels are averaged before resampling."""
    y, x = np.mgrid[0:240, 0:320]
    frame = np.stack([x % 256, y % 256, (x + y) % 256], axis=2).astype(np.uint8)
    small = preprocess(frame, SQUASH, height=3, width=4)
    assert small.reshape(3, -1).tolist() == GOLDEN_LARGE


@pytest.mark.parametrize("unknown", [{"version": 2}, {"mode": "fit"}, {"resampler": "box"}, {"gamma": 1}])
def test_an_unknown_spec_is_refused(unknown: dict[str, object]) -> None:
    """A spec of another version, mode, resampler or with another field is not guessed at."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(unknown, PreprocessSpec)
