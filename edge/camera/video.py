"""A video file as a camera, through PyAV (FFmpeg's libraries); and what a stream's camera has in common with it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.camera.base import BadFrame, Frame
from edge.camera.pace import Pacer
from edge.errors import CameraError
from edge.sections.cameras import STREAM_SILENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.sections.cameras import VideoConfig

OPEN_SECONDS = 10.0
"""A stream that has not shown what it is by then is unreachable."""

_ASSIGNS = re.compile("[?#=]")


class VideoCamera:
    """Shows the frames of a video file in their order; a frame's source is its number.

    Raises CameraError on creation if PyAV is not installed or cannot open the video.
    """

    live = False

    def __init__(self, config: VideoConfig) -> None:
        self.keeps_pace = config.rate == 0
        self._config = config
        self._pacer = Pacer(config.rate)
        self._shown = 0
        self._container = open_video(config)

    def frames(self) -> Iterator[Frame | BadFrame | None]:
        """Yield the frames, a damaged one as BadFrame, None in between. Raises CameraError for a file without any."""
        while True:
            before = self._shown
            with self._container:
                yield from self._play()
            if self._pacer.stopped:
                return
            if self._shown == before:
                raise refusal(self._config, "not one frame could be decoded; convert it, for example to H.264")
            if not self._config.loop:
                return
            self._container = open_video(self._config)

    def close(self) -> None:
        """End `frames` after the frame that it reads; from any thread."""
        self._pacer.stop()

    def _play(self) -> Iterator[Frame | BadFrame | None]:
        packets, decoder = self._container.demux(video=0), Decoder()
        while (packet := self._next(packets)) is not None:
            for picture in decoder.decode(packet):
                if not isinstance(picture, str):
                    yield from self._pacer.pause(self._pacer.left)
                    if not self._pacer.wait():
                        return
                self._shown += 1
                yield to_frame(picture, self._shown, time.monotonic())

    def _next(self, packets: Iterator[Any]) -> Any:
        """Return the next packet, None at the end or when closed."""
        try:
            return None if self._pacer.stopped else next(packets, None)
        except reading_errors() as error:
            raise unreadable(self._config, error) from error


class Decoder:
    """Decodes packets, and knows which pictures are not what was sent: those behind damage, up to a key frame."""

    def __init__(self) -> None:
        self._is_damaged = False
        self._whole_from: int | None = None
        """By its time stamp the key frame that ended the last damage, until the next one: a decoder that puts pictures
        into their order gives some of those before it later."""

    def decode(self, packet: Any) -> Iterator[Any]:
        """Yield PyAV's pictures, or in words why one is none."""
        if packet.is_corrupt:
            self._is_damaged = True
        elif packet.is_keyframe:
            self._whole_from = packet.pts if self._is_damaged else None
            self._is_damaged = False
        try:
            pictures = packet.decode()
        except pyav().FFmpegError as error:
            self._is_damaged = True
            yield f"frame cannot be decoded ({error.strerror})"
            return
        for picture in pictures:
            is_whole = self._is_whole(picture)
            yield picture if is_whole else "part of the video is missing here; it is whole again from a key frame on"

    def _is_whole(self, picture: Any) -> bool:
        stamp, begin = picture.pts, self._whole_from
        if begin is not None and stamp is not None and stamp < begin:
            return False
        self._is_damaged |= picture.is_corrupt  # Those that follow build on it, and are not marked themselves.
        return not self._is_damaged


def to_frame(picture: Any, number: int, exposed: float) -> Frame | BadFrame:
    """Return what Decoder.decode yielded as a frame."""
    if isinstance(picture, str):
        return BadFrame(number, str(number), exposed, picture)
    return Frame(number, str(number), exposed, picture.to_ndarray(format="rgb24"))


def open_video(config: VideoConfig) -> Any:
    """Return PyAV's container of a file or stream; raises CameraError, with its address but not its login."""
    av, source = pyav(), config.source
    if not config.is_stream and _is_pipe(source):
        raise refusal(config, "a pipe, which may never begin; name a file or a stream")
    options = {"rtsp_transport": "tcp"} if source.startswith("rtsp") else {}
    try:
        container = av.open(
            source if config.is_stream else f"file:{source}",
            options=options,
            timeout=(OPEN_SECONDS, STREAM_SILENCE_SECONDS),
        )
    except (av.FFmpegError, UnicodeDecodeError) as error:  # the latter: its title is not UTF-8
        reason = getattr(error, "strerror", error)
        raise refusal(config, f"cannot be opened ({reason}); is it there, and a video?") from error
    if not container.streams.video:
        raise refusal(config, "holds no video")
    return container


def refusal(config: VideoConfig, problem: str) -> CameraError:
    """Return the error that a video has this problem."""
    return CameraError(f"camera.source {_without_login(config.source)}: {problem}")


def unreadable(config: VideoConfig, error: Exception) -> CameraError:
    """Return the error that a video gives nothing more, for this reason."""
    return refusal(config, f"cannot be read on ({getattr(error, 'strerror', error)})")


def reading_errors() -> tuple[type[Exception], ...]:
    """Return what PyAV raises of a video that it cannot read on, IndexError where another track begins within it."""
    return pyav().FFmpegError, IndexError


def pyav() -> Any:
    """Return PyAV; raises CameraError without it."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise CameraError("camera.kind video needs PyAV: pip install 'edge-inspect[camera]'") from error
    return av


def _is_pipe(path: str) -> bool:
    try:
        return Path(path).is_fifo()
    except OSError:  # PyAV says why it cannot be opened.
        return False


def _without_login(source: str) -> str:
    """Leave out of an address what may be a secret: messages travel further than the configuration.

    Many cameras want user and password in the path or behind a question mark; and a password with a slash looks like
    a host and a path.
    """
    scheme, is_address, rest = source.partition("://")
    if not is_address:
        return source
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2]
    if "@" in path or _ASSIGNS.search(host):
        return f"{scheme}://..."
    return f"{scheme}://{host}/..." if _ASSIGNS.search(path) else f"{scheme}://{host}{slash}{path}"
