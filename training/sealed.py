"""Files of the cache that are known to be whole when they are read again: each begins with its content's SHA-256."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edge.errors import InspectError
from training import cache

if TYPE_CHECKING:
    from pathlib import Path

_DIGEST_BYTES = hashlib.sha256().digest_size


def save(path: Path, content: bytes) -> None:
    """Write a file of the cache that `load` knows to be whole.

    Raises InspectError naming the cache and the remedy if there is no room, or no right to write.
    """
    try:
        cache.write(path, hashlib.sha256(content).digest() + content)
    except OSError as error:
        raise InspectError(cache.told(error, len(content))) from error


def load(path: Path) -> bytes:
    """Return what `save` wrote; raises OSError, FileNotFoundError among them, and ValueError for a damaged file."""
    found = path.read_bytes()
    digest, content = found[:_DIGEST_BYTES], found[_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("it is damaged")
    return content
