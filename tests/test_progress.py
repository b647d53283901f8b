from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from training.progress import sparkline


def test_a_line_shows_the_shape_of_the_last_values() -> None:
    """The lowest bar is the least value, the full one the greatest; what is not finite is marked, not drawn."""
    assert sparkline([0.0, 0.5, 1.0]) == "\u2581\u2585\u2588"
    assert sparkline([0.0, math.nan, 1.0, math.inf, -math.inf]) == "\u2581x\u2588xx"
    assert sparkline([math.nan]) == "x"
    assert sparkline([]) == ""
    assert sparkline([9.0, *[1.0] * 24]) == "\u2581" * 24


@given(st.lists(st.floats(width=32), max_size=40))
def test_any_values_are_a_line(values: list[float]) -> None:
    """As many marks as the line has room for, whatever a loss came to."""
    assert len(sparkline(values)) == min(len(values), 24)
