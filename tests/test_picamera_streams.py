"""A Raspberry Pi camera that gives two pictures of each exposure: a small one to judge, the whole one to keep."""

from __future__ import annotations

import sys
import threading
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from fake_picamera2 import GARBAGE
from fakes import PiCameras

from edge.camera.base import Frame
from edge.camera.picamera import Picamera
from edge.errors import CameraError
from edge.sections.cameras import PicameraConfig
from edge.synthetic import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.contract.preprocess import Pixels

WIDTH, HEIGHT = 192, 128
BOTH = PicameraConfig(width=WIDTH, height=HEIGHT, lores_width=96, timeout_s=0.2)


@pytest.fixture(params=[True, False], ids=["pi5", "pi4"])
def pi(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> PiCameras:
    """One camera with padded lines: of a Raspberry Pi 5, whose lores is RGB, and of a 4, whose lores is YUV420."""
    cameras = PiCameras(padding=32, is_pi_5=request.param)
    monkeypatch.setitem(sys.modules, "picamera2", cameras.module())
    return cameras


def part(number: int = 0) -> Pixels:
    return np.asarray(render(1, number, height=HEIGHT, width=WIDTH).pixels)


def blocks() -> Pixels:
    """Colours in blocks, so that the small picture has no pixel of two of them, nor U and V of two pixels."""
    few = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    return few.repeat(16, axis=0).repeat(16, axis=1)


def two(pi: PiCameras) -> tuple[Frame, Frame]:
    """Return two frames, of the blocks and then of a part."""
    frames = Picamera(BOTH).frames()
    pi.show(blocks())
    first = next(frames)
    pi.show(part())
    second = next(frames)
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    return first, second


def test_the_small_picture_is_judged_and_the_whole_one_kept(pi: PiCameras) -> None:
    """Both show the same exposure, RGB, without padding; the planes of a Pi 4 lose 2 levels of colour at most."""
    frame, _ = two(pi)
    assert (frame.pixels.shape, frame.order) == ((64, 96, 3), "RGB")
    apart = np.abs(frame.pixels.astype(int) - blocks()[::2, ::2])
    assert apart.max() <= (0 if pi.is_pi_5 else 2)
    np.testing.assert_array_equal(frame.picture(), blocks())
    assert frame.pixels.flags.owndata or frame.pixels.base is None


def test_the_whole_picture_is_copied_only_for_who_wants_it(pi: PiCameras) -> None:
    """Its buffer goes back when nobody holds the frame; who asks gets a copy that later exposures leave alone."""
    frames = Picamera(BOTH).frames()
    pi.show(part(1))
    kept = next(frames)
    assert isinstance(kept, Frame)
    assert pi.released == 0
    whole = kept.picture()
    pi.show(part(2))
    for _ in range(20):
        next(frames)
    assert pi.released >= 18
    np.testing.assert_array_equal(whole, part(1))
    assert kept.picture() is whole


def test_frames_that_are_held_for_long_starve_nobody(pi: PiCameras) -> None:
    """However many frames somebody holds, the next one comes, and each has its own whole picture."""
    frames = Picamera(BOTH).frames()
    held = []
    for number in range(12):
        pi.show(part(number))
        held.append(next(frames))
    for number, frame in enumerate(held):
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.picture(), part(number))


def test_a_frame_outlives_its_camera(pi: PiCameras) -> None:
    """What was not asked for when the camera closed can be asked for afterwards, and every buffer went back once."""
    camera = Picamera(BOTH)
    pi.show(part(3))
    held = list(islice(camera.frames(), 2))
    camera.close()
    assert pi.released == 2
    for frame in held:
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.picture(), part(3))


def test_a_whole_picture_that_cannot_be_read_is_a_camera_error(pi: PiCameras, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each who asks is told why in one line, and the buffer goes back all the same."""
    camera = Picamera(BOTH)
    frame = next(camera.frames())
    assert isinstance(frame, Frame)
    with monkeypatch.context() as context:
        context.setattr("fake_picamera2.FakeMappedArray.__enter__", _no_memory)
        for _ in range(2):
            with pytest.raises(CameraError, match=r"its picture cannot be read \(\[Errno 12\] no memory\); restart"):
                frame.picture()
    camera.close()
    assert pi.released == 1


def _no_memory(_: object) -> None:
    raise OSError(12, "no memory")


def test_pictures_are_asked_for_while_the_camera_closes(pi: PiCameras) -> None:
    """Whoever is first, closing or asking, each picture is whole and each buffer goes back once."""
    for _ in range(20):
        camera, before = Picamera(BOTH), pi.released
        pi.show(part(4))
        held = [frame for frame in islice(camera.frames(), 3) if isinstance(frame, Frame)]
        pictures: list[Pixels] = []
        asking = threading.Thread(target=lambda h=held, p=pictures: p.extend(frame.picture() for frame in h))
        asking.start()
        camera.close()
        asking.join(5)
        assert len(pictures) == 3
        assert all(np.array_equal(picture, part(4)) for picture in pictures)
        assert pi.released - before == 3


def test_no_garbage_is_ever_judged(pi: PiCameras) -> None:
    """A frame's small picture is its own: what the camera writes into the buffer next does not reach it."""
    pi.show(part(5))
    camera = Picamera(BOTH)
    frames: Iterator[object] = camera.frames()
    first = next(frames)
    assert isinstance(first, Frame)
    before = first.pixels.copy()
    pi.show(np.full((HEIGHT, WIDTH, 3), GARBAGE, np.uint8))
    for _ in range(10):
        next(frames)
    camera.close()
    np.testing.assert_array_equal(first.pixels, before)


def test_a_small_picture_keeps_the_proportions() -> None:
    """Its height follows from its width, and is even."""
    sizes = [(1280, 720, 320), (1280, 720, 226), (64, 8192, 64), (8192, 64, 64)]
    found = [PicameraConfig(width=w, height=h, lores_width=small).lores_size for w, h, small in sizes]
    assert found == [(320, 180), (226, 128), (64, 8192), (64, 2)]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"lores_width": 194}, "lores_width is 194: expected 0, or 64 to width, 192"),
        ({"rate": 0.2}, "rate is 0.2: expected more than one frame in timeout_s, 5 s"),
        ({"exposure_us": 100_001}, "exposure_us is 100001: expected at most 100000 at rate 10"),
        ({"lores_width": 95}, "multiple of 2"),
        ({"white_balance": [1.0]}, "length 2"),
        ({"hdr": "auto"}, "Invalid enum value"),
    ],
)
def test_what_could_never_work_is_refused_when_it_is_read(more: dict[str, object], words: str) -> None:
    """A configuration that contradicts itself names the key, the value and what is expected."""
    table = {"kind": "picamera2", "width": WIDTH, "height": HEIGHT, **more}
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(table, PicameraConfig)


def test_a_small_picture_of_another_size_is_refused(pi: PiCameras, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lores stream that libcamera changed names the key, and the camera is let go of."""
    monkeypatch.setattr("fake_picamera2.FakePicamera2._granted", _rounded)
    with pytest.raises(CameraError, match=r"gives 64x64 \w+ instead of 96x64 \w+; change camera\.lores_width"):
        Picamera(BOTH)
    assert pi.closed == 1


def _rounded(_: object, wish: dict[str, object]) -> dict[str, object]:
    return wish | {"size": (64, 64), "stride": 192} if wish["size"] == (96, 64) else wish | {"stride": 3 * WIDTH}
