"""Tiles: where they lie on the canvas, and that they cover it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.preprocess import MAX_SIDE, MOST_TILES, STRIDE, Tiles

COUNTS = st.integers(1, MOST_TILES)
SIDES = st.integers(1, 12).map(lambda cells: STRIDE * cells)
PERCENTS = st.integers(0, 50)


def step_of(side: int, percent: int) -> int:
    """Return how far neighbours begin apart, in whole numbers: the most cells that leave the overlap at least."""
    return max(1, math.floor(Fraction(side * (100 - percent), 100 * STRIDE))) * STRIDE


@given(COUNTS, COUNTS, PERCENTS, SIDES, SIDES)
def test_tiles_cover_the_canvas_in_whole_cells(rows: int, columns: int, percent: int, height: int, width: int) -> None:
    """Corners go row by row in steps of whole cells, the last tile ends where the canvas does, and no pixel is bare."""
    tiles = Tiles(rows=rows, columns=columns, overlap=percent / 100)
    whole, corners = tiles.canvas(height, width), tiles.corners(height, width)
    down, right = step_of(height, percent), step_of(width, percent)
    assert corners == [(row * down, column * right) for row in range(rows) for column in range(columns)]
    assert whole == (corners[-1][0] + height, corners[-1][1] + width)
    assert all(top % STRIDE == left % STRIDE == 0 for top, left in corners)
    assert down <= height
    assert right <= width


@given(COUNTS, PERCENTS, SIDES, st.data())
def test_damage_on_a_seam_lies_whole_in_a_tile(count: int, percent: int, side: int, data: st.DataObject) -> None:
    """A stretch no longer than the declared overlap lies whole in at least one tile, wherever it is."""
    tiles = Tiles(columns=count, overlap=percent / 100)
    length = side * percent // 100
    start = data.draw(st.integers(0, tiles.canvas(side, side)[1] - length))
    lefts = [left for _, left in tiles.corners(side, side)]
    assert side == STRIDE or any(left <= start and start + length <= left + side for left in lefts)


def test_a_tile_of_one_cell_lies_beside_its_neighbour() -> None:
    """A single cell cannot be shared: such tiles begin where the last one ends."""
    assert Tiles(columns=3, overlap=0.5).corners(32, 32) == [(0, 0), (0, 32), (0, 64)]


@pytest.mark.parametrize(
    ("tiles", "size", "canvas"),
    [
        (Tiles(), (224, 224), (224, 224)),
        (Tiles(), (150, 7), (150, 7)),
        (Tiles(rows=2, columns=2), (224, 224), (384, 384)),
        (Tiles(rows=2, columns=3, overlap=0), (160, 224), (320, 672)),
        (Tiles(columns=3, overlap=0.5), (150, 96), (150, 160)),
        (Tiles(columns=2, overlap=0.32), (4000, 2400), (4000, 4032)),
        (Tiles(rows=8, columns=8, overlap=0), (512, 512), (MAX_SIDE, MAX_SIDE)),
    ],
)
def test_known_canvases(tiles: Tiles, size: tuple[int, int], canvas: tuple[int, int]) -> None:
    """One tile is the canvas, of whatever size; overlap rounds up to whole cells of 32 pixels, and no further."""
    assert tiles.canvas(*size) == canvas


@pytest.mark.parametrize(
    ("tiles", "size", "reason"),
    [
        (Tiles(rows=2), (150, 224), "tiles of 150 pixels cannot share a grid of 32"),
        (Tiles(columns=2), (224, 8), "tiles of 8 pixels cannot share a grid of 32"),
        (Tiles(rows=8, overlap=0), (544, 224), "make 224x4352, more than 4096 a side; set fewer tiles"),
        (Tiles(columns=8, overlap=0.5), (224, 1024), "make 4608x224, more than 4096"),
        (Tiles(), (4097, 224), "make 224x4097, more than 4096"),
    ],
)
def test_tiles_that_fit_no_device_are_refused(tiles: Tiles, size: tuple[int, int], reason: str) -> None:
    """Sides that no grid divides, and a canvas beyond a device's memory, are errors that name them."""
    with pytest.raises(ValueError, match=reason):
        tiles.canvas(*size)


@given(COUNTS, COUNTS, PERCENTS, st.lists(st.integers(1, 2), max_size=2))
def test_cut_takes_canvases_of_any_batch(rows: int, columns: int, percent: int, batch: list[int]) -> None:
    """Each tile of each canvas is the canvas from its corner on."""
    tiles = Tiles(rows=rows, columns=columns, overlap=percent / 100)
    height, width = tiles.canvas(64, 96)
    # A pixel's place, in three bytes.
    numbers = np.arange(height * width, dtype=">u4").view(np.uint8).reshape(height, width, 4)[..., 1:]
    canvases = np.broadcast_to(numbers, (*batch, height, width, 3))
    found = tiles.cut(canvases, 64, 96)
    assert found.shape == (*batch, rows * columns, 64, 96, 3)
    for number, (top, left) in enumerate(tiles.corners(64, 96)):
        expected = numbers[top : top + 64, left : left + 96]
        np.testing.assert_array_equal(found[..., number, :, :, :], np.broadcast_to(expected, (*batch, 64, 96, 3)))


@pytest.mark.parametrize("shape", [(96, 97, 3), (64, 64, 3), (160, 96, 3), (96, 3), (3,)])
def test_cut_refuses_another_canvas(shape: tuple[int, ...]) -> None:
    """What is not the tiles' canvas is not cut as if it were."""
    with pytest.raises(ValueError, match=r"a canvas must be \[\.\.\., 96, 96, 3\], not"):
        Tiles(rows=2, columns=2, overlap=0.5).cut(np.zeros(shape, np.uint8), 64, 64)
