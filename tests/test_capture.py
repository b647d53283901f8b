"""Capture: newest frame wins from a live camera, none is lost from one that keeps pace."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from spark_host import until

from edge.camera.base import BadFrame, Frame
from edge.camera.folder import FolderCamera
from edge.capture import Capture
from edge.errors import CameraError
from edge.sections.cameras import FolderConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIXELS = np.zeros((2, 2, 3), np.uint8)
SECONDS = 10.0


class ListCamera:
    """Yields numbered frames as fast as it can, then what the test says."""

    def __init__(self, count: int, *, keeps_pace: bool, live: bool = True, error: Exception | None = None) -> None:
        self.keeps_pace = keeps_pace
        self.live = live
        self.delivered = threading.Event()
        self._count = count
        self._error = error

    def frames(self) -> Iterator[Frame]:
        for number in range(1, self._count + 1):
            yield Frame(number, str(number), time.monotonic(), PIXELS)
        self.delivered.set()
        if self._error:
            raise self._error

    def close(self) -> None:
        pass


class HangingCamera(ListCamera):
    """Its close never returns, like a driver that waits for dead hardware."""

    def close(self) -> None:
        threading.Event().wait()


class ComplainingCamera(ListCamera):
    """Its close reports that something is left open."""

    def close(self) -> None:
        raise CameraError("still busy")


def numbers(capture: Capture) -> list[int]:
    taken = []
    while not capture.ended:
        frame = capture.take(SECONDS)
        if frame is not None:
            taken.append(frame.number)
    return taken


def test_newest_frame_wins() -> None:
    """Of frames that came while one was judged, only the newest is handed over; the others are counted."""
    judging = threading.Event()

    class Live(ListCamera):
        def frames(self) -> Iterator[Frame]:
            frames = super().frames()
            yield next(frames)
            judging.wait()
            yield from frames

    camera = Live(50, keeps_pace=False)
    capture = Capture(lambda: camera)
    first = capture.take(SECONDS)
    judging.set()
    assert camera.delivered.wait(SECONDS)
    assert first is not None
    assert [first.number, *numbers(capture)] == [1, 50]
    assert (capture.captured, capture.dropped) == (50, 48)


def test_frames_before_the_first_judgement_are_no_loss() -> None:
    """What a live camera showed while the model was loading counts as neither captured nor dropped."""
    camera = ListCamera(50, keeps_pace=False)
    capture = Capture(lambda: camera)
    assert camera.delivered.wait(SECONDS)
    assert numbers(capture) == [50]
    assert (capture.captured, capture.dropped) == (1, 0)


def test_a_paced_folder_waits_for_judging(tmp_path: Path) -> None:
    """A folder shown at a rate begins when judging begins, however long the model loads: no picture is missed."""
    for number in range(4):
        Image.fromarray(PIXELS).save(tmp_path / f"{number}.png")
    capture = Capture(lambda: FolderCamera(FolderConfig(path=tmp_path, rate=20)))
    threading.Event().wait(0.3)  # The model loads: six periods of the camera.
    assert numbers(capture) == [1, 2, 3, 4]
    assert (capture.captured, capture.dropped) == (4, 0)


def test_a_camera_that_keeps_pace_loses_nothing() -> None:
    """Every frame of a folder or file without a rate is handed over once, in order."""
    capture = Capture(lambda: ListCamera(200, keeps_pace=True))
    assert numbers(capture) == list(range(1, 201))
    assert (capture.captured, capture.dropped) == (200, 0)


def test_no_frame_in_time() -> None:
    """Taking from a silent camera returns None after the timeout, and the camera has not ended."""
    silent = threading.Event()

    class Silent(ListCamera):
        def frames(self) -> Iterator[Frame]:
            silent.wait()
            yield from ()

        def close(self) -> None:
            silent.set()

    capture = Capture(lambda: Silent(0, keeps_pace=False))
    assert capture.take(0.01) is None
    assert not capture.ended
    assert capture.stop(SECONDS)


def test_a_failing_camera_raises_after_its_last_frame() -> None:
    """The frame before a failure is still judged; then the failure is raised where frames are taken."""
    capture = Capture(lambda: ListCamera(1, keeps_pace=True, error=CameraError("gone")))
    frame = capture.take(SECONDS)
    assert frame is not None
    assert frame.number == 1
    with pytest.raises(CameraError, match="gone"):
        capture.take(SECONDS)


def test_stop_frees_a_waiting_camera_thread() -> None:
    """Stopping while the camera waits for its frame to be taken ends its thread."""
    capture = Capture(lambda: ListCamera(5, keeps_pace=True))
    assert capture.stop(SECONDS)


def test_stop_does_not_wait_for_ever() -> None:
    """A camera whose close hangs is reported, not waited for."""
    capture = Capture(lambda: HangingCamera(1, keeps_pace=False))
    started = time.monotonic()
    assert not capture.stop(0.1)
    assert time.monotonic() - started < SECONDS


def test_a_camera_that_closes_with_a_complaint(caplog: pytest.LogCaptureFixture) -> None:
    """What a camera says while it closes is logged, and the end goes on."""
    assert Capture(lambda: ComplainingCamera(1, keeps_pace=False)).stop(SECONDS)
    assert "still busy" in caplog.text


def test_a_camera_that_does_not_open_says_so() -> None:
    """What the opening raises comes to who waits for it, and to who takes a frame."""

    def missing() -> ListCamera:
        raise CameraError("not there")

    capture = Capture(missing)
    with pytest.raises(CameraError, match="not there"):
        capture.wait_until_open()
    with pytest.raises(CameraError, match="not there"):
        capture.take(SECONDS)
    assert capture.stop(SECONDS)


def test_a_camera_that_opens_too_late_is_closed() -> None:
    """A camera whose opening outlasts the end is closed as soon as it is there; stopping does not wait for it."""
    opening, closed = threading.Event(), threading.Event()

    class Late(ListCamera):
        def close(self) -> None:
            closed.set()

    def late() -> ListCamera:
        opening.wait()
        return Late(1, keeps_pace=True)

    capture = Capture(late)
    assert not capture.stop(0.05)
    opening.set()
    assert closed.wait(SECONDS)


def test_damaged_frames_end_no_trouble() -> None:
    """A camera that failed, and gives only what cannot be judged when it is opened again, is still in trouble."""
    healed, taken = threading.Event(), threading.Event()

    class Damaged(ListCamera):
        def frames(self) -> Iterator[Frame]:  # type: ignore[override]
            if not capture.failures:
                raise CameraError("it broke")
            yield BadFrame(1, "1", time.monotonic(), "damaged")
            healed.wait(SECONDS)
            yield from super().frames()
            taken.wait(SECONDS)

    begun = threading.Event()

    def opened() -> Damaged:
        begun.wait(SECONDS)
        return Damaged(1, keeps_pace=False)

    capture = Capture(opened, reopens=True)
    begun.set()
    assert isinstance(capture.take(SECONDS), BadFrame)
    assert capture.trouble == "it broke"
    healed.set()
    assert isinstance(capture.take(SECONDS), Frame)
    assert capture.trouble == ""
    taken.set()
    assert capture.stop(SECONDS)


def test_a_camera_that_fails_unwatched_is_heard_of() -> None:
    """While no frame is taken, what the camera raises is raised at once, and the frame before it counts as dropped."""
    capture = Capture(lambda: ListCamera(3, keeps_pace=False, error=CameraError("it broke")))
    with pytest.raises(CameraError, match="it broke"):
        capture.leave(SECONDS)
    assert not capture.ended
    assert capture.dropped == capture.captured
    assert capture.stop(SECONDS)


def test_a_close_that_fails_in_a_way_of_its_own_is_survived() -> None:
    """A driver's own error while it closes is logged; the camera is opened anew."""

    class Odd(ListCamera):
        def close(self) -> None:
            raise RuntimeError("a driver's own")

    cameras = [Odd(1, keeps_pace=False, error=CameraError("gone")), ListCamera(1, keeps_pace=False)]
    capture = Capture(lambda: cameras.pop(0), reopens=True)
    capture.wait_until_open()
    until(lambda: not cameras)
    assert capture.stop(SECONDS)
