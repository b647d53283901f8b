"""The device: a camera frame becomes exactly one verdict, and the verdict reaches the broker."""

from __future__ import annotations


def version() -> str:
    """Return this program's version, as its package metadata says it."""
    from importlib.metadata import version as installed

    return installed("edge-inspect")
