"""What follows from a frame's fitness: where its regions lie, and when somebody is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import config
from edge.contract.preprocess import Region
from edge.errors import ConfigError
from edge.guard.fitness import Fitness, Maintenance


@given(st.floats(0, 0.9), st.floats(0.1, 1), st.floats(-0.25, 0.25))
def test_a_region_follows_the_fixture_within_the_frame(start: float, size: float, shift: float) -> None:
    """It keeps its size and moves by the shift, or as far as the frame reaches."""
    region = Region(x=start, width=min(size, 1 - start), y=0.2, height=0.5)
    found = Fitness(dx=shift, dy=0.1).follow(region)
    assert (found.width, found.height, found.y) == (region.width, 0.5, pytest.approx(0.3))
    assert found.x == pytest.approx(min(max(0, start + shift), 1 - region.width), abs=1e-9)


@given(
    st.lists(st.sampled_from(["fit", "focus", "light", "idle"]), max_size=40),
    st.integers(1, 6),
)
def test_maintenance_is_asked_for_after_so_many_and_until_one_is_fit(frames: list[str], alarm_after: int) -> None:
    """The text stands from the N-th unfit frame in a row to the next fit one, unchanged; idle ones do not count."""
    maintenance = Maintenance("left", alarm_after)
    in_a_row, raised = 0, ""
    for kind in frames:
        said = maintenance.after(Fitness("" if kind == "fit" else kind, idle=kind == "idle"))
        in_a_row = 0 if kind == "fit" else in_a_row + (kind != "idle")
        if kind == "fit":
            raised = ""
        elif in_a_row == alarm_after and kind != "idle":
            raised = kind
        assert bool(said) is bool(raised)
        assert said.endswith(raised)
        assert not said or said.startswith("camera left: the last ")


def test_the_alarm_says_how_many_frames_and_why() -> None:
    """One or several, with the reason of the one that raised it."""
    assert Maintenance("left", 1).after(Fitness("dark")) == "camera left: the last frame is not fit to be judged: dark"
    two = Maintenance("left", 2)
    assert two.after(Fitness("dark")) == ""
    assert two.after(Fitness("blurred")) == "camera left: the last 2 frames are not fit to be judged: blurred"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"checks": ["focsu"]},
            "guard.checks[0] is 'focsu': expected one of 'fixture', 'focus', 'frozen', 'light', 'part'",
        ),
        ({"max_shift": 0}, "guard.max_shift is 0: expected a number above 0 and at most 0.25"),
        ({"alarm_after": 0}, "guard.alarm_after is 0: expected a whole number at least 1"),
    ],
)
def test_a_rule_that_cannot_be_is_named(rules: dict[str, Any], message: str) -> None:
    """Each line names the key of [guard], its value and what it should be."""
    with pytest.raises(ConfigError) as caught:
        config.parse({"bundle": "b", "camera": {"kind": "synthetic"}, "guard": rules}, Path("d.toml"))
    assert str(caught.value) == f"d.toml: {message}"
