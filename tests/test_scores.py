from __future__ import annotations

import math

import numpy as np
import pytest

from training.network import scores


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_worse_than_any(bad: float) -> None:
    """One of them is enough, in whichever place: no other score is below it."""
    logits = np.array([[9.0, 0.0], [bad, 0.0]], np.float32)
    assert scores.score(logits, np.array([0, 0])) == scores.NOTHING
    assert scores.score(-np.abs(logits[:1]) * 1e30, np.array([0])) > scores.NOTHING
