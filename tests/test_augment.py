from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.augment import augment
from training.recipe import Augmentation

OFF = Augmentation(mirror=False, quarter_turns=False, crop=0, brightness=0, contrast=0, noise=0)
PICTURES = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def test_with_everything_off_only_the_normalisation_is_left() -> None:
    """Zero amounts give exactly (u8 - 128) / 128: nothing is blurred or shifted on the side."""
    assert np.array_equal(augment(PICTURES, OFF, np.random.default_rng(0)), (PICTURES.astype(np.float32) - 128) / 128)


def test_turns_and_mirror_are_the_eight_symmetries_of_the_square() -> None:
    """Geometry alone gives each of the eight views of a picture, and no other pixels."""
    recipe = Augmentation(crop=0, brightness=0, contrast=0, noise=0)
    views = augment(np.repeat(PICTURES[:1], 200, axis=0), recipe, np.random.default_rng(0))
    picture = (PICTURES[0].astype(np.float32) - 128) / 128
    wanted = {np.rot90(p, k).tobytes() for p in (picture, picture[:, ::-1]) for k in range(4)}
    assert {view.tobytes() for view in views} == wanted


def test_pictures_of_any_size_get_noise() -> None:
    """A picture of more values than were ever drawn gets noise in its last corner too."""
    grey = np.full((1, 1216, 1216, 3), 128, np.uint8)
    noisy = augment(
        grey,
        Augmentation(mirror=False, quarter_turns=False, crop=0, brightness=0, contrast=0),
        np.random.default_rng(0),
    )
    assert noisy[0, -32:, -32:].std() > 0


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_values_stay_within_what_int8_input_can_hold(seed: int) -> None:
    """However bright or noisy: float32, the same shape, within [-1, 127/128]; the same seed gives the same views."""
    first, again = (augment(PICTURES, Augmentation(), np.random.default_rng(seed)) for _ in range(2))
    assert (first.dtype, first.shape) == (np.float32, PICTURES.shape)
    assert first.min() >= -1
    assert first.max() <= 127 / 128
    assert np.array_equal(first, again)
