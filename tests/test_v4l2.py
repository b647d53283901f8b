"""The V4L2 camera: real linuxpy above a pretended kernel, and the kernel's own virtual camera where it has one."""

from __future__ import annotations

import gc
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from test_decoding import jpeg

from edge.camera import open_camera
from edge.camera.base import BadFrame, Frame
from edge.capture import Capture
from edge.errors import CameraError
from edge.sections.cameras import V4l2Config

pytest.importorskip("linuxpy", reason="linuxpy is not installed: pip install 'edge-inspect[v4l2]'")

from fake_v4l2 import GREY_YUYV, Webcam, opened
from linuxpy.video import device as v4l2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.camera.base import Camera

SECONDS = 10.0


def test_frames_come_decoded_and_stamped(webcam: Webcam) -> None:
    """A frame is RGB, numbered, and carries the moment at which its driver says that it was exposed."""
    camera = opened(webcam)
    frames = camera.frames()
    webcam.expose(GREY_YUYV, before=0.5)
    now = time.monotonic()
    frame = next(frames)
    assert isinstance(frame, Frame)
    assert camera.live
    assert not camera.keeps_pace
    assert (frame.number, frame.source, frame.order) == (1, "1", "RGB")
    assert frame.pixels.shape == (48, 64, 3)
    assert np.all(frame.pixels == 128)
    assert frame.exposed == pytest.approx(now - 0.5, abs=0.2)
    camera.close()
    assert webcam.opened == 0


@pytest.mark.parametrize("flag", ["TIMESTAMP_UNKNOWN", "TIMESTAMP_COPY"])
def test_a_stamp_of_another_clock_is_not_believed(webcam: Webcam, flag: str) -> None:
    """Where the driver's clock is not the monotonic one, the moment of arrival stands for the exposure."""
    webcam.timestamps = int(v4l2.BufferFlag[flag])
    frames = opened(webcam).frames()
    webcam.expose(GREY_YUYV, before=1000.0)
    assert next(frames).exposed == pytest.approx(time.monotonic(), abs=1.0)


def test_no_stamp_lies_in_the_future(webcam: Webcam) -> None:
    """A driver whose stamps run ahead does not make a frame that is newer than now."""
    frames = opened(webcam).frames()
    webcam.expose(GREY_YUYV, before=-1000.0)
    assert next(frames).exposed <= time.monotonic()


def test_the_newest_of_several_waiting_frames_wins(webcam: Webcam) -> None:
    """What queued up while nobody looked is passed over, and the number tells how many."""
    frames = opened(webcam).frames()
    for grey in (50, 100, 126):
        webcam.expose(bytes([grey, 128]) * (64 * 48))
    frame = next(frames)
    assert isinstance(frame, Frame)
    assert frame.number == 3
    assert frame.pixels[0, 0, 0] == 128


def test_frames_that_the_camera_lost_are_a_gap_in_the_numbers(webcam: Webcam) -> None:
    """The driver's own count goes on over what never reached the computer, and over its end at 2^32."""
    frames = opened(webcam).frames()
    webcam.skip(2**32 - 2)
    seen = []
    for lost in (0, 0, 3, 0):
        webcam.skip(lost)
        webcam._sequence %= 2**32
        webcam.expose(GREY_YUYV)
        seen.append(next(frames).number)
    assert seen == [1, 2, 6, 7]


def test_a_driver_that_does_not_count_is_counted_for(webcam: Webcam) -> None:
    """Where each frame has the number 0, frames are 1, 2, 3."""
    frames = opened(webcam).frames()
    seen = []
    for _ in range(3):
        webcam.expose(GREY_YUYV)
        seen.append(next(frames).number)
        webcam._sequence = 0
    assert seen == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "flags", "words"),
    [
        (GREY_YUYV[:-10], 0, "6134 of 6144 bytes came"),
        (b"", 0, "0 of 6144 bytes came"),
        (GREY_YUYV, int(v4l2.BufferFlag.ERROR), "the driver says it is damaged"),
    ],
)
def test_a_damaged_buffer_is_a_bad_frame(webcam: Webcam, data: bytes, flags: int, words: str) -> None:
    """A buffer that is short, empty or marked is UNKNOWN with its reason, and the next one is judged."""
    frames = opened(webcam).frames()
    webcam.expose(data, flags=flags)
    bad = next(frames)
    assert isinstance(bad, BadFrame)
    assert words in bad.reason
    assert bad.number == 1
    webcam.expose(GREY_YUYV)
    assert isinstance(next(frames), Frame)


def test_nothing_but_damaged_frames_is_a_camera_error(webcam: Webcam) -> None:
    """A camera that sends only garbage is to be opened anew, as one that sends nothing."""
    frames = opened(webcam, timeout_s=0.05).frames()

    def take() -> None:
        while True:
            webcam.expose(b"short")
            assert isinstance(next(frames), BadFrame)

    with pytest.raises(CameraError, match=r"only damaged frames for 0\.05 s \(5 of 6144 bytes came"):
        take()


def test_padded_lines_are_read_by_their_stride(webcam: Webcam) -> None:
    """What the driver leaves between the lines is not in the picture."""
    webcam.padding = 7
    frames = opened(webcam).frames()
    webcam.expose(b"".join(GREY_YUYV[:128] + b"\xff" * 7 for _ in range(48)))
    frame = next(frames)
    assert isinstance(frame, Frame)
    assert np.all(frame.pixels == 128)


def test_a_camera_of_jpegs(webcam: Webcam) -> None:
    """Where the raw format is too slow for the rate, pictures come as JPEG."""
    camera = opened(webcam, width=1280, height=720, rate=30)
    webcam.expose(jpeg(1280, 720))
    frame = next(camera.frames())
    assert isinstance(frame, Frame)
    assert frame.pixels.shape == (720, 1280, 3)


def test_a_camera_that_falls_silent(webcam: Webcam) -> None:
    """Without a frame for `timeout_s` it is an error, which says what to look at."""
    frames = opened(webcam, timeout_s=0.05).frames()
    with pytest.raises(CameraError, match=r"no frame for 0\.05 s; check its cable"):
        next(frames)


def waiting(camera: Camera) -> tuple[threading.Thread, list[Any]]:
    """Take frames in a thread; what it ends with is in the list."""
    found: list[Any] = []

    def watch() -> None:
        try:
            found.extend(camera.frames())
        except CameraError as error:
            found.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    return watcher, found


def test_unplugging_is_told_at_once(webcam: Webcam) -> None:
    """Whoever waits for a frame hears of it long before the time-out; closing is clean afterwards."""
    camera = opened(webcam, timeout_s=25.0)
    watcher, found = waiting(camera)
    webcam.unplug()
    watcher.join(SECONDS)
    assert not watcher.is_alive()
    assert "it was unplugged; plug it in again" in str(found[0])
    camera.close()
    assert webcam.opened == 0


def test_closing_ends_a_wait(webcam: Webcam) -> None:
    """close() from another thread ends `frames` at once; a second close does nothing, and no file stays open."""
    camera = opened(webcam, timeout_s=25.0)
    watcher, found = waiting(camera)
    camera.close()
    camera.close()
    watcher.join(SECONDS)
    assert not watcher.is_alive()
    assert found == []
    assert webcam.opened == 0
    assert list(camera.frames()) == []


def test_a_closed_camera_leaves_nothing_behind(webcam: Webcam) -> None:
    """However often it is opened anew, no file stays open, also where it was unplugged or refused.

    Memory that stayed mapped would keep the device's number: plugged in again, it would have another.
    """
    files = Path("/proc/self/fd")
    opened(webcam).close()
    gc.collect()  # What other tests left would else be taken away meanwhile.
    before = len(list(files.iterdir()))
    for unplugs in (False, True, False):
        camera = opened(webcam)
        if unplugs:
            webcam.unplug()
            with pytest.raises(CameraError):
                next(camera.frames())
        camera.close()
        assert len(list(files.iterdir())) == before
        webcam.plug()
        with pytest.raises(CameraError):
            opened(webcam, rate=200)
        assert len(list(files.iterdir())) == before


def test_a_driver_that_does_not_let_go_holds_up_nobody(webcam: Webcam) -> None:
    """Capture reports a camera whose driver hangs while it stops, within its time."""
    capture = Capture(lambda: opened(webcam, timeout_s=25.0))
    capture.wait_until_open()
    webcam.jam()
    assert not capture.stop(0.2)
    webcam.free()
    assert webcam.let_go.wait(SECONDS)


def test_a_camera_that_is_unplugged_comes_back(webcam: Webcam) -> None:
    """Capture opens it again; meanwhile it says why there is no frame."""
    capture = Capture(lambda: opened(webcam, timeout_s=25.0), reopens=True)
    assert webcam.streaming.wait(SECONDS)
    webcam.expose(GREY_YUYV)
    assert isinstance(capture.take(SECONDS), Frame)
    webcam.unplug()
    with capture.changed:
        assert capture.changed.wait_for(lambda: "unplugged" in capture.trouble, SECONDS)
    webcam.plug()
    assert webcam.streaming.wait(SECONDS)
    webcam.expose(GREY_YUYV)
    assert isinstance(capture.take(SECONDS), Frame)
    assert capture.trouble == ""
    assert capture.stop(SECONDS)


def test_without_linuxpy_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where linuxpy is not installed, the error says what to install."""
    monkeypatch.setitem(sys.modules, "linuxpy.video", None)
    with pytest.raises(CameraError, match=r"pip install 'edge-inspect\[v4l2\]'"):
        open_camera(V4l2Config(device=Path("/dev/video0")))


# --- the kernel's own virtual camera


@pytest.fixture
def vivid() -> Iterator[Path]:
    """The device of the kernel's virtual video driver."""
    for name in Path("/sys/class/video4linux").glob("video*/name"):
        if name.read_text().startswith("vivid") and "vid-cap" in name.read_text():
            yield Path("/dev", name.parent.name)
            return
    pytest.skip("no virtual camera: modprobe vivid")


@pytest.mark.rig
@pytest.mark.parametrize("form", ["YUYV", "UYVY", "NV12", "RGB24", "BGR24", "GREY"])
def test_the_kernels_own_camera(vivid: Path, form: Any) -> None:
    """Ten frames of each raw format come from a real kernel, in order, with its monotonic stamps and in colour."""
    camera = open_camera(V4l2Config(device=vivid, width=640, height=360, rate=5, format=form))
    before, taken = time.monotonic(), []
    for frame in camera.frames():
        assert isinstance(frame, Frame)
        taken.append(frame)
        if len(taken) == 10:
            break
    camera.close()
    assert [frame.number for frame in taken] == sorted({frame.number for frame in taken})
    assert all(before - 1 <= a.exposed < b.exposed <= time.monotonic() for a, b in pairwise(taken))
    assert taken[0].pixels.shape == ((360, 640) if form == "GREY" else (360, 640, 3))
    assert taken[0].pixels.std() > 10
