"""Reads what the kernel says of its devices."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST = 256


def matching(root: Path, pattern: str) -> list[Path]:
    """Return what there is below `root` by this pattern, in order; nothing if it goes away while it is looked at."""
    try:
        return sorted(root.glob(pattern))
    except OSError:
        return []


def first_line(path: Path) -> str:
    """Return a small file's first line without spaces around it; nothing if it is not there or does not answer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            data = os.read(descriptor, _MOST)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return ""
    return data.decode("ascii", "replace").partition("\n")[0].strip()


def integer(path: Path, base: int = 10) -> int | None:
    """Return a small file's whole number; None if there is none."""
    try:
        return int(first_line(path), base)
    except ValueError:
        return None
