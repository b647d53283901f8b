"""Folders and zips from outside: bounded reading that never leaves them; and writing that spoils nothing."""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO

Source: TypeAlias = Path | zipfile.ZipFile

_FAULTS = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What zipfile and the file system raise for damaged, encrypted or unreadable files."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How a zip's files may be packed; the other methods' decoders are not made for strangers."""


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open a folder or a zip; raises BundleError for anything else."""
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise ValueError("not a regular file")  # A pipe would be waited for without end.
        source = path.resolve() if path.is_dir() else zipfile.ZipFile(path)
    except FileNotFoundError:
        raise BundleError(f"{path}: no such bundle; build one with edge-train build --out {path}") from None
    except _FAULTS as error:
        raise BundleError(f"{path}: neither a bundle folder nor a zip of one ({error})") from error
    with source if isinstance(source, zipfile.ZipFile) else contextlib.nullcontext():
        yield source


def read_file(source: Source, name: str, limit: int) -> bytes:
    """Read one file, by count: the size in a zip's directory is only the sender's claim.

    Raises BundleError if it is missing, damaged, not inside the source or larger than `limit` bytes.
    """
    try:
        with _in_zip(source, name) if isinstance(source, zipfile.ZipFile) else _in_folder(source, name) as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError, KeyError):
        raise BundleError(f"{_name_of(source)}: {name} is missing from the bundle") from None
    except _FAULTS as error:
        raise BundleError(f"{_name_of(source)}: {name} cannot be read ({error})") from error
    if len(data) > limit:
        raise BundleError(f"{_name_of(source)}: {name} is larger than the {limit} bytes that are left for it")
    return data


def _in_folder(root: Path, name: str) -> BinaryIO:
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise ValueError("it points outside the bundle")
    if path.exists() and not path.is_file():
        raise ValueError("it is no plain file")
    return path.open("rb")


def _in_zip(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    if archive.getinfo(name).compress_type not in _METHODS:
        raise ValueError("it is neither stored nor deflated")
    return archive.open(name)


def _name_of(source: Source) -> str:
    return str(source.filename if isinstance(source, zipfile.ZipFile) else source)


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
    _sync(path.parent)


def _replace(path: Path, fresh: Path, old: Path) -> None:
    try:
        if path.is_dir():
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
        _sync(target)


def _write_zip(path: Path, content: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            # One fixed date: the same bundle is the same zip.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
