"""Folders and zips from outside: bounded reading that never leaves them; and writing that spoils nothing."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_FAULTS = (OSError, ValueError, RuntimeError)
"""What a path or a file may come to; RuntimeError: before Python 3.13 pathlib's word for links in a circle."""


class Source(Protocol):
    """Where a bundle's files lie."""

    path: Path

    def read(self, name: str, most: int) -> bytes:
        """Return a file's first `most` bytes; raises OSError, KeyError (not there) or ValueError."""

    def has(self, name: str) -> bool:
        """Say whether there is a file or folder of this name."""

    def close(self) -> None:
        """Let go of what `read` needs."""


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open a folder or a zip; raises BundleError for anything else."""
    try:
        source = _Folder(path) if path.is_dir() else _open_zip(path)
    except FileNotFoundError:
        raise BundleError(f"{path}: no such bundle; build one with edge-train build --out {path}") from None
    except _FAULTS as error:
        raise BundleError(f"{path}: neither a bundle folder nor a zip of one ({error})") from error
    try:
        yield source
    finally:
        source.close()


def read_file(source: Source, name: str, limit: int) -> bytes:
    """Read one file, by count: the size in a zip's directory is only the sender's claim.

    Raises BundleError if it is missing, damaged, not inside the source or larger than `limit` bytes.
    """
    try:
        data = source.read(name, limit + 1)
    except (FileNotFoundError, NotADirectoryError, KeyError):
        raise BundleError(f"{source.path}: {name} is missing from the bundle") from None
    except _FAULTS as error:
        raise BundleError(f"{source.path}: {name} cannot be read ({error})") from error
    if len(data) > limit:
        raise BundleError(f"{source.path}: {name} is larger than the {limit} bytes that are left for it")
    return data


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    def read(self, name: str, most: int) -> bytes:
        """Return a file's first `most` bytes; raises OSError, or ValueError for what is outside."""
        path = (self.path / name).resolve()
        if not path.is_relative_to(self.path):
            raise ValueError("it points outside the bundle")
        return read_plain(path, most)

    def has(self, name: str) -> bool:
        """Say whether there is a file or folder of this name."""
        return (self.path / name).exists()

    def close(self) -> None:
        """Nothing is open between two files."""


def _open_zip(path: Path) -> Source:
    if path.exists() and not path.is_file():
        raise ValueError("not a regular file")  # A pipe would be waited for without end.
    from edge.contract.zips import Zip  # On a device a bundle is a folder: its start does without.

    return Zip(path)


def read_plain(path: Path, most: int) -> bytes:
    """Return a file's first `most` bytes; raises OSError, also for what is no plain file: none waits for a pipe."""
    with open(path, "rb", opener=_open_plain) as file:
        return file.read(most)


def _open_plain(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):  # Asked of what was opened: between two looks it may be another.
        return descriptor
    os.close(descriptor)
    raise OSError(f"{path} is no plain file; move it away")


def replace_file(path: Path, data: bytes, *, synced: bool = True) -> None:
    """Have a small file hold this, also after a power cut: what it held before, or all of this, never less.

    Not `synced` it outlives processes only, and costs a start no wait for the disk. Raises OSError. What lies in either
    place, a pipe too, gives way; a folder does not.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        with fresh.open("xb") as file:  # Never what is there: a pipe would be waited for, a link would be followed.
            file.write(data)
            file.flush()
            if synced:
                os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    if synced:
        sync(path.parent)


def write(path: Path, content: Mapping[str, bytes]) -> None:
    """Write a folder, or a zip by the ending .zip, whole and synced to the disk before it takes its name.

    What was at `path` is replaced; a zip in one step. A folder takes two: an error between them puts the
    older one back, after a power cut it lies in a hidden folder beside `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    import tempfile  # Only writers need it, and a device's start does not write.

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
        fresh = Path(scratch, "new")
        (_write_zip if path.suffix == ".zip" else _write_folder)(fresh, content)
        _replace(path, fresh, Path(scratch, "old"))
    sync(path.parent)


def _replace(path: Path, fresh: Path, old: Path) -> None:
    try:
        if path.is_dir() or (path.exists() and fresh.is_dir()):
            path.rename(old)
        fresh.replace(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise


def _write_folder(folder: Path, content: Mapping[str, bytes]) -> None:
    for name, data in content.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        sync(target)
        sync(target.parent)


def _write_zip(path: Path, content: Mapping[str, bytes]) -> None:
    from edge.contract import zips

    zips.write(path, content)
    sync(path)


def sync(path: Path) -> None:
    """Have a file, or a folder's names, survive a power cut (fsync(2)); raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
