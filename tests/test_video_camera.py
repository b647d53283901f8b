"""The video camera, on small videos that the tests encode themselves."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge.camera import open_camera, video
from edge.camera.base import BadFrame, Frame
from edge.errors import CameraError
from edge.sections.cameras import VideoConfig

if TYPE_CHECKING:
    from pathlib import Path

av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'edge-inspect[camera]'")

FORMATS = {"ffv1": "bgr0", "mjpeg": "yuvj420p", "mpeg2video": "yuv420p"}
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def film(path: Path, colours: list[tuple[int, int, int]], codec: str = "ffv1") -> Path:
    """Encode one 48x32 frame a colour; its left third is black."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, FORMATS[codec]
        for colour in colours:
            pixels = np.zeros((32, 48, 3), np.uint8)
            pixels[:, 16:] = colour
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_file_shows_each_frame_once_as_rgb(tmp_path: Path) -> None:
    """Every frame of a lossless file comes once, in order, R, G, B, not mirrored and none dropped."""
    camera = open_camera(VideoConfig(source=str(film(tmp_path / "a.mkv", [RED, GREEN, BLUE]))))
    shown = list(camera.frames())
    assert camera.keeps_pace
    assert [frame.source for frame in shown] == ["1", "2", "3"]
    for frame, colour in zip(shown, [RED, GREEN, BLUE], strict=True):
        assert isinstance(frame, Frame)
        assert frame.pixels.shape == (32, 48, 3)
        assert frame.order == "RGB"
        assert tuple(frame.pixels[5, 40]) == colour
        assert tuple(frame.pixels[5, 5]) == (0, 0, 0)


def test_a_file_loops_and_counts_on(tmp_path: Path) -> None:
    """A looping file begins again under new numbers until it is closed."""
    camera = open_camera(VideoConfig(source=str(film(tmp_path / "a.mkv", [RED, GREEN])), loop=True))
    numbers = []
    for frame in camera.frames():
        numbers.append(frame.number)
        if frame.number == 5:
            camera.close()
    assert numbers == [1, 2, 3, 4, 5]


def test_a_rate_paces_a_file(tmp_path: Path) -> None:
    """With a rate the file plays like a live camera."""
    camera = open_camera(VideoConfig(source=str(film(tmp_path / "a.mkv", [RED] * 5)), rate=50))
    started = time.monotonic()
    assert len(list(camera.frames())) == 5
    assert time.monotonic() - started >= 4 / 50
    assert not camera.keeps_pace


def test_closing_ends_a_slow_file(tmp_path: Path) -> None:
    """close() from another thread ends a wait of 100 s for the next frame."""
    camera = open_camera(VideoConfig(source=str(film(tmp_path / "a.mkv", [RED] * 3)), rate=0.01))
    first = threading.Event()

    def watch() -> None:
        for _ in camera.frames():
            first.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert first.wait(10)
    camera.close()
    watcher.join(2)
    assert not watcher.is_alive()


def test_a_damaged_stretch_is_no_stop(tmp_path: Path) -> None:
    """A file with garbage in its middle still shows its first and last frames; nothing else is raised."""
    path = film(tmp_path / "a.avi", [RED] * 30, codec="mjpeg")
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 600] = b"\x5a" * 600
    path.write_bytes(raw)
    shown = list(open_camera(VideoConfig(source=str(path))).frames())
    assert isinstance(shown[0], Frame)
    assert isinstance(shown[-1], Frame)
    assert [frame.number for frame in shown] == list(range(1, len(shown) + 1))
    assert all("decoded" in frame.reason for frame in shown if isinstance(frame, BadFrame))


def test_damage_lasts_until_a_key_frame(tmp_path: Path) -> None:
    """What builds on a picture that was mended in part is none either; the key frame behind it is whole again."""
    path, dice = tmp_path / "a.mkv", np.random.default_rng(1)
    scene = dice.integers(0, 255, (48, 64, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 256, 192, "yuv420p", 2_000_000
        stream.options = {"g": "10", "bf": "0"}
        for step in range(30):
            view = np.ascontiguousarray(np.roll(scene, 6 * step, 1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0)]
    raw = path.read_bytes()
    place = raw.index(packets[13]) + len(packets[13]) // 2
    path.write_bytes(raw[:place] + bytes(20) + raw[place + 20 :])
    shown = list(open_camera(VideoConfig(source=str(path))).frames())
    assert [frame.number for frame in shown if isinstance(frame, BadFrame)] == list(range(14, 21))
    assert len(shown) == 30


def test_a_truncated_file_ends_early(tmp_path: Path) -> None:
    """Half a file shows the frames it still has."""
    path = film(tmp_path / "a.mkv", [RED] * 30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    shown = list(open_camera(VideoConfig(source=str(path))).frames())
    assert 1 <= len(shown) < 30


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_what_is_no_video_is_a_camera_error(tmp_path: Path) -> None:
    """A missing file, a text, a folder and a sound file are each refused on one line with their name."""
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    audio_only(tmp_path / "sound.wav")
    for name, reason in [
        ("missing.mp4", "No such file"),
        ("text.mp4", "Invalid data"),
        ("", "cannot be opened"),
        ("sound.wav", "holds no video"),
    ]:
        with pytest.raises(CameraError, match=reason) as caught:
            open_camera(VideoConfig(source=f"{tmp_path}/{name}"))
        assert f"camera.source {tmp_path}/{name}: " in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A named pipe, from which nothing may ever come, is refused at once."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CameraError, match="pipe: a pipe, which may never begin"):
        open_camera(VideoConfig(source=str(tmp_path / "pipe")))


@pytest.mark.parametrize(
    ("login", "path", "shown"),
    [
        ("user:secret@", "line", "HOST/line"),
        ("user:sec@secret@", "line", "HOST/line"),
        ("user:a?b=secret@", "", "HOST/"),
        ("user:a/secret@", "line", "..."),
        ("", "video.cgi?user=me&pwd=secret", "HOST/..."),
        ("", "video.cgi?user=me&pwd=a@secret", "..."),
        ("", "user=me&password=secret&channel=1.sdp", "HOST/..."),
    ],
)
def test_an_unreachable_stream_hides_its_password(login: str, path: str, shown: str) -> None:
    """A stream that does not open is refused, and the error does not show the login, wherever the camera wants it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening: connections are refused
        port = taken.getsockname()[1]
        with pytest.raises(CameraError) as caught:
            open_camera(VideoConfig(source=f"rtsp://{login}127.0.0.1:{port}/{path}"))
    told = shown.replace("HOST", f"127.0.0.1:{port}")
    assert str(caught.value).startswith(f"camera.source rtsp://{told}: cannot be opened")
    assert "secret" not in str(caught.value)


def serve_once(content: bytes, *, hang: bool) -> tuple[int, threading.Event]:
    """Serve bytes to one HTTP client; then hang or hang up. Returns the port and the event that ends a hang."""
    server = socket.create_server(("127.0.0.1", 0))
    release = threading.Event()

    def answer() -> None:
        with server, server.accept()[0] as client:
            client.recv(65536)
            head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(content) + hang}\r\n\r\n"
            client.sendall(head.encode() + content)
            if hang:
                release.wait(30)

    threading.Thread(target=answer, daemon=True).start()
    return server.getsockname()[1], release


def test_a_stream_that_ends_is_a_camera_error(tmp_path: Path) -> None:
    """A live stream never keeps pace; its end is a failure, unlike a file's."""
    port, _ = serve_once(film(tmp_path / "a.ts", [RED] * 20, codec="mpeg2video").read_bytes(), hang=False)
    camera = open_camera(VideoConfig(source=f"http://127.0.0.1:{port}/live.ts", rate=1))
    assert not camera.keeps_pace
    frames = camera.frames()
    assert isinstance(next(frames), Frame)
    with pytest.raises(CameraError, match="the stream ended"):
        list(frames)


def test_a_stream_that_falls_silent_is_a_camera_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that stays open but sends nothing fails after its time-out."""
    monkeypatch.setattr(video, "STREAM_SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(video, "OPEN_SECONDS", 2.0)
    port, release = serve_once(film(tmp_path / "a.ts", [RED] * 200, codec="mpeg2video").read_bytes(), hang=True)
    with pytest.raises(CameraError, match=r"camera\.source .*: cannot be (opened|read on)"):
        list(open_camera(VideoConfig(source=f"http://127.0.0.1:{port}/live.ts")).frames())
    release.set()


def test_without_pyav_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyAV is not installed, the error says what to install."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CameraError, match=r"pip install 'edge-inspect\[camera\]'"):
        open_camera(VideoConfig(source="a.mp4"))
