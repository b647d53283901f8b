"""Names for what is kept: a hash of everything that it depends on, so that nothing of another question is taken up."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import edge
from training.recipe import IMAGENET


def key_of(*content: object) -> str:
    """Hash plain values together with the versions of what computes: 32 hexadecimal digits."""
    versions = [edge.__version__, *(version(name) for name in ("tensorflow", "keras"))]
    return hashlib.sha256(json.dumps([*content, versions]).encode()).hexdigest()[:32]


def identity_of(weights: str | None) -> str | None:
    """Return what tells weights from others: a file's SHA-256, or the name of what Keras downloads; None: none."""
    if weights is None or weights == IMAGENET:
        return weights
    return hashlib.sha256(Path(weights).read_bytes()).hexdigest()
