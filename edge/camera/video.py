"""A video file or a network stream as a camera, through PyAV (FFmpeg's libraries)."""

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


class VideoCamera:
    """Shows the frames of a video in their order; a frame's source is its number.

    Raises CameraError on creation if PyAV is not installed or cannot open the video.
    """

    def __init__(self, config: VideoConfig) -> None:
        self.keeps_pace = not config.is_stream and config.rate == 0
        self.live = config.is_stream
        self._config = config
        self._name = _without_login(config.source)
        self._pacer = Pacer(0 if config.is_stream else config.rate)
        self._shown = 0
        self._av = _pyav()
        self._container = self._open()

    def frames(self) -> Iterator[Frame | BadFrame]:
        """Yield the frames, a damaged one as BadFrame. Raises CameraError if a stream ends or falls silent."""
        while True:
            before = self._shown
            with self._container:
                yield from self._play()
            if self._pacer.stopped:
                return
            if self._config.is_stream:
                raise self._error("the stream ended; restart it at its source")
            if self._shown == before:
                raise self._error("not one frame could be decoded; convert it, for example to H.264")
            if not self._config.loop:
                return
            self._container = self._open()

    def close(self) -> None:
        """End `frames` after the frame or packet it waits for, STREAM_SILENCE_SECONDS at most; from any thread."""
        self._pacer.stop()

    def _open(self) -> Any:
        source = self._config.source
        if not self._config.is_stream and _is_pipe(source):
            raise self._error("a pipe, which may never begin; name a file or a stream")
        options = {"rtsp_transport": "tcp"} if source.startswith("rtsp") else {}
        try:
            container = self._av.open(
                source if self._config.is_stream else f"file:{source}",
                options=options,
                timeout=(OPEN_SECONDS, STREAM_SILENCE_SECONDS),
            )
        except (self._av.FFmpegError, UnicodeDecodeError) as error:  # the latter: its title is not UTF-8
            reason = getattr(error, "strerror", error)
            raise self._error(f"cannot be opened ({reason}); is it there, and a video?") from error
        if not container.streams.video:
            raise self._error("holds no video")
        return container

    def _play(self) -> Iterator[Frame | BadFrame]:
        packets = self._container.demux(video=0)
        while (packet := self._next(packets)) is not None:
            yield from self._decode(packet)

    def _next(self, packets: Iterator[Any]) -> Any:
        """Return the next packet, None at the end or when closed."""
        try:
            return None if self._pacer.stopped else next(packets, None)
        except self._av.FFmpegError as error:
            raise self._error(f"cannot be read on ({error.strerror})") from error

    def _decode(self, packet: Any) -> Iterator[Frame | BadFrame]:
        try:
            pictures = packet.decode()
        except self._av.FFmpegError as error:
            yield BadFrame(*self._stamp(), f"frame cannot be decoded ({error.strerror})")
            return
        for picture in pictures:
            if not self._pacer.wait():
                return
            yield Frame(*self._stamp(), picture.to_ndarray(format="rgb24"))

    def _stamp(self) -> tuple[int, str, float]:
        self._shown += 1
        return self._shown, str(self._shown), time.monotonic()

    def _error(self, problem: str) -> CameraError:
        return CameraError(f"camera.source {self._name}: {problem}")


def _pyav() -> Any:
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
    """Leave user and password out of an address: messages travel further than the configuration."""
    return re.sub(r"://[^/]*@", "://", source)
