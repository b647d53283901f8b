"""A frame as the page shows it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edge.camera.base import Frame
    from edge.contract.preprocess import Rotation

LONGEST = 1280
"""Pixels of the longer side at most."""
_QUALITY = 80
_REDUCING_GAP = 2.0
"""As Pillow advises where a picture is to look well: it first shrinks by whole factors to twice the target."""


def to_jpeg(frame: Frame, rotate: Rotation) -> bytes:
    """Return a frame, turned clockwise, as a JPEG of LONGEST pixels a side at most; it must be a picture."""
    from PIL.Image import Resampling, fromarray

    pixels = frame.pixels
    if pixels.ndim == 3:  # noqa: PLR2004 - axes
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :: 1 if frame.order == "RGB" else -1]
    image = fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((LONGEST, LONGEST), Resampling.BILINEAR, reducing_gap=_REDUCING_GAP)
    turned = fromarray(np.ascontiguousarray(np.rot90(np.asarray(image), -rotate // 90)))
    file = BytesIO()
    turned.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
