"""The user's cache folder: what can be computed again, kept because that takes long."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 8 << 30
"""What the features may take in all; the longest unused go first."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def folder(*names: str) -> Path:
    """Return a folder in the cache, by the XDG base directory specification; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "edge-inspect", *names)


def write(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, whatever ends this process; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        unfinished = Path(file.name)
        try:
            file.write(content)
            file.flush()
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def told(error: OSError, size: int) -> str:
    """Say in a line why `size` bytes could not be written below the cache folder, and what to do."""
    if error.errno in _FULL:
        return (
            f"{folder()}: no room for {math.ceil(size / 1e6):,} MB of working data ({error.strerror}); "
            "make room there, or let XDG_CACHE_HOME name a folder on a larger disk"
        )
    return (
        f"{folder()} cannot be written ({error.strerror}); "
        "make it a folder to write to, or let XDG_CACHE_HOME name another one"
    )


def prune(place: Path, most: int = MOST_BYTES) -> int:
    """Remove the files below a folder that were not used for longest until `most` bytes are left.

    Returns how many were removed.
    """
    files = sorted(_files(place))
    left, removed = sum(size for _, size, _ in files), 0
    for _, size, path in files:
        if left <= most:
            break
        path.unlink(missing_ok=True)
        left, removed = left - size, removed + 1
    return removed


def _files(place: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield time of last use, bytes and path of every file; another run may be removing them at the same time."""
    for path in place.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                yield found.st_mtime, found.st_size, path
