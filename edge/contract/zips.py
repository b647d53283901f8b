"""A bundle as a zip, written here or by strangers."""

from __future__ import annotations

import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_FAULTS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError)
"""What zipfile raises for damaged or encrypted archives, besides OSError and ValueError."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How a file may be packed; the other methods' decoders are not made for strangers."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""One fixed date: the same bundle is the same zip."""


class Zip:
    """An open archive; raises OSError or ValueError for one that cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _translated():
            self._archive = zipfile.ZipFile(path)

    def read(self, name: str, most: int) -> bytes:
        """Return a file's first `most` bytes; raises KeyError if it is not there, ValueError if it is damaged."""
        with _translated():
            if self._archive.getinfo(name).compress_type not in _METHODS:
                raise ValueError("it is neither stored nor deflated")
            with self._archive.open(name) as file:
                return file.read(most)

    def has(self, name: str) -> bool:
        """Say whether there is a file of this name."""
        return name in self._archive.namelist()

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()


def write(path: Path, content: Mapping[str, bytes]) -> None:
    """Write an archive of files by name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _FAULTS as error:
        raise ValueError(error) from error
