"""Surfaces that a formula draws, so that what was done to them is known exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels


def waves(rows: int, columns: int, angle: float = 0.0) -> Pixels:
    """Draw a smooth surface that is turned about the picture's middle by an angle in radians."""
    y, x = np.mgrid[:rows, :columns] + 0.5 - np.array([rows, columns]).reshape(2, 1, 1) / 2
    x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    surface = 128 + 60 * np.sin(x / 7) + 50 * np.cos(y / 9)
    return np.repeat(np.rint(surface).astype(np.uint8)[:, :, None], 3, axis=2)
