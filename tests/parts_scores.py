"""Scores that a calibrated model might have given to damaged and intact parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from training.evaluation.statistics import Booleans, Doubles


def sample(rng: np.random.Generator, each: int, apart: float = 3.0) -> tuple[Doubles, Booleans]:
    """Calibrated scores of as many intact as damaged parts, in steps as int8 has them."""
    defect = np.arange(2 * each) >= each
    evidence = np.round(4 * rng.normal(np.where(defect, apart / 2, -apart / 2))) / 4
    return 1 / (1 + np.exp(-apart * evidence)), defect
