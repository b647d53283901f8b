"""The synthetic camera, against the clock."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from edge.camera import open_camera
from edge.camera.base import Frame
from edge.sections.cameras import SyntheticConfig
from edge.synthetic import render, truth


def frames_of(config: SyntheticConfig, count: int) -> list[Frame]:
    camera = open_camera(config)
    shown = [frame for frame in itertools.islice(camera.frames(), count) if isinstance(frame, Frame)]
    camera.close()
    return shown


def test_frames_are_the_seeds_parts_and_their_sources_the_truth() -> None:
    """Frame n is part n - 1 of the seed, RGB at the configured size; its source begins with what it shows."""
    shown = frames_of(SyntheticConfig(rate=0, width=80, height=48, seed=4), 6)
    for index, frame in enumerate(shown):
        assert (frame.number, frame.order) == (index + 1, "RGB")
        assert frame.source == f"{truth(4, index)}/4-{index:06d}"
        assert np.array_equal(frame.pixels, render(4, index, height=48, width=80).pixels)


def test_it_stops_after_the_configured_frames() -> None:
    """With `frames` set the camera ends there; without it, it does not end by itself."""
    assert len(frames_of(SyntheticConfig(rate=0, width=32, height=32, frames=7), 1000)) == 7
    assert len(frames_of(SyntheticConfig(rate=0, width=32, height=32), 40)) == 40


def test_a_live_rate_is_kept() -> None:
    """At 50 frames a second 26 frames take half a second, and no stretch of them is ahead by more than a period."""
    exposed = [frame.exposed for frame in frames_of(SyntheticConfig(rate=50, width=32, height=32), 26)]
    assert exposed[-1] - exposed[0] < 3
    for count in (2, 5, 25):
        assert min(late - early for early, late in zip(exposed, exposed[count:], strict=False)) >= (count - 1.01) / 50


def test_a_late_reader_gets_no_burst() -> None:
    """After a pause of six periods the next four frames still take two at least: a camera does not catch up."""
    camera = open_camera(SyntheticConfig(rate=20, width=32, height=32))
    frames = camera.frames()
    next(frames)
    threading.Event().wait(0.3)
    exposed = [frame.exposed for frame in itertools.islice(frames, 4)]
    assert exposed[-1] - exposed[0] >= 2 / 20


@pytest.mark.parametrize(("rate", "keeps_pace"), [(0, True), (5, False)])
def test_only_an_unpaced_camera_waits_for_its_reader(rate: float, *, keeps_pace: bool) -> None:
    """Without a rate every part is judged; with one the newest frame wins."""
    assert open_camera(SyntheticConfig(rate=rate)).keeps_pace is keeps_pace


def test_the_exposure_comes_after_the_rendering() -> None:
    """The latency measured from `exposed` holds no rendering: the stamp is younger than the frame's reader waits."""
    camera = open_camera(SyntheticConfig(rate=0, width=512, height=512))
    frames = camera.frames()
    for _ in range(3):
        asked = time.monotonic()
        frame = next(frames)
        got = time.monotonic()
        assert got - frame.exposed < 0.2 * (got - asked)


@pytest.mark.parametrize("rate", [0, 0.01, 1e-300])
def test_closing_ends_the_frames_promptly(rate: float) -> None:
    """`close` from another thread ends a camera that waits 100 s or for ever; a second close is harmless."""
    camera = open_camera(SyntheticConfig(rate=rate, width=32, height=32))
    frames = camera.frames()
    next(frames)
    closing = threading.Timer(0.1, camera.close)
    started = time.monotonic()
    closing.start()
    for _ in frames:
        assert time.monotonic() - started < 5
    assert time.monotonic() - started < 5
    closing.join()
    camera.close()
