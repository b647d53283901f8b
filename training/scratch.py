"""Room for large arrays: in memory, or in a file that the system holds in memory as far as there is room."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.errors import InspectError
from training import cache

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

MOST_IN_MEMORY = 256 << 20
"""Bytes of one array; what is larger lies in a file of the cache folder."""


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


def joined(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the rows of arrays of one kind, one array's after the other's; of a single one itself."""
    if len(arrays) == 1:
        return arrays[0]
    first, count = arrays[0], sum(map(len, arrays))
    return np.concatenate(arrays, out=empty((count, *first.shape[1:]), first.dtype))
