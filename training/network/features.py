"""The frozen network's features of every picture, plain and augmented: computed once and kept on disk.

A picture's augmented variants depend on its pixels and their number alone, so that a retraining, whatever its
split, finds those of every picture it has seen before.
"""

from __future__ import annotations

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from training import cache, progress, scratch, sealed
from training.data import augment
from training.data.augment import rng_of, vary
from training.network.extract import Extractor, workers

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from edge.contract.preprocess import Pixels
    from training.data.dataset import Dataset
    from training.recipe import Recipe

Half: TypeAlias = "npt.NDArray[np.float16]"
_SEED = 0
"""Of all variants, whatever the training's own seed: another one finds the same features."""
_MOST_BYTES = 3 << 30
"""Of one data set's features, unless the recipe's fewest variants come to more."""


def variants(extractor: Extractor, data: Dataset, recipe: Recipe) -> int:
    """Return how many variants of each picture the recipe asks for and there is room for, the plain one included."""
    fewest, most = recipe.features.passes
    room = _MOST_BYTES // (len(data.sources) * extractor.size * np.dtype(np.float16).itemsize)
    return max(fewest, min(most, room, math.ceil(recipe.features.pictures / len(data.sources))))


def compute(extractor: Extractor, data: Dataset, recipe: Recipe, *, passes: int, title: str) -> list[Half]:
    """Return the features of every picture: for each of the extractor's shapes float16 [passes, n, *shape].

    Pass 0 is the plain picture. What an earlier run left in the cache is read, the rest computed and left there.
    Raises InspectError if there is no room for them.
    """
    place = cache.folder("features", _key(extractor, recipe))
    rows = range(len(data.sources))
    found = scratch.empty((len(rows), passes, extractor.size), np.float16)

    def fill(row: int) -> None:
        """Read or compute one picture's variants, and keep what was missing."""
        digest, wanted = data.digests[row], found[row]
        path = place / digest[:2] / f"{digest[2:]}.f16"
        known = _read(path, extractor.size, passes)
        wanted[: len(known)] = known
        for number in range(len(known), passes):
            wanted[number] = extractor.extract(_variant(data.pixels[row], digest, number, recipe))
        if len(known) < passes:
            sealed.save(path, wanted.tobytes())

    with ThreadPoolExecutor(workers()) as pool, progress.stage(title, len(rows)) as advance:
        for _ in pool.map(fill, rows):
            advance()
    cache.prune(cache.folder("features"))
    return [np.swapaxes(part, 0, 1) for part in extractor.divide(found)]


def _variant(picture: Pixels, digest: str, number: int, recipe: Recipe) -> Pixels:
    """Return variant `number` of a canvas uint8 [H, W, 3], always the same one; 0 is the canvas itself."""
    if not number:
        return picture
    return vary(picture, recipe.augmentation, rng_of(_SEED, number, digest))


def _key(extractor: Extractor, recipe: Recipe) -> str:
    return hashlib.sha256(f"{extractor.identity} {augment.VERSION} {recipe.augmentation!r}".encode()).hexdigest()[:32]


def _read(path: Path, size: int, most: int) -> Half:
    """Return the variants that a file holds, at most so many; none of a file that is not whole."""
    nothing = np.empty((0, size), np.float16)
    try:
        content = sealed.load(path)
        os.utime(path)
    except (OSError, ValueError):  # Another build may be making room at any time; a disk may fail.
        return nothing
    if len(content) % (size * nothing.itemsize):
        return nothing
    return np.frombuffer(content, np.float16).reshape(-1, size)[:most]
