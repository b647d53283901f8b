from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surfaces import waves

from edge.synthetic import render
from training.data import optics
from training.data.augment import VERSION, augment, rng_of, vary
from training.recipe import Augmentation

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels

OFF: dict[str, Any] = {
    "mirror": False,
    "quarter_turns": False,
    **dict.fromkeys(
        ("crop", "pad", "brightness", "contrast", "temperature", "noise", "blur", "jpeg", "resampler"), 0.0
    ),
}
PICTURES = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
ANY = st.builds(
    Augmentation,
    **dict.fromkeys(("mirror", "quarter_turns"), st.booleans()),
    **dict.fromkeys(("crop", "pad", "brightness", "contrast", "temperature", "occlusion_area"), st.floats(0, 0.5)),
    **dict.fromkeys(("jpeg", "resampler", "occlusion"), st.floats(0, 1)),
    rotate=st.sampled_from([0.0, 1e-9, 3.0, 45.0, 180.0]) | st.floats(0, 180),
    noise=st.floats(0, optics.MOST_NOISE),
    blur=st.floats(0, 8),
)


def only(**fields: Any) -> Augmentation:
    """Return an augmentation with everything off but these."""
    return Augmentation(**{**OFF, **fields})


def views(picture: Pixels, count: int, **fields: Any) -> list[Pixels]:
    """Draw so many views of a picture with only these operations on."""
    return [vary(picture, only(**fields), np.random.default_rng(seed)) for seed in range(count)]


def flat(level: int, rows: int = 24, columns: int = 40) -> Pixels:
    return np.full((rows, columns, 3), level, np.uint8)


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_with_everything_off_a_view_is_the_picture(rows: int, columns: int, seed: int) -> None:
    """Zero amounts give every pixel back bit by bit: nothing is blurred or shifted on the side."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    view = vary(picture, only(), rng)
    assert np.array_equal(view, picture)
    assert not np.shares_memory(view, picture)


@given(augmentation=ANY, rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_any_augmentation_takes_any_picture(augmentation: Augmentation, rows: int, columns: int, seed: int) -> None:
    """Within the recipe's ranges every picture from 1x1 on gives uint8 of its own shape, contiguous and new."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    before = picture.copy()
    view = vary(picture, augmentation, rng)
    assert (view.dtype, view.shape) == (np.uint8, picture.shape)
    assert view.flags.c_contiguous
    assert view.flags.writeable
    assert np.array_equal(picture, before)


def test_turns_and_mirror_are_the_eight_symmetries_of_the_square() -> None:
    """They give each of the eight views of a square picture, and no other pixels."""
    found = {view.tobytes() for view in views(PICTURES[0], 200, mirror=True, quarter_turns=True)}
    assert found == {np.rot90(p, k).tobytes() for p in (PICTURES[0], PICTURES[0][:, ::-1]) for k in range(4)}


def test_a_mirror_alone_shows_left_as_right() -> None:
    """It gives the picture and its mirror image, each about as often."""
    found = [view.tobytes() for view in views(PICTURES[0], 200, mirror=True)]
    assert set(found) == {PICTURES[0].tobytes(), PICTURES[0][:, ::-1].tobytes()}
    assert 70 < found.count(PICTURES[0].tobytes()) < 130


def test_a_picture_that_is_not_square_turns_only_upside_down() -> None:
    """Its quarter turns are 0 and 180 degrees: it keeps its shape."""
    picture = np.ascontiguousarray(PICTURES[0][:20])
    found = {view.tobytes() for view in views(picture, 50, quarter_turns=True)}
    assert found == {picture.tobytes(), picture[::-1, ::-1].tobytes()}


def test_rotation_stays_within_its_degrees() -> None:
    """The angle that fits each view best lies within the recipe's, both ways."""
    candidates = range(-30, 31, 2)
    wanted = np.stack([waves(60, 60, np.radians(degrees)) for degrees in candidates])[:, 15:-15, 15:-15].astype(int)
    found = [
        candidates[int(np.abs(wanted - view[15:-15, 15:-15]).mean(axis=(1, 2, 3)).argmin())]
        for view in views(waves(60, 60), 60, rotate=20)
    ]
    assert -20 <= min(found) < -10
    assert 10 < max(found) <= 20


@given(augmentation=ANY, seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_geometry_brings_in_no_black_corners(augmentation: Augmentation, seed: int) -> None:
    """A white picture stays white however it is moved, zoomed, turned and resized: edges are reflected."""
    moves = {name: getattr(augmentation, name) for name in ("rotate", "crop", "pad", "resampler", "quarter_turns")}
    assert vary(flat(255), only(**moves), np.random.default_rng(seed)).min() == 255


def test_padding_loses_nothing_and_cropping_no_more_than_declared() -> None:
    """A ramp shows both its ends in every padded view; a cropped one shows at least what the recipe leaves, moved."""
    ramp = np.repeat(np.tile(np.arange(0, 200, 2, dtype=np.uint8), (100, 1))[:, :, None], 3, axis=2)
    padded = views(ramp, 50, pad=0.4)
    assert max(view.min() for view in padded) <= 3
    assert min(view.max() for view in padded) >= 195
    cropped = [view[50, :, 0].astype(int) for view in views(ramp, 50, crop=0.4)]
    shown = [row[-1] - row[0] for row in cropped]
    assert 0.6 * 198 - 4 <= min(shown) < 0.7 * 198
    assert max(shown) > 0.9 * 198
    assert len({row[0] for row in cropped}) > 10


def test_axes_are_stretched_by_themselves() -> None:
    """Views differ in aspect: a crop of one axis says nothing about the other."""
    across = np.tile(np.arange(100, dtype=np.uint8), (100, 1))
    picture = np.stack([across, across.T, across], axis=2)
    aspects = [
        (int(view[50, -1, 0]) - view[50, 0, 0]) / (int(view[-1, 50, 1]) - view[0, 50, 1])
        for view in views(picture, 50, crop=0.3)
    ]
    assert min(aspects) < 0.85
    assert max(aspects) > 1.15


def test_brightness_moves_levels_both_ways() -> None:
    """A grey surface stays even and moves by at most the share of the full range, up and down."""
    for level, least in ((128, 20), (30, 7)):
        found = views(flat(level), 100, brightness=0.1)
        moved = [int(view[0, 0, 0]) - level for view in found]
        assert all(np.ptp(view) == 0 for view in found)
        assert -26 <= min(moved) < -least
        assert least < max(moved) <= 26


def test_contrast_is_steeper_or_flatter_about_mid_grey() -> None:
    """The distance between two greys changes by at most the share, and mid-grey stays."""
    picture = np.repeat(np.array([[103, 128, 153]], np.uint8)[:, :, None], 3, axis=2)
    found = [view[0, :, 0].astype(int) for view in views(picture, 100, contrast=0.2)]
    assert {level[1] for level in found} == {128}
    distances = [level[2] - level[0] for level in found]
    assert 39 <= min(distances) < 43
    assert 57 < max(distances) <= 61


def test_temperature_moves_red_against_blue() -> None:
    """Warm views have more red and less blue, cold ones the reverse, by at most the share; green stays."""
    red, green, blue = np.array([view[0, 0] for view in views(flat(128), 100, temperature=0.1)], int).T - 128
    assert (np.abs(red + blue) <= 1).all()
    assert not green.any()
    assert -26 <= red.min() < -20
    assert 20 < red.max() <= 26


def test_blur_lowers_high_frequencies_in_every_second_view() -> None:
    """About half of the views are as sharp as the picture, the others are smoother between neighbours."""
    roughness = [np.abs(np.diff(view.astype(int), axis=1)).mean() for view in views(PICTURES[0], 100, blur=1.0)]
    sharp = roughness.count(roughest := max(roughness))
    assert roughest == np.abs(np.diff(PICTURES[0].astype(int), axis=1)).mean()
    assert 30 < sharp < 70
    assert min(roughness) < 0.5 * roughest


def test_jpeg_and_another_scaler_change_a_real_surface_a_little() -> None:
    """A rendered part that goes through them differs, by a few levels on average, and keeps its mean."""
    part = render(3, 0, height=96, width=128, label="intact").pixels
    for fields in ({"jpeg": 1.0}, {"resampler": 1.0}):
        found = [view.astype(float) - part for view in views(part, 20, **fields)]
        assert all(0 < np.abs(view).mean() < 6 for view in found), fields
        assert max(abs(view.mean()) for view in found) < 1, fields


def test_operations_meet_the_share_of_pictures_that_the_recipe_names() -> None:
    """At a share of 0.3 about three views in ten have changed, and the others are the picture."""
    part = render(3, 0, height=48, width=64, label="intact").pixels
    for name in ("jpeg", "resampler", "occlusion"):
        changed = sum(not np.array_equal(view, part) for view in views(part, 200, **{name: 0.3}))
        assert 35 < changed < 85, name


@given(rows=st.integers(1, 60), columns=st.integers(1, 60), area=st.floats(0, 0.5), seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_occlusion_never_covers_more_than_its_area(rows: int, columns: int, area: float, seed: int) -> None:
    """What changed is a rectangle of one colour, mid-grey or the mean, and at most the declared share."""
    picture = np.random.default_rng(seed).integers(0, 100, (rows, columns, 3), dtype=np.uint8)
    view = vary(picture, only(occlusion=1.0, occlusion_area=area), np.random.default_rng(seed))
    changed = (view != picture).any(axis=2)
    assert changed.sum() <= area * rows * columns
    if changed.any():
        ys, xs = np.nonzero(changed)
        box = view[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].reshape(-1, 3)
        assert len(np.unique(box, axis=0)) == 1
        assert (box[0] == 128).all() or np.abs(box[0] - picture.mean(axis=(0, 1))).max() <= 1


def test_occlusions_are_of_both_colours_and_use_their_area() -> None:
    """Some are grey, some have the picture's mean, and the largest come near what is declared."""
    picture = np.random.default_rng(3).integers(0, 100, (60, 80, 3), dtype=np.uint8)
    found = views(picture, 100, occlusion=1.0, occlusion_area=0.2)
    shares = [(view != picture).any(axis=2).mean() for view in found]
    assert 0.17 < max(shares) <= 0.2
    assert 30 < sum(bool((view == 128).any()) for view in found) < 70


def test_a_view_depends_on_picture_recipe_and_generator_alone() -> None:
    """Pictures varied in another order and by several threads at once give the same views, by seed, number and hash."""
    digests = [f"{row:064x}" for row in range(60)]
    everything = Augmentation(rotate=20, blur=2, jpeg=0.3, resampler=0.5, occlusion=0.5)
    pictures = {digest: PICTURES[row % 4][: 20 + row % 12] for row, digest in enumerate(digests)}

    def view(digest: str) -> bytes:
        return vary(pictures[digest], everything, rng_of(1, 2, digest)).tobytes()

    first = {digest: view(digest) for digest in digests}
    with ThreadPoolExecutor(4) as pool:
        again = dict(zip(digests[::-1], pool.map(view, digests[::-1]), strict=True))
    assert again == first
    assert len(set(first.values())) == len(first)
    others = [vary(PICTURES[0], everything, rng_of(*key, digests[0])).tobytes() for key in ((1, 2), (2, 2), (1, 3))]
    assert len(set(others)) == 3


def test_other_views_are_another_version() -> None:
    """Who changes what `vary` gives finds these distances from the picture changed, and raises VERSION with them."""
    picture = np.repeat((np.add.outer(7 * np.arange(40), 3 * np.arange(56)) % 251).astype(np.uint8)[:, :, None], 3, 2)
    distances = [
        np.abs(vary(picture, augmentation, rng_of(0, number, "5eed")).astype(float) - picture).mean()
        for augmentation in (Augmentation(jpeg=0.5), Augmentation(rotate=20, blur=2, jpeg=0.5, occlusion=0.5))
        for number in range(8)
    ]
    # No digest: from one of Pillow's versions to another a few pixels differ by a level or two.
    known = [
        *(11.67, 90.82, 73.17, 90.99, 71.19, 81.73, 75.96, 22.00),
        *(13.68, 86.50, 75.62, 85.19, 70.74, 80.56, 71.24, 27.97),
    ]
    assert (VERSION, distances) == (1, pytest.approx(known, abs=0.02))


def test_a_view_does_not_change_when_the_next_is_drawn() -> None:
    """The memory that is used again and again holds nothing that was handed out."""
    first = vary(PICTURES[0], only(blur=2.0, noise=0.05), np.random.default_rng(0))
    kept = first.copy()
    views(PICTURES[1], 5, blur=2.0, noise=0.05)
    assert np.array_equal(first, kept)


def test_switching_an_operation_on_leaves_the_others_as_they_were() -> None:
    """The same generator turns and mirrors the same way whether or not there is noise, blur or a crop besides."""
    halves = flat(40, 32, 32)
    halves[:16, :8] = 220
    for seed in range(20):
        plain = vary(halves, only(mirror=True, quarter_turns=True), np.random.default_rng(seed))
        busy = vary(halves, Augmentation(occlusion=0.0), np.random.default_rng(seed))
        assert np.mean((plain > 130) == (busy > 130)) > 0.9


def test_a_small_pore_survives_the_defaults() -> None:
    """Of a 6x6 pore on noisy metal, anywhere in 224x224, half the contrast at least is left in 98 of 100 views."""
    left = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        metal = np.repeat(rng.normal(120, 6, (224, 224, 1)), 3, axis=2)
        top, side = rng.integers(0, 219, 2)
        metal[top : top + 6, side : side + 6] += 60
        view = vary(np.rint(metal).astype(np.uint8), Augmentation(), rng)[:, :, 1].astype(float)
        sums = np.pad(view.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        means = (sums[6:, 6:] - sums[:-6, 6:] - sums[6:, :-6] + sums[:-6, :-6]) / 36
        left.append(means.max() - np.median(view))
    assert sum(contrast >= 30 for contrast in left) >= 98


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_values_stay_within_what_int8_input_can_hold(seed: int) -> None:
    """However bright or noisy: float32, the same shape, within [-1, 127/128]; off, exactly (u8 - 128) / 128."""
    first = augment(PICTURES, Augmentation(), np.random.default_rng(seed))
    assert (first.dtype, first.shape) == (np.float32, PICTURES.shape)
    assert first.min() >= -1
    assert first.max() <= 127 / 128
    plain = augment(PICTURES, only(), np.random.default_rng(seed))
    assert np.array_equal(plain, (PICTURES.astype(np.float32) - 128) / 128)
