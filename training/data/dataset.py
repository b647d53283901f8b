"""Labelled pictures at the model's size, from a folder per class or from anything else that makes pictures."""

from __future__ import annotations

import difflib
import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from edge.contract.bundle import Label
from edge.contract.names import is_clean
from edge.contract.pictures import list_pictures, load_picture
from edge.contract.preprocess import preprocess
from edge.errors import ConfigError, DataError
from training import progress, scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from edge.contract.preprocess import Pixels, PreprocessSpec

Integers: TypeAlias = npt.NDArray[np.int64]

DARK = 64
"""Of 255: a quarter of the range, which 14 bits of 16 do not reach."""
_SHOWN = 5
"""How many offenders an error names; the rest is counted."""
_SAMPLE = 40
"""Pictures whose shape is looked at, at most; sorted by class, so that every one is represented."""


@dataclass(frozen=True, slots=True)
class Source:
    """One labelled picture, not yet read. `name` is unique, such as crack/0001.png."""

    name: str
    label: int
    """Its class, as an index of the data set's labels."""
    load: Callable[[], Pixels]
    """Gives the original, RGB uint8 [h, w, 3] of any size; the same at every call. Raises DataError."""
    path: Path | None = None
    """Its file, if it has one."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Pictures ready for training: row i of `pixels` and `digests[i]` belong to `sources[i]`."""

    labels: tuple[Label, ...]
    sources: tuple[Source, ...]
    pixels: Pixels
    """uint8 [n, height, width, 3], the canvases that `preprocess` makes on the device."""
    digests: tuple[str, ...]
    """SHA-256 of the original's shape and pixels: equal for equal pictures, whatever their files."""
    skipped: tuple[str, ...] = ()
    """Why each unreadable picture is missing."""
    dark: frozenset[str] = frozenset()
    """The names of the pictures whose originals stay below DARK; others made of it do not keep them."""

    @property
    def truth(self) -> Integers:
        """The class of each picture, int64 [n]."""
        return np.array([source.label for source in self.sources], np.int64)

    @property
    def sha256(self) -> str:
        """Identify the whole set: a hash over every picture's name and pixels, in the order of names."""
        lines = sorted(f"{source.name}\0{digest}\n" for source, digest in zip(self.sources, self.digests, strict=True))
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()

    def take(self, rows: Integers) -> Dataset:
        """Return the pictures of these rows, in their order."""
        pixels = scratch.empty((len(rows), *self.pixels.shape[1:]), np.uint8)
        for place, row in enumerate(rows):  # `pixels[rows]` would lie in memory, however much it is.
            pixels[place] = self.pixels[row]
        return Dataset(
            labels=self.labels,
            sources=tuple(self.sources[row] for row in rows),
            pixels=pixels,
            digests=tuple(self.digests[row] for row in rows),
        )

    def part(self, rows: slice) -> Dataset:
        """Return consecutive pictures, of which no copy is made."""
        return Dataset(self.labels, self.sources[rows], self.pixels[rows], self.digests[rows])

    def joined(self, *others: Dataset) -> Dataset:
        """Return a copy of these pictures and of those of other sets of the same labels and canvas, in this order."""
        sets = (self, *others)
        return Dataset(
            labels=self.labels,
            sources=tuple(source for each in sets for source in each.sources),
            pixels=scratch.joined([each.pixels for each in sets]),
            digests=tuple(digest for each in sets for digest in each.digests),
        )

    def counts(self) -> dict[str, int]:
        """Count the pictures of each class."""
        found = np.bincount(self.truth, minlength=len(self.labels))
        return {label.name: int(count) for label, count in zip(self.labels, found, strict=True)}


def folder_labels(folder: Path, passing: Sequence[str]) -> tuple[Label, ...]:
    """Name the classes of a data set: its folders, sorted; those in `passing` mean an intact part.

    Raises DataError for fewer than two, an unknown name in `passing`, or a `passing` that leaves no defect.
    """
    names = [path.name for path in _class_folders(folder)]
    if len(names) < 2:  # noqa: PLR2004 - a classifier needs a choice
        found = f"only one class folder, {names[0]}" if names else "no class folders"
        raise DataError(f"{folder}: {found}; put the pictures in a folder for each class, at least two")
    for name in names:
        if not is_clean(name):
            raise DataError(f"{folder}: class folder {name!r} has control characters in its name; rename it")
    for name in passing:
        require_class(name, names, "--pass")
    if set(passing) == set(names):
        raise DataError("--pass names every class: at least one must be a defect")
    return tuple(Label(name=name, verdict="PASS" if name in passing else "DEFECT") for name in names)


def require_class(name: str, known: Sequence[str], where: str) -> None:
    """Raise DataError, with the nearest known class, unless `name` is one."""
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}?" if close else f"the classes are {', '.join(known)}"
        raise DataError(f"{where}: no class {name!r} in the data; {hint}")


def folder_sources(folder: Path, labels: Sequence[Label], *, every: bool = True) -> list[Source]:
    """List a folder-per-class data set, of `every` class or of at least one.

    Raises DataError for a missing, unknown or empty class or a loose picture.
    """
    names = [label.name for label in labels]
    there = [path.name for path in _class_folders(folder)]
    for name in there:
        require_class(name, names, str(folder))
    missing = [name for name in names if name not in there]
    if missing and (every or not there):
        raise DataError(f"{folder}: no folder for class {missing[0]}{'; every class needs one' if every else ''}")
    return [s for index, name in enumerate(names) if name in there for s in _class_sources(folder, name, index)]


def require_outside(out: Path, folder: Path) -> None:
    """Raise ConfigError for a place where a result would be taken for more pictures."""
    if out.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"--out {out} lies inside {folder}, where every picture teaches; choose a place outside")


def usual_shape(sources: Sequence[Source]) -> tuple[int, int]:
    """Return the median (height, width) in pixels of a sample; unreadable pictures do not count.

    Raises DataError if none of the sample can be read.
    """
    shapes, problem = [], DataError("there are no pictures")
    for source in sources[:: math.ceil(len(sources) / _SAMPLE)]:
        try:
            shapes.append(source.load().shape[:2])
        except DataError as error:  # Reading all of them says which, or leaves them out as it was told.
            problem = error
    if not shapes:
        raise problem
    height, width = np.median(shapes, axis=0)
    return int(height), int(width)


def read(  # noqa: PLR0913 - the arguments are the contract
    labels: tuple[Label, ...],
    sources: Iterable[Source],
    *,
    canvas: tuple[int, int],
    spec: PreprocessSpec,
    skip_bad: bool = False,
    title: str = "reading",
) -> Dataset:
    """Load every picture once and keep it as the `canvas` (height, width) that the device would cut tiles from.

    Raises DataError naming the unreadable pictures, unless `skip_bad` leaves them out and counts them, and
    InspectError if there is no room for their pixels.
    """
    wanted = tuple(sources)
    pixels = scratch.empty((len(wanted), *canvas, 3), np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool, progress.stage(title, len(wanted)) as advance:
        seen: list[_Seen | DataError] = []
        for found in pool.map(partial(_read_into, pixels, spec), range(len(wanted)), wanted):
            seen.append(found)
            advance()
    bad = tuple(str(found) for found in seen if isinstance(found, DataError))
    if bad and not skip_bad:
        raise DataError(
            f"{len(bad)} unreadable of {len(wanted)}: {_first(bad)}; mend them or leave out with --skip-bad"
        )
    good = {row: found for row, found in enumerate(seen) if not isinstance(found, DataError)}
    for place, row in enumerate(good):
        if place != row:
            pixels[place] = pixels[row]
    data = Dataset(
        labels=labels,
        sources=tuple(wanted[row] for row in good),
        pixels=pixels[: len(good)],
        digests=tuple(found.digest for found in good.values()),
        skipped=bad,
        dark=frozenset(wanted[row].name for row, found in good.items() if found.dark),
    )
    wished = {labels[source.label].name for source in wanted}
    if empty := [name for name, count in data.counts().items() if name in wished and not count]:
        raise DataError(f"class {empty[0]} has no readable pictures; add some or remove the folder")
    return data


def _class_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of pictures")
    children = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    if loose := [path.name for path in list_pictures(folder) if path.parent == folder]:
        raise DataError(f"{folder}: {_first(loose)} in no class folder; each folder in it is a class")
    return [path for path in children if path.is_dir()]


def _class_sources(folder: Path, name: str, index: int) -> list[Source]:
    pictures = list_pictures(folder / name)
    if not pictures:
        raise DataError(f"{folder / name}: class {name} has no pictures; add some or remove the folder")
    return [Source(path.relative_to(folder).as_posix(), index, partial(load_picture, path), path) for path in pictures]


class _Seen(NamedTuple):
    digest: str
    dark: bool


def _read_into(pixels: Pixels, spec: PreprocessSpec, row: int, source: Source) -> _Seen | DataError:
    """Fill one row; return what there is to say of the original, or why it cannot be read."""
    try:
        original = source.load()
    except DataError as error:
        return error
    pixels[row] = preprocess(original, spec, height=pixels.shape[1], width=pixels.shape[2])
    digest = hashlib.sha256(f"{original.shape}".encode() + original.tobytes()).hexdigest()
    return _Seen(digest, bool(original.max() < DARK))


def _first(offenders: Sequence[str]) -> str:
    more = len(offenders) - _SHOWN
    return ", ".join(offenders[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
