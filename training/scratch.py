"""Room for large arrays: in memory, or in a file that the system holds in memory as far as there is room."""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from edge.errors import InspectError
from training import cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

MOST_IN_MEMORY = 256 << 20
"""Bytes of one array; what is larger lies in a file of the cache folder."""
_LOCK = "lock"


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of any content; if it is large, in a file without a name that is gone when the array is.

    Raises InspectError naming the cache and the remedy if the disk has no room for it, or cannot be written.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= MOST_IN_MEMORY:
        return np.empty(shape, dtype)
    place = cache.folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as file:
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):  # All but macOS: there a disk that fills up ends Python with SIGBUS.
                os.posix_fallocate(file.fileno(), 0, size)
            return np.ndarray(shape, dtype, mmap.mmap(file.fileno(), size))
    except OSError as error:
        raise InspectError(cache.told(error, size)) from error


@contextmanager
def folder(size: int) -> Iterator[Path]:
    """Make a folder in the cache for `size` bytes that other processes read, gone at the end.

    What processes that were killed left there goes first. Raises InspectError as `empty` does.
    """
    place = cache.folder("scratch")
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _locked(place):  # Nobody's new folder is taken for one that was left.
            for left in filter(_is_left, place.iterdir()):
                shutil.rmtree(left, ignore_errors=True)
            made = tempfile.TemporaryDirectory(dir=place)
            own = _locked(Path(made.name))
    except OSError as error:
        raise InspectError(cache.told(error, size)) from error
    with made, own:
        yield Path(made.name)


def _locked(place: Path, how: int = fcntl.LOCK_EX) -> IO[bytes]:
    """Lock a folder until the file that this returns is closed, at the latest with the process."""
    file = (place / _LOCK).open("wb")
    try:
        fcntl.flock(file, how)
    except BaseException:
        file.close()
        raise
    return file


def _is_left(place: Path) -> bool:
    """Say whether the process that made a folder is gone."""
    try:
        _locked(place, fcntl.LOCK_EX | fcntl.LOCK_NB).close()
    except OSError:
        return False
    return True


def joined(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the rows of arrays of one kind, one array's after the other's; of a single one itself."""
    if len(arrays) == 1:
        return arrays[0]
    first, count = arrays[0], sum(map(len, arrays))
    return np.concatenate(arrays, out=empty((count, *first.shape[1:]), first.dtype))
