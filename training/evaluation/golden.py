"""Golden pictures: a few held-out frames with the scores that this model gave, for a device to check itself."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from edge.contract.pictures import load_picture

if TYPE_CHECKING:
    from edge.classifier import Classifier
    from edge.contract.preprocess import Pixels
    from training.data.dataset import Dataset

MOST = 6
"""Golden pictures in a bundle: the first held-out one of as many classes."""
LONGEST_SIDE = 256
"""Pixels; larger originals are shrunk, their aspect ratio kept: a squash or crop bug shows in it."""


def golden_files(classifier: Classifier, test: Dataset) -> dict[str, bytes]:
    """Return golden/<number>.png and golden/expected.json: by file name, the scores by label."""
    names = [label.name for label in test.labels]
    first = {source.label: source for source in reversed(test.sources)}
    files: dict[str, bytes] = {}
    expected: dict[str, dict[str, float]] = {}
    for number, label in enumerate(sorted(first)[:MOST]):
        png = to_png(first[label].load())
        scores = classifier.classify(load_picture(io.BytesIO(png))).scores  # As the device reads it.
        files[f"golden/{number}.png"] = png
        expected[f"{number}.png"] = {name: round(float(s), 6) for name, s in zip(names, scores, strict=True)}
    return {**files, "golden/expected.json": json.dumps(expected, indent=2).encode() + b"\n"}


def to_png(pixels: Pixels) -> bytes:
    """Encode RGB pixels as PNG, shrunk to LONGEST_SIDE if larger."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
