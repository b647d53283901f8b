"""Which frame answers which trigger: none has the next part's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from spark_host import until
from test_external_trigger import Stage, answer, triggered

from edge.camera.base import BadFrame, Frame

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("period", "gap", "own"), [(0.02, 1.0, False), (0.5, 0.5, True), (0.02, 0.05, True)])
def test_a_frame_behind_a_gap_is_of_the_last_part_only(tmp_path: Path, *, period: float, gap: float, own: bool) -> None:
    """Where a camera loses the frames of a part, no other part's picture stands for it; what is usual is no gap."""
    stage = Stage()
    trigger = triggered(stage, tmp_path)
    start = time.monotonic() + 5.0
    for number in range(5):
        stage.show(start + number * period)
    last = start + 4 * period
    wishes = [trigger._capture.expect(last + share * gap) for share in (0.01, 0.99)]
    stage.show(last + gap)
    until(lambda: wishes[1].frame is not None)
    first, second = (wish.frame for wish in wishes)
    assert isinstance(second, Frame)
    assert isinstance(first, Frame) is own
    assert isinstance(first, Frame) or "before the next part's trigger, 0.98 s after its own" in first.reason


def test_a_camera_that_drops_out_again_and_again_shows_no_part_for_another(tmp_path: Path) -> None:
    """Though every third frame comes seconds late, as by a loose cable: that is no time for two parts to share one."""
    stage = Stage()
    trigger = triggered(stage, tmp_path)
    last = time.monotonic() + 60.0
    for gap in (0.1, 0.1, 3.0) * 3:
        stage.show(last)
        last += gap
    last -= 3.0
    wishes = [trigger._capture.expect(last + behind) for behind in (0.5, 2.5)]
    stage.show(last + 3.0)
    until(lambda: wishes[1].frame is not None)
    assert isinstance(wishes[0].frame, BadFrame)
    assert isinstance(wishes[1].frame, Frame)


def test_each_trigger_takes_the_next_picture_of_a_folder(tmp_path: Path) -> None:
    """Of a camera that is not live no picture is passed over, and the line ends behind the last trigger's answer."""
    stage = Stage(live=False)
    trigger = triggered(stage, tmp_path, deadline_s=0.2)
    for _ in range(2):
        stage.show()
    stage.end()
    names = [trigger.fire() for _ in range(3)]
    shots = [answer(trigger) for _ in names]
    assert [shot.frame.number for shot in shots] == [1, 2, 0]
    assert trigger.ended
