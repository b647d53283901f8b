"""Reads what the kernel says of its devices."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST = 256
_MOST_TEXT = 1 << 18


def matching(root: Path, pattern: str) -> list[Path]:
    """Return what there is below `root` by this pattern, in order; nothing if it goes away while it is looked at."""
    try:
        return sorted(root.glob(pattern))
    except OSError:
        return []


def first_line(path: Path) -> str:
    """Return a small file's first line without spaces around it; nothing if it is not there or does not answer."""
    return _read(path, _MOST).decode("ascii", "replace").partition("\n")[0].strip()


def text(path: Path) -> str:
    """Return a file's text, its beginning if it is large; nothing if it is not there or does not answer."""
    return _read(path, _MOST_TEXT).decode(errors="replace")


def integer(path: Path, base: int = 10) -> int | None:
    """Return a small file's whole number; None if there is none."""
    try:
        return int(first_line(path), base)
    except ValueError:
        return None


def _read(path: Path, most: int) -> bytes:
    """Read until the end or `most` bytes: the kernel gives a long file in pieces."""
    data = b""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            while len(data) < most and (more := os.read(descriptor, most - len(data))):
                data += more
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return b""
    return data
