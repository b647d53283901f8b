"""The Raspberry Pi camera, against a fake of picamera2 at its API boundary."""

from __future__ import annotations

import gc
import sys
import threading
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import PiCameras

from edge.camera import open_camera
from edge.camera.picamera import Picamera
from edge.errors import CameraError
from edge.sections.cameras import PicameraConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.contract.preprocess import Pixels

SMALL = PicameraConfig(width=96, height=64, timeout_s=0.2)


@pytest.fixture
def pi(monkeypatch: pytest.MonkeyPatch) -> PiCameras:
    """One camera, with padded lines."""
    cameras = PiCameras(padding=32)
    monkeypatch.setitem(sys.modules, "picamera2", cameras.module())
    return cameras


@pytest.fixture
def seldom_collected() -> Iterator[None]:
    """Have the garbage collector not come by itself, as where little happens."""
    thresholds = gc.get_threshold()
    gc.set_threshold(0)
    yield
    gc.set_threshold(*thresholds)


def coloured() -> Pixels:
    scene = np.zeros((64, 96, 3), np.uint8)
    scene[:, :48] = (200, 100, 10)
    scene[:, 48:] = (1, 2, 3)
    return scene


def test_frames_are_rgb_without_the_padding(pi: PiCameras) -> None:
    """A coloured scene arrives pixel by pixel as R, G, B, whatever the lines' padding."""
    pi.show(coloured())
    camera = open_camera(SMALL)
    frame = next(iter(camera.frames()))
    assert not camera.keeps_pace
    assert frame.order == "RGB"
    np.testing.assert_array_equal(frame.pixels, coloured())
    assert (frame.number, frame.source) == (1, "1")
    assert 0 <= time.monotonic() - frame.exposed < 5


def test_a_frame_is_as_old_as_the_begin_of_its_light(pi: PiCameras) -> None:
    """Its time is before its read-out by its exposure: what moved into view since the begin is not wholly in it."""
    assert pi.connected
    long = PicameraConfig(width=96, height=64, exposure_us=100_000)
    frame = next(Picamera(long).frames())
    assert time.monotonic() - frame.exposed >= 0.0999


def test_frames_outlive_the_camera_buffers(pi: PiCameras) -> None:
    """More frames than the camera has buffers come, each its own copy, each buffer given back."""
    pi.show(coloured())
    frames = list(islice(Picamera(SMALL).frames(), 20))
    assert [frame.number for frame in frames] == list(range(1, 21))
    assert pi.released == 20
    for frame in frames:
        np.testing.assert_array_equal(frame.pixels, coloured())


def test_a_pulled_cable_is_a_camera_error(pi: PiCameras) -> None:
    """Without frames the camera fails within its time-out, and no abandoned job takes a later frame."""
    camera = Picamera(SMALL)
    frames = camera.frames()
    next(frames)
    pi.unplug()
    with pytest.raises(CameraError, match=r"camera\.index 0: no frame for 0\.2 s; check its cable"):
        next(frames)
    pi.plug()
    assert pi.released == 1
    assert len(pi._cameras[0]._free) == pi._cameras[0].camera_config["buffer_count"]
    camera.close()
    assert pi.closed == 1


def test_close_ends_a_waiting_frames_and_releases(pi: PiCameras) -> None:
    """close() from another thread ends a wait of 60 s at once, and the camera is released; twice is fine."""
    pi.unplug()
    camera = Picamera(PicameraConfig(width=96, height=64, timeout_s=60))
    shown: list[object] = []
    watcher = threading.Thread(target=lambda: shown.extend(camera.frames()))
    watcher.start()
    camera.close()
    camera.close()
    watcher.join(2)
    assert not watcher.is_alive()
    assert shown == []
    assert pi.closed == 1


def test_a_stop_that_blocks_holds_nobody_else(pi: PiCameras) -> None:
    """While the driver's stop hangs, frames() has ended already; the release follows when it returns."""
    camera = Picamera(SMALL)
    pi.jam()
    closer = threading.Thread(target=camera.close, daemon=True)
    closer.start()
    assert pi.stopping.wait(2)
    assert list(camera.frames()) == []
    assert closer.is_alive()
    pi.free()
    closer.join(2)
    assert pi.closed == 1


def test_a_missing_camera_is_named_with_their_number(pi: PiCameras) -> None:
    """An index that no camera has tells how many there are."""
    with pytest.raises(CameraError, match=r"camera\.index 3: not among this device's 1 cameras"):
        Picamera(PicameraConfig(index=3))
    assert pi.closed == 0


def test_a_camera_in_use_tells_the_cause(pi: PiCameras) -> None:
    """A camera that another program holds fails with libcamera's own words, on one line."""
    pi.in_use = True
    with pytest.raises(CameraError, match=r"cannot be opened \(Failed to acquire camera: Device or resource busy\)"):
        Picamera(SMALL)


@pytest.mark.usefixtures("seldom_collected")
@pytest.mark.parametrize("in_use", [True, False])
def test_a_camera_that_fails_for_days_costs_no_files(pi: PiCameras, *, in_use: bool) -> None:
    """Opened again every few seconds, in use by another or silent, it leaves nothing open that picamera2 opened."""
    pi.in_use = in_use
    files = []
    for _ in range(4):
        if in_use:
            with pytest.raises(CameraError):
                Picamera(SMALL)
        else:
            Picamera(SMALL).close()
        files.append(len(list(Path("/proc/self/fd").iterdir())))
    assert files[-1] == files[-2] == files[-3]


def test_a_camera_without_its_memory_is_let_go(pi: PiCameras) -> None:
    """Where picamera2 fails behind the camera, that is free for the next attempt, and the reason is told."""
    pi.memory_is_others = True
    with pytest.raises(CameraError, match=r"cannot be opened \(.*Permission denied: '/dev/dma_heap/linux,cma'\)"):
        Picamera(SMALL)
    assert pi.closed == 1


def test_pictures_that_memory_does_not_hold_are_refused(pi: PiCameras) -> None:
    """The error names both keys, the pictures and where the memory is seen, and the camera is let go."""
    pi.memory = 100_000
    with pytest.raises(
        CameraError, match=r"^camera\.width and camera\.height: no memory for 6 pictures of 96x64; make"
    ):
        Picamera(SMALL)
    pi.memory = 200_000
    assert pi.closed == 1
    Picamera(SMALL).close()


def test_an_adjusted_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A size that libcamera changed silently is an error that names what it gives, and the camera is released."""
    pi = PiCameras(largest=(640, 480))
    monkeypatch.setitem(sys.modules, "picamera2", pi.module())
    with pytest.raises(CameraError, match="gives 640x480 BGR888 instead of 1280x720 BGR888"):
        Picamera(PicameraConfig())
    assert pi.closed == 1


def test_without_picamera2_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where picamera2 is not installed, the error says which package and which kind of venv it takes."""
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match="apt install python3-picamera2 and a venv with --system-site-packages"):
        Picamera(SMALL)


def test_a_driver_that_fails_is_a_camera_error_in_one_line(pi: PiCameras) -> None:
    """Whatever a driver throws comes as one line that names the camera, and nothing stays on loan."""
    camera = Picamera(SMALL)
    frames = camera.frames()
    next(frames)
    pi.fault = OSError(19, "No such\ndevice")
    with pytest.raises(
        CameraError, match=r"^camera\.index 0: fails \(\[Errno 19\] No such device\); restart"
    ) as caught:
        next(frames)
    assert "\n" not in str(caught.value)
    assert pi.released == 2
    camera.close()


def test_a_frame_of_another_mode_is_a_camera_error(pi: PiCameras) -> None:
    """A mode that comes over the running camera ends in a reason with both sizes, and the camera can be opened anew."""
    camera = Picamera(SMALL)
    frames = camera.frames()
    next(frames)
    pi.halve()
    with pytest.raises(CameraError, match="gives 48x32 BGR888 instead of 96x64 BGR888: something changed its mode"):
        next(frames)
    camera.close()
    pi.show(coloured())
    np.testing.assert_array_equal(next(Picamera(SMALL).frames()).pixels, coloured())


def test_a_picture_that_is_not_as_its_mode_says_is_a_camera_error(
    pi: PiCameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with fewer lines than its mode, or with its padding as pixels, is not taken for the view of a part."""
    camera = Picamera(SMALL)
    assert pi.connected
    monkeypatch.setattr("fake_picamera2.FakeMappedArray.array", np.zeros((32, 96, 3), np.uint8))
    with pytest.raises(CameraError, match="0: its picture has 32 x 96 x 3 values instead of 64 x 96 x 3; restart"):
        next(camera.frames())
    camera.close()


def test_a_driver_that_fails_to_close_says_so(pi: PiCameras, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words come in one line, with the remedy."""

    def fail(_: object) -> None:
        raise OSError(5, "Input/output error")

    camera = Picamera(SMALL)
    assert pi.connected
    monkeypatch.setattr("fake_picamera2.FakePicamera2.close", fail)
    with pytest.raises(CameraError, match=r"does not close \(\[Errno 5\] Input/output error\); restart the device"):
        camera.close()


def test_a_camera_that_fails_to_start_is_let_go_of(pi: PiCameras, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its driver throws at the start is one line, and another program can have it."""

    def fail(_: object) -> None:
        raise ValueError("Broken\npipe")

    monkeypatch.setattr("fake_picamera2.FakePicamera2.start", fail)
    with pytest.raises(CameraError, match=r"^camera\.index 0: refuses its settings \(Broken pipe\); change what"):
        Picamera(SMALL)
    assert pi.closed == 1
