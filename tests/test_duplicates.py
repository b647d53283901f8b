from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from edge.contract.pictures import list_pictures, load_picture
from edge.contract.preprocess import PreprocessSpec, preprocess
from edge.synthetic import LABELS, render
from training.data.clusters import linked, united
from training.data.duplicates import near_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.contract.preprocess import Pixels

NEU = Path(os.environ.get("INSPECT_TEST_DATA", "../shared/data")) / "datasets" / "neu-det"


def canvases(pictures: list[Pixels]) -> Pixels:
    return np.stack([preprocess(picture, PreprocessSpec(), height=224, width=224) for picture in pictures])


def again(picture: Pixels, quality: int) -> Pixels:
    """Return the picture after JPEG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return load_picture(file)


def resized(picture: Pixels, factor: float) -> Pixels:
    height, width = (round(side * factor) for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def levels(picture: Pixels, factor: float, noise: float = 0) -> Pixels:
    """Return the picture brighter and noisier."""
    grain = np.random.default_rng(1).normal(0, noise, picture.shape)
    return np.clip(picture * factor + grain, 0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "JPEG quality 60": lambda picture: again(picture, 60),
    "half size": lambda picture: resized(picture, 0.5),
    "half as large again": lambda picture: resized(picture, 1.5),
    "2% brighter": lambda picture: levels(picture, 1.02),
    "noise of 8 levels": lambda picture: levels(picture, 1, 8),
    "moved by a pixel": lambda picture: np.roll(picture, (1, 1), (0, 1)),
}


@pytest.fixture(scope="module")
def parts() -> list[Pixels]:
    """Forty rendered parts, each another."""
    return [render(1, index, height=192, width=240, label=LABELS[index % 5]).pixels for index in range(40)]


@pytest.mark.parametrize("how", COPIES)
def test_copies_are_found_and_other_parts_are_not(parts: list[Pixels], how: str) -> None:
    """Ten copies among forty parts make ten pairs, each of a copy with its original."""
    copies = [COPIES[how](picture) for picture in parts[:10]]
    assert near_pairs(canvases([*parts, *copies])).tolist() == [[row, 40 + row] for row in range(10)]


def shot(part: int, exposure: int) -> Pixels:
    """Photograph a part in a fixture: always the same scene, with the part's own faint texture, light and noise."""
    scene = render(2, 0, height=192, width=240, label="intact").pixels.astype(float)
    texture = gaussian_filter(np.random.default_rng([part, 1]).normal(0, 1, scene.shape[:2]), 3)
    rng = np.random.default_rng([part, exposure, 2])
    slope = np.linspace(-0.03, 0.03, scene.shape[1])[:, np.newaxis] * rng.normal()
    light = scene * (1 + 0.03 * rng.normal() + slope)
    seen = light + 2 * texture[..., np.newaxis] / texture.std() + rng.normal(0, 3, scene.shape)
    return np.asarray(np.clip(seen, 0, 255), np.uint8)


def test_parts_before_one_fixed_camera_are_not_duplicates_but_bursts_are() -> None:
    """Pictures that differ only by each part's texture are told apart; three exposures of one part belong together."""
    pixels = canvases([*(shot(part, 0) for part in range(40)), *(shot(part, 1 + n) for part in (3, 7) for n in (0, 1))])
    assert near_pairs(pixels).tolist() == [[3, 40], [3, 41], [7, 42], [7, 43], [40, 41], [42, 43]]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_small_sets_work(parts: list[Pixels], count: int) -> None:
    """Too few pictures to have surroundings are compared as they are."""
    pixels = canvases([*parts[:count], again(parts[0], 85)])
    assert near_pairs(pixels).tolist() == [[0, count]]
    assert near_pairs(pixels[:count]).tolist() == []


def test_empty_pictures_are_no_trouble() -> None:
    """Pictures without any structure say nothing about each other and divide nothing by zero."""
    pixels = np.zeros((3, 32, 64, 3), np.uint8)
    pixels[2] = 255
    assert near_pairs(pixels).tolist() == []


def test_five_thousand_pictures_take_seconds() -> None:
    """The work that grows with the square of the set is done by matrix products."""
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (2500, 16, 16, 3), dtype=np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    started = time.process_time()
    pairs = near_pairs(np.concatenate([small, small]))
    assert time.process_time() - started < 60
    assert pairs.tolist() == [[row, 2500 + row] for row in range(2500)]


def test_clusters_link_through_others() -> None:
    """Rows that share a neighbour, or a key in any relation, are one cluster."""
    assert linked(5, np.array([[0, 2], [2, 4]])).tolist() == [0, 1, 0, 2, 0]
    assert linked(2, np.empty((0, 2), np.int64)).tolist() == [0, 1]
    assert united("aabc", "xyyz").tolist() == [0, 0, 0, 1]


@pytest.mark.skipif(not NEU.is_dir(), reason="the steel surfaces are not here: set INSPECT_TEST_DATA")
def test_distinct_photographs_are_not_merged() -> None:
    """Among 1,800 photographs of alike steel surfaces only the two known pairs are found."""
    paths = list_pictures(NEU)
    pairs = near_pairs(np.stack([load_picture(path) for path in paths]))
    assert [(paths[a].stem, paths[b].stem) for a, b in pairs] == [
        ("patches_101", "patches_105"),
        ("pitted_surface_171", "pitted_surface_292"),
    ]
