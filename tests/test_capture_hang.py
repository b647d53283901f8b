"""A camera, or a disk, that does not come back is told of, and one that only waits is not."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from spark_host import until
from test_capture import PIXELS, SECONDS, ListCamera

from edge.camera.folder import FolderCamera
from edge.capture import Capture
from edge.errors import CameraError
from edge.sections.cameras import FolderConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.camera.base import Frame


def test_a_camera_that_hangs_while_it_opens_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that a driver holds up ends with what it hangs in, for a new start to free it."""
    monkeypatch.setattr("edge.capture.HANG_SECONDS", 0.0)
    let_go = threading.Event()

    def hang() -> ListCamera:
        let_go.wait(60)
        return ListCamera(0, keeps_pace=False)

    capture = Capture(hang, reopens=True)
    with pytest.raises(CameraError, match="has not come back for 0 s; a new start may free it"):
        capture.wait_until_open()
    let_go.set()
    assert capture.stop(SECONDS)


def test_a_process_that_stood_still_blames_no_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped for longer than a camera may be silent, whoever goes on first lets the camera's thread go on too."""
    monkeypatch.setattr("edge.capture.HANG_SECONDS", 5.0)
    shows = threading.Event()

    class Late(ListCamera):
        def frames(self) -> Iterator[Frame]:
            shows.wait(60)
            yield from super().frames()

    capture = Capture(lambda: Late(1, keeps_pace=False), reopens=True)
    capture.wait_until_open()
    capture._pulse._looked -= 60.0
    assert capture.take(0.0) is None
    shows.set()
    assert capture.take(SECONDS) is not None
    assert capture.stop(SECONDS)


def test_a_driver_that_hangs_is_missed_long_before_it_is_given_up() -> None:
    """Whoever asks is told within seconds, and no more once it shows something; one that is held up is not blamed."""
    shows = threading.Event()

    class Late(ListCamera):
        def frames(self) -> Iterator[Frame]:
            shows.wait(60)
            yield from super().frames()

    capture = Capture(lambda: Late(2, keeps_pace=True), reopens=True, silence_s=0.2)
    capture.wait_until_open()
    assert capture.missing == ""
    until(lambda: capture.missing != "")
    assert capture.missing.startswith(
        "the camera's driver has not come back for 0.2 s; after 40 s the daemon starts anew"
    )
    shows.set()
    assert capture.take(SECONDS) is not None
    began = time.monotonic()
    until(lambda: capture.missing != "" or time.monotonic() - began > 0.5)
    assert capture.missing == ""
    assert capture.stop(SECONDS)


def test_files_whose_disk_does_not_answer_are_no_camera_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that hangs while its pictures are replayed ends the daemon, which would show and say nothing."""
    monkeypatch.setattr("edge.capture.HANG_SECONDS", 0.0)
    answers = threading.Event()

    class Share(ListCamera):
        def frames(self) -> Iterator[Frame]:
            answers.wait(60)
            yield from ()

    capture = Capture(lambda: Share(0, keeps_pace=True, live=False))
    capture.wait_until_open()
    with pytest.raises(CameraError, match="or the disk of its files, has not come back"):  # noqa: PT012 - it looks twice
        for _ in range(200):
            assert capture.take(0.05) is None
    answers.set()
    assert capture.stop(SECONDS)


@pytest.mark.parametrize("on_demand", [False, True])
def test_files_that_wait_their_turn_do_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, on_demand: bool
) -> None:
    """Neither for the next one's time, however slow the rate is, nor for who judges them, nor for a trigger."""
    monkeypatch.setattr("edge.capture.HANG_SECONDS", 0.3)
    monkeypatch.setattr("edge.camera.pace.BEAT_SECONDS", 0.02)
    for number in range(2):
        Image.fromarray(PIXELS).save(tmp_path / f"{number}.png")
    capture = Capture(lambda: FolderCamera(FolderConfig(path=tmp_path, rate=1.0)), on_demand=on_demand)
    capture.wait_until_open()
    until_it_would_hang = time.monotonic() + 0.9
    while time.monotonic() < until_it_would_hang:
        capture.check()
    if on_demand:
        assert capture.stop(SECONDS)
    else:
        taken = []
        while not capture.ended:
            taken += [capture.take(0.02)]
        assert [frame.source for frame in taken if frame] == ["0.png", "1.png"]


def test_a_command_does_not_wait_for_a_camera_that_hangs_while_it_opens() -> None:
    """One that is not opened again ends too: nobody wants to interrupt `check` without knowing why."""
    let_go = threading.Event()

    def hang() -> ListCamera:
        let_go.wait(60)
        return ListCamera(0, keeps_pace=False)

    capture = Capture(hang)
    with pytest.raises(CameraError, match=r"the camera did not open within 0\.05 s; restart it"):
        capture.wait_until_open(0.05)
    let_go.set()
    assert capture.stop(SECONDS)
