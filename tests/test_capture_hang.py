"""Capture: a camera whose driver hangs, and a process that stood still."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from spark_host import until
from test_capture import SECONDS, ListCamera

from edge.capture import Capture
from edge.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
