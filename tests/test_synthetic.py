"""The rendered inserts: repeatable, true to their labels and masks, fast; and the sets written from them."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from edge.contract.pictures import load_picture
from edge.errors import DataError
from edge.synthetic import LABELS, MIN_AREA, SHAPES, render, truth
from training.data.dataset import folder_labels, folder_sources
from training.synthetic import Order, write

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

DAMAGES = LABELS[1:]
DIGESTS = {
    "intact": "16067e58dd53c2b5",
    "chipped_corner": "38ddb02472020256",
    "flank_wear": "8db1ae4b1f16d4a8",
    "crack": "313993ff17f20a72",
    "built_up_edge": "27972cf1d130e79a",
}


def near(mask: npt.NDArray[np.bool_], pixels: int) -> npt.NDArray[np.bool_]:
    """Grow a mask by so many pixels."""
    for _ in range(pixels):
        grown = mask.copy()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown
    return mask


@pytest.mark.parametrize("label", LABELS)
def test_bytes_are_the_same_on_every_machine(label: str) -> None:
    """These digests hold for numpy 1.26 and 2: a set is known by its seed alone.

    A renderer that gives others needs a new demo bundle as well: make demo-model.
    """
    part = render(1, 2, height=96, width=128, label=label)
    digest = hashlib.sha256(part.pixels.tobytes() + part.mask.tobytes()).hexdigest()
    assert digest[:16] == DIGESTS[label]


def test_a_part_does_not_depend_on_what_was_rendered_before() -> None:
    """Part one million is the same alone, after others, and twice; other indices and seeds are other parts."""
    alone = render(3, 1_000_000, height=64, width=64)
    others = [render(3, index, height=64, width=64) for index in range(5)] + [render(4, 1_000_000, height=64, width=64)]
    again = render(3, 1_000_000, height=64, width=64)
    assert np.array_equal(alone.pixels, again.pixels)
    assert np.array_equal(alone.mask, again.mask)
    assert len({part.pixels.tobytes() for part in (alone, *others)}) == 1 + len(others)


def test_the_truth_is_known_without_rendering() -> None:
    """`truth` names what `render` shows; half of a long run is intact and every damage is as frequent as the others."""
    for index in range(20):
        assert render(5, index, height=32, width=32).label == truth(5, index)
    counts = Counter(truth(5, index) for index in range(4000))
    assert set(counts) == set(LABELS)
    assert counts["intact"] == pytest.approx(2000, rel=0.1)
    assert [counts[label] for label in DAMAGES] == pytest.approx([500] * 4, rel=0.2)


def test_damage_is_where_the_mask_says_and_nowhere_else() -> None:
    """Beside its intact twin a damaged part differs clearly within its mask; elsewhere at most a fine tail, 0.5%."""
    for index in range(60):
        twin = render(7, index, height=128, width=128, label="intact")
        assert not twin.mask.any()
        for label in DAMAGES:
            part = render(7, index, height=128, width=128, label=label)
            change = np.abs(part.pixels.astype(np.int16) - twin.pixels).max(axis=2)
            assert np.median(change[part.mask]) > 12, (index, label)
            assert np.count_nonzero(change[~near(part.mask, 6)]) <= 80, (index, label)
            assert part.mask.mean() >= MIN_AREA


def test_a_damage_can_be_asked_to_be_large() -> None:
    """`min_area` is kept for every kind of damage."""
    for label in DAMAGES:
        assert render(8, 1, height=64, width=96, label=label, min_area=0.03).mask.mean() >= 0.03


def test_parts_keep_their_aspect_in_any_picture() -> None:
    """A wide picture shows the same part unstretched: its central square has the square picture's mask."""
    for index in range(10):
        square = render(9, index, height=128, width=128, label="crack", min_area=0)
        wide = render(9, index, height=128, width=192, label="crack", min_area=0)
        tall = render(9, index, height=192, width=128, label="crack", min_area=0)
        assert wide.pixels.shape == (128, 192, 3)
        assert np.array_equal(wide.mask[:, 32:160], square.mask)
        assert np.array_equal(tall.mask[32:160], square.mask)


def test_every_shape_comes_and_colours_tell_the_channel_order() -> None:
    """All shapes are drawn, and some inserts are gold: far redder than blue, which swapped channels would turn."""
    parts = [render(10, index, height=64, width=64, label="intact") for index in range(80)]
    assert {part.shape for part in parts} == set(SHAPES)
    gold = [part for part in parts if (part.pixels[:, :, 0] > 1.5 * part.pixels[:, :, 2] + 20).mean() > 0.1]
    assert 8 <= len(gold) <= 40


def test_two_hundred_pictures_a_second() -> None:
    """One core renders at least 200 balanced parts of 128 x 128 in a second of its time.

    Neighbours that share the core's caches slow even its own time down, so the best of some batches counts.
    """
    best = np.inf
    for batch in range(20):
        started = time.process_time()
        for index in range(50):
            render(11, 50 * batch + index, height=128, width=128, label=LABELS[index % 5])
        best = min(best, (time.process_time() - started) / 50)
        if 1 / best >= 200:
            break
    assert 1 / best >= 200


def test_a_set_is_a_data_set_and_resumes(tmp_path: Path) -> None:
    """What is written reads back as a balanced folder per class with masks beside; a second run only fills gaps."""
    order, folder, masks = Order(seed=2, count=20, width=48, height=32), tmp_path / "set", tmp_path / "masks"
    assert write(order, folder, masks) == 20
    labels = folder_labels(folder, ["intact"])
    sources = folder_sources(folder, labels)
    assert Counter(labels[source.label].name for source in sources) == dict.fromkeys(LABELS, 4)
    part = order.render(3)
    assert np.array_equal(load_picture(folder / order.name(3)), part.pixels)
    with Image.open(masks / order.name(3)) as mask:
        assert np.array_equal(np.asarray(mask) == 255, part.mask)
    (folder / order.name(7)).unlink()
    assert write(order, folder, masks) == 1
    assert len(folder_sources(folder, labels)) == 20


def test_sets_are_never_mixed(tmp_path: Path) -> None:
    """A folder with another set, with somebody's files, or masks among the classes are refused by name."""
    order, folder = Order(seed=2, count=5, width=32, height=32), tmp_path / "set"
    write(order, folder)
    with pytest.raises(DataError, match=r"set holds something other than 5 parts of seed 3"):
        write(Order(seed=3, count=5, width=32, height=32), folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.jpg").touch()
    with pytest.raises(DataError, match="mine holds something other than 5 parts"):
        write(order, tmp_path / "mine")
    with pytest.raises(DataError, match="lies inside"):
        write(order, folder, folder / "masks")
    with pytest.raises(DataError, match="Not a directory"):
        write(order, folder / "synthetic.json" / "set")


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"count": 4}, {"width": 31}, {"height": 4097}])
def test_orders_that_cannot_be_rendered_are_refused(wrong: dict[str, int]) -> None:
    """Negative seeds, fewer parts than classes and pictures out of 32 to 4096 pixels are errors that name the value."""
    with pytest.raises(ValueError, match=str(*wrong.values())):
        Order(**{"seed": 1, "count": 10, **wrong})
