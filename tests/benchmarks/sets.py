"""Sets of pictures that the benchmarks of the training line put together: links to NEU-DET's, and rendered parts."""

from __future__ import annotations

import hashlib
import shutil
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from builds import NEU
from PIL import Image

from training import cache
from training.synthetic import in_parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge.synthetic import Part

HELD_OUT = 60
"""Of NEU-DET's 300 pictures a class: a fifth."""
Chosen = dict[str, list["Path"]]
"""Pictures by class."""


def neu() -> Chosen:
    """Return NEU-DET's pictures by class, sorted; of two equal files the second is left out."""
    found: Chosen = {}
    seen: set[str] = set()
    for path in sorted(NEU.glob("*/*.jpg")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest not in seen:
            found.setdefault(path.parent.name, []).append(path)
        seen.add(digest)
    if not found:
        raise SystemExit(f"{NEU}: no pictures; set INSPECT_TEST_DATA to the folder of outside test data")
    return found


def held_out(seed: int = 0) -> tuple[Chosen, Chosen]:
    """Divide NEU-DET at random into pictures to learn from, and HELD_OUT of each class to judge by."""
    mixed = _mixed(neu(), seed)
    return _each(mixed, slice(HELD_OUT, None)), _each(mixed, slice(HELD_OUT))


def drawn(chosen: Chosen, count: int, seed: int) -> Chosen:
    """Draw so many pictures of each class, or all that there are."""
    return _each(_mixed(chosen, seed), slice(count))


def link(folder: Path, chosen: Mapping[str, Sequence[Path]]) -> Path:
    """Make a folder per class of links to the pictures; returns the folder."""
    for name, paths in chosen.items():
        (folder / name).mkdir(parents=True)
        for path in paths:
            (folder / name / path.name).symlink_to(path)
    return folder


def _mixed(chosen: Chosen, seed: int) -> Chosen:
    rng = np.random.default_rng(seed)
    return {name: [paths[row] for row in rng.permutation(len(paths))] for name, paths in chosen.items()}


def _each(chosen: Chosen, rows: slice) -> Chosen:
    return {name: paths[rows] for name, paths in chosen.items()}


def rendered(name: str, count: int, draw: Callable[[int], tuple[str, Part]]) -> Path:
    """Return a folder per class of rendered parts, kept in the user's cache: a later run does not render again.

    `draw`, picklable, gives picture 0 to count - 1: its file's name without class, and the part. `name` must tell
    the sets apart.
    """
    folder = cache.folder(f"bench-{name}-{count}")
    if not folder.exists():
        unfinished = folder.with_name(f".{folder.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        for _ in in_parallel(partial(_save, unfinished, draw), count, f"rendering {folder.name}"):
            pass
        unfinished.rename(folder)
    return folder


def _save(folder: Path, draw: Callable[[int], tuple[str, Part]], index: int) -> None:
    name, part = draw(index)
    path = folder / part.label / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(part.pixels).save(path, compress_level=1)
