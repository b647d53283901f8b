"""Finds pictures of one exposure or one burst, though their files differ: saved again, resized, slightly brighter.

Two pictures are near duplicates if they pass two tests.

1. Their perceptual hashes (ImageHash's phash of 16 x 16, 256 bits) differ in at most `MOST_BITS`.
2. What each shows beyond its surroundings correlates by at least `LEAST_CORRELATION`. The surroundings are the mean
   of that quarter of the set whose hashes are nearest. Pictures of one fixed camera and fixture all have nearly one
   hash, whatever part lies there; what tells parts apart is left when the fixture is taken off.

Measured at 224 pixels. Bits between a photograph and its copy at most: JPEG quality 90 12 (quality 60 18), half
size 12, 2% brighter 10, 10% more contrast 16 on most and 36 on pale ones, noise of 8 levels 26, moved by a pixel 32;
between distinct photographs at least: 56 among 1,800 of steel surfaces but for four pairs (an exact copy, one surface
twice at 28, two at 44), 32 among 70 of worn inserts, 34 among 600 rendered ones. The other hashes of the package do
not separate these: phash 8 x 8 has 10 of 64 bits between distinct ones and 16 to a copy, dhash 16 x 16 5 of 256 and 63.
150 pictures of one scene that differ by lighting, noise and each part's texture of 2 levels are within 8 bits of
each other; their correlation is at most 0.18 between parts, and at least 0.89 in a burst and after JPEG of quality
60, 0.94 at half size, 0.59 moved by a pixel. Discs and lines drawn on noise: at most 0.38 between pictures, at least
0.72 to a copy. Without any texture a burst cannot be told from other parts and is not found; nor is a burst of more
than a quarter of the set, which is its own surroundings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.contract.preprocess import Pixels
    from training.data.dataset import Integers

Floats: TypeAlias = npt.NDArray[np.float32]

MOST_BITS = 32
LEAST_CORRELATION = 0.5

_SIDE = 16
"""Of the hash: 256 bits."""
_DETAIL = 64
"""Pixels a side of what is correlated."""
_BLUR = 4.0
"""Standard deviation in those pixels; what is coarser is lighting."""
_FLOOR = np.float32(0.2)
"""Of the picture's own contrast: structure below it is not amplified to full strength, being noise."""
_SURROUNDINGS = 0.25
"""Share of the set that a picture is compared with."""
_FEWEST = 12
"""Pictures from which on there are surroundings to speak of."""
_BLOCK = 512
"""Pictures that are compared with all others at once: 10 MB of distances in a set of 5,000."""


def near_pairs(pixels: Pixels) -> Integers:
    """Return the rows of all near duplicates among uint8 [n, h, w, 3]: int64 [pairs, 2], the lower row first."""
    signs = hashes(pixels)
    rows = _with_candidates(signs)
    if not len(rows):
        return np.empty((0, 2), np.int64)
    detail = _own_detail(signs, pixels, rows)
    found = []
    for block in _blocks(len(rows)):
        near = _distances(signs[rows[block]], signs[rows]) <= MOST_BITS
        alike = near & (detail[block] @ detail.T >= LEAST_CORRELATION)
        low, high = np.nonzero(np.triu(alike, block.start + 1))
        found.append(np.stack([rows[low + block.start], rows[high]], axis=1))
    return np.concatenate(found)


def hashes(pixels: Pixels) -> Floats:
    """Return the perceptual hash of each picture uint8 [n, h, w, 3]: float32 [n, 256] of -1 and 1.

    As signs and not as bits, because then a matrix product compares all of them at once.
    """
    import imagehash
    from PIL import Image

    bits = [imagehash.phash(Image.fromarray(picture), _SIDE).hash.ravel() for picture in pixels]
    return np.where(np.array(bits).reshape(len(pixels), _SIDE * _SIDE), np.float32(1), np.float32(-1))


def _distances(some: Floats, signs: Floats) -> Floats:
    """Return in how many bits each of some hashes differs from each of all: [some, n]."""
    return np.asarray((signs.shape[1] - some @ signs.T) / 2)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))


def _with_candidates(signs: Floats) -> Integers:
    """Return the rows whose hash is near to another's."""
    near = [(_distances(signs[block], signs) <= MOST_BITS).sum(axis=1) for block in _blocks(len(signs))]
    return np.flatnonzero(np.concatenate(near) > 1)


def _own_detail(signs: Floats, pixels: Pixels, rows: Integers) -> Floats:
    """Return what these rows show beyond their surroundings, as vectors of length 1: [rows, pixels]."""
    if len(signs) < _FEWEST:
        own = _details(pixels[rows])
    else:
        details = _details(pixels)
        own = details[rows]
        for block in _blocks(len(rows)):
            own[block] -= _nearest(signs[rows[block]], signs) @ details
    return np.asarray(own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), np.float32(1e-6)))


def _nearest(some: Floats, signs: Floats) -> Floats:
    """Return the weights [some, n] that average over the share of the set that is nearest by hash."""
    wanted = round(_SURROUNDINGS * len(signs))
    near = np.argpartition(_distances(some, signs), wanted - 1, axis=1)[:, :wanted]
    weights = np.zeros((len(some), len(signs)), np.float32)
    np.put_along_axis(weights, near, np.float32(1 / wanted), axis=1)
    return weights


def _details(pixels: Pixels) -> Floats:
    """Return each picture's fine structure, as strong in faint places as in others: [n, _DETAIL * _DETAIL].

    Otherwise a hole in the same place would outweigh all the texture that tells two parts apart.
    """
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    size = (_DETAIL, _DETAIL)
    grey = [Image.fromarray(picture).convert("L").resize(size, Image.Resampling.BOX) for picture in pixels]
    levels = np.array([np.asarray(image, np.float32) for image in grey]).reshape(-1, *size)
    blur = (0, _BLUR, _BLUR)
    fine = levels - gaussian_filter(levels, blur)
    floor = (_FLOOR * fine.std(axis=(1, 2), keepdims=True)) ** 2 + np.float32(1)
    even = (fine / np.sqrt(gaussian_filter(fine**2, blur) + floor)).reshape(len(pixels), -1)
    return np.asarray(even / np.maximum(even.std(axis=1, keepdims=True), np.float32(1e-3)))
