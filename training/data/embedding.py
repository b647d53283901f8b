"""Turns pictures into vectors in which alike pictures are near: a frozen network's, or plain ones without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from training import backend
from training.recipe import Recipe

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels
    from training.data.dataset import Dataset

Floats: TypeAlias = npt.NDArray[np.float32]

_GREY = 16
"""Pixels a side of the small grey picture."""
_CELLS = 4
"""Along each axis, of the picture in which directions of edges are counted."""
_DIRECTIONS = 9
_LEVELS = 16
"""Bins of each channel's histogram."""
_DEFAULT = Recipe()


def embed(data: Dataset, weights: str | None, recipe: Recipe = _DEFAULT) -> Floats:
    """Return a vector for each picture of `data`, canvases of the recipe: float32 [n, d].

    `weights` are those of the recipe's pretrained network, as `build` takes them: then the vector is the mean of its
    last features, over all tiles. None: a small grey picture, and histograms of colours and of the directions of
    edges, without TensorFlow. Raises DataError for weights that cannot be had or do not fit, RuntimeUnavailableError
    without TensorFlow.
    """
    return _plain(data.pixels) if weights is None else _pretrained(data, weights, recipe)


def _pretrained(data: Dataset, weights: str, recipe: Recipe) -> Floats:
    backend.start(0)
    from training.network import features, model
    from training.network.extract import Extractor

    extractor = Extractor(model.build(len(data.labels), recipe, weights), recipe)
    *_, maps = features.compute(extractor, data, recipe, passes=1, title="computing features to compare by")
    vectors: Floats = maps[0].mean(axis=(1, 2, 3), dtype=np.float32)
    return vectors


def _plain(pixels: Pixels) -> Floats:
    return np.stack([_describe(picture) for picture in pixels])


def _describe(picture: Pixels) -> Floats:
    """Return three descriptions of one picture side by side, each of length 1."""
    from PIL import Image

    grey = Image.fromarray(picture).convert("L")
    small = np.asarray(grey.resize((_GREY, _GREY), Image.Resampling.BOX), np.float32).ravel()
    colours = [np.histogram(picture[..., c], _LEVELS, (0, 256))[0] for c in range(picture.shape[2])]
    blocks = (small - small.mean(), np.sqrt(np.concatenate(colours)), np.sqrt(_edges(np.asarray(grey, np.float32))))
    return np.concatenate([block / max(float(np.linalg.norm(block)), 1e-6) for block in blocks]).astype(np.float32)


def _edges(grey: Floats) -> Floats:
    """Return the strength of the edges of each direction in each cell: [cells * directions]."""
    down, right = np.gradient(grey)
    direction = (np.arctan2(down, right) % np.pi * (_DIRECTIONS / np.pi)).astype(np.int64) % _DIRECTIONS
    row, column = (np.arange(side) * _CELLS // side for side in grey.shape)
    cell = row[:, np.newaxis] * _CELLS + column
    bins = (cell * _DIRECTIONS + direction).ravel()
    return np.bincount(bins, np.hypot(down, right).ravel(), _CELLS**2 * _DIRECTIONS).astype(np.float32)
