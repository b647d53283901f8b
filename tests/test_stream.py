"""Streams over the loopback, as network cameras send them: what is newest is judged, and whatever breaks is told."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from streaming import RATE, Station, number_of, picture

from edge.camera import newest, open_camera, stream, video
from edge.camera.base import BadFrame, Frame
from edge.capture import Capture
from edge.errors import CameraError
from edge.sections.cameras import VideoConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.camera.base import Camera

pytest.importorskip("av", reason="PyAV is not installed: pip install 'edge-inspect[camera]'")

SECONDS = 20.0


@pytest.fixture
def station() -> Iterator[Station]:
    """A network camera that is on."""
    with Station() as station:
        yield station


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "STREAM_SILENCE_SECONDS", 1.5)


def opened(station: Station) -> Camera:
    return open_camera(VideoConfig(source=station.address))


def good(frame: object) -> Frame:
    """Return a frame, which must not be a damaged one."""
    assert isinstance(frame, Frame)
    return frame


def test_a_stream_shows_what_is_sent(station: Station) -> None:
    """Pictures come whole, none twice, and a gap in their numbers is what was passed over."""
    camera = opened(station)
    assert camera.live
    assert not camera.keeps_pace
    frames = camera.frames()
    shown = [good(next(frames)) for _ in range(10)]
    told = [number_of(frame.pixels) for frame in shown]
    assert told == sorted(set(told))
    assert [frame.number - shown[0].number for frame in shown] == [number - told[0] for number in told]
    camera.close()


def test_whoever_is_slow_gets_the_newest_picture(station: Station) -> None:
    """After two seconds in which nobody looked, the next picture is one of now, and was exposed now."""
    camera = opened(station)
    frames = camera.frames()
    first = good(next(frames))
    station.wait(number_of(first.pixels) + 100)
    at = station.count
    frame = good(next(frames))
    while number_of(frame.pixels) < at - 30:  # One that was decoded before is shown at most.
        assert number_of(frame.pixels) <= number_of(first.pixels) + 12
        frame = good(next(frames))
    assert frame.exposed > first.exposed + 1
    camera.close()


def test_a_picture_is_as_old_as_its_packet(station: Station) -> None:
    """One that the decoder kept, to give it in its order, counts as exposed when it came, not when it was given."""
    station.between = 2
    camera = opened(station)
    ages = []
    for frame in itertools.islice(camera.frames(), 30):
        number_of(good(frame).pixels)
        ages.append(time.monotonic() - frame.exposed)
    camera.close()
    assert sorted(ages)[len(ages) // 2] > 1 / RATE


def test_what_came_while_it_was_opened_is_no_picture_of_now(station: Station) -> None:
    """A trigger that waited for the stream must not be answered by what was before the camera ahead of it."""
    station.keys = 1000
    camera = opened(station)
    frame = good(next(camera.frames()))
    assert frame.exposed < station.sent_at[number_of(frame.pixels)] + 0.25
    camera.close()


def test_what_waited_in_the_network_is_no_picture_of_now(station: Station) -> None:
    """A trigger during a hold-up must not be answered by what was before the camera ahead of it, and came behind it."""
    station.keys = 1000
    camera = opened(station)
    frames = camera.frames()
    for _ in range(2 * RATE):
        good(next(frames))
    station.jammed.set()
    station.wait(station.count + RATE // 2)
    held_from, triggered = station.count, time.monotonic()
    station.wait(held_from + RATE // 2)
    station.jammed.clear()
    answer = next(frame for frame in frames if good(frame).exposed >= triggered)
    assert station.sent_at[number_of(good(answer).pixels)] >= triggered
    camera.close()


def test_a_decoder_that_is_too_slow_goes_on_at_a_key_frame(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where packets wait for too long none queues up, and the pictures behind the gap are whole."""
    monkeypatch.setattr(newest, "LONGEST_SECONDS", 0.05)
    camera = opened(station)
    frames = camera.frames()
    taken = [good(next(frames))]
    for _ in range(3):
        station.wait(station.count + 40)
        taken.append(good(next(frames)))
    told = [number_of(frame.pixels) for frame in taken]
    assert told == sorted(set(told))
    camera.close()


def test_a_camera_that_loses_its_power_comes_back(station: Station) -> None:
    """Meanwhile the reason is told; then frames come again, without anybody's help."""
    capture = Capture(lambda: opened(station), reopens=True)
    assert isinstance(capture.take(SECONDS), Frame)
    station.go()
    with capture.changed:
        assert capture.changed.wait_for(lambda: capture.trouble, SECONDS)
    assert f"camera.source {station.address}: " in capture.trouble
    station.come()
    with capture.changed:
        assert capture.changed.wait_for(lambda: not capture.trouble, SECONDS)
    assert isinstance(capture.take(SECONDS), Frame)
    assert capture.failures >= 1
    assert capture.stop(SECONDS)


def test_a_stream_that_falls_silent_is_opened_anew(station: Station) -> None:
    """A connection that stays open, but over which nothing comes, is given up for a new one."""
    capture = Capture(lambda: opened(station), reopens=True)
    assert isinstance(capture.take(SECONDS), Frame)
    station.hush()
    with capture.changed:
        assert capture.changed.wait_for(lambda: "cannot be read on" in capture.trouble, SECONDS)
        assert capture.changed.wait_for(lambda: not capture.trouble, SECONDS)
    assert isinstance(capture.take(SECONDS), Frame)
    assert capture.stop(SECONDS)


def test_pictures_of_another_size_are_told(station: Station) -> None:
    """A stream that changes its resolution is an error with both, once: parts would look otherwise than before."""
    camera = opened(station)
    frames = camera.frames()
    good(next(frames))
    station.size = (192, 64)
    with pytest.raises(CameraError, match="its pictures were 96x64 and are 192x64"):
        for _ in frames:
            pass
    camera.close()
    again = opened(station)
    assert good(next(again.frames())).pixels.shape == (64, 192, 3)
    again.close()


def test_what_is_lost_on_the_way_is_no_picture(station: Station) -> None:
    """A picture of which a part is missing is UNKNOWN, and so are those that build on it; then all is well again."""
    camera = opened(station)
    frames = camera.frames()
    good(next(frames))
    lost = []
    for _ in range(3):
        station.losing = 500
        while isinstance(frame := next(frames), Frame):
            number_of(frame.pixels)
        lost.append(frame)
        while isinstance(frame := next(frames), BadFrame):
            lost.append(frame)
        number_of(good(frame).pixels)
    assert all("missing" in each.reason or "decoded" in each.reason for each in lost)
    camera.close()


def test_a_stream_that_stays_damaged_is_opened_anew(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no key frame mends it, that is told as what is wrong with the camera, and a new connection may."""
    monkeypatch.setattr(stream, "DAMAGED_SECONDS", 0.3)
    monkeypatch.setattr(video.Decoder, "_is_whole", lambda _, picture: picture.width == 0)
    with pytest.raises(CameraError, match=r"tcp://.*: only damaged pictures for 0\.3 s \(part of the video is missing"):
        list(opened(station).frames())


def test_closing_does_not_wait_for_a_silent_stream(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """close() ends `frames` at once, though the stream's own time-out is far away."""
    monkeypatch.setattr(video, "STREAM_SILENCE_SECONDS", 60.0)
    camera, first = opened(station), threading.Event()

    def watch() -> None:
        for _ in camera.frames():
            first.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert first.wait(SECONDS)
    station.hush()
    camera.close()
    camera.close()
    watcher.join(2)
    assert not watcher.is_alive()


def test_a_closed_stream_leaves_nothing_behind(station: Station) -> None:
    """However often it is opened anew, its thread and its connection end, also where nobody took a frame."""
    before = {thread for thread in threading.enumerate() if thread.name == "stream"}
    for takes in (True, False, True):
        camera = opened(station)
        frames = camera.frames()
        if takes:
            good(next(frames))
        camera.close()
        assert list(frames) == []
    left = [thread for thread in threading.enumerate() if thread.name == "stream" and thread not in before]
    for thread in left:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in left)


class Grown:
    """PyAV's container of a stream to which a track was added: it fails so at the end, by what lies in its memory."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, video: int) -> Iterator[Any]:
        """Yield a few packets."""
        yield from itertools.islice(self._container.demux(video=video), 5)
        raise IndexError("list index out of range")


def test_a_track_that_was_added_ends_a_stream_only(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """What PyAV makes of it ends no thread: the stream is opened anew."""
    monkeypatch.setattr(stream, "open_video", lambda config: Grown(video.open_video(config)))
    with pytest.raises(CameraError, match=r"cannot be read on \(list index out of range\)"):
        list(opened(station).frames())


@pytest.mark.parametrize("content", [b"", b"no video\n" * 1000, bytes(200_000), b"\x47" * 200_000])
def test_a_server_that_sends_garbage(content: bytes) -> None:
    """What is no stream is refused on one line when it opens, or when it ends; nothing else is raised."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as link:
            link.sendall(content)

    threading.Thread(target=serve, daemon=True).start()
    with pytest.raises(CameraError, match=r"camera\.source tcp://") as caught:
        list(open_camera(VideoConfig(source=f"tcp://127.0.0.1:{server.getsockname()[1]}")).frames())
    assert "\n" not in str(caught.value)


def test_jpegs_over_http() -> None:
    """The oldest network cameras push JPEGs as one answer of many parts."""
    server, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        with server, server.accept()[0] as link:
            link.recv(65536)
            link.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n")
            number = 0
            while not over.wait(0.02):
                file = BytesIO()
                Image.fromarray(picture(number)).save(file, "JPEG", quality=95)
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {file.tell()}\r\n\r\n"
                link.sendall(head.encode() + file.getvalue() + b"\r\n")
                number += 1

    sender = threading.Thread(target=serve, daemon=True)
    sender.start()
    camera = open_camera(VideoConfig(source=f"http://127.0.0.1:{server.getsockname()[1]}/video.mjpg"))
    frames = camera.frames()
    told = [number_of(good(next(frames)).pixels) for _ in range(5)]
    assert told == sorted(set(told))
    over.set()
    camera.close()
    sender.join(SECONDS)
