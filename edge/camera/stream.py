"""A network stream as a camera, through PyAV (FFmpeg's libraries): the newest picture wins."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from edge.camera.newest import Arrived, Packets
from edge.camera.video import Decoder, open_video, reading_errors, refusal, to_frame, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.camera.base import BadFrame, Frame
    from edge.sections.cameras import VideoConfig

DAMAGED_SECONDS = 15.0
"""Without a whole picture: by then a key frame was due, with which one comes."""


class StreamCamera:
    """Shows a stream's newest frame; its source is its number, and what was passed over is a gap in the numbers.

    A frame counts as exposed when it, or a later one, arrived, or would have without a network that held it up: see
    edge.camera.flow. Raises CameraError on creation if PyAV is not installed or cannot open the stream.
    """

    keeps_pace = False
    live = True

    def __init__(self, config: VideoConfig) -> None:
        self._config = config
        self._shown = 0
        self._size: tuple[int, int] | None = None
        """Of the pictures, once one came."""
        self._whole_at = 0.0
        """time.monotonic() of the last picture that was not damaged."""
        self._closed = threading.Event()
        began = time.monotonic()
        self._packets = Packets(open_video(config), began)

    def frames(self) -> Iterator[Frame | BadFrame]:
        """Yield the frames, a damaged one as BadFrame.

        Raises CameraError if the stream ends, falls silent, stays damaged or changes the size of its pictures.
        """
        decoder, arrived = Decoder(), Arrived()
        self._whole_at = time.monotonic()
        try:
            for packet in self._packets:
                if packet.passed_over:
                    self._shown += packet.passed_over
                    packet.data.stream.codec_context.flush_buffers()
                arrived.note(packet.data.pts, packet.came)
                for picture in decoder.decode(packet.data):
                    self._shown += 1
                    if isinstance(picture, str):
                        self._check_patience(picture)
                    if isinstance(picture, str) or self._is_to_be_shown(picture):
                        stamp = None if isinstance(picture, str) else picture.pts
                        yield to_frame(picture, self._shown, arrived.at_latest(stamp))
        except reading_errors() as error:
            raise unreadable(self._config, error) from error
        if not self._closed.is_set():
            raise refusal(self._config, "the stream ended; restart it at its source")

    def close(self) -> None:
        """End `frames` after the frame that it decodes, if any; from any thread."""
        self._closed.set()
        self._packets.leave()

    def _check_patience(self, problem: str) -> None:
        if time.monotonic() - self._whole_at > DAMAGED_SECONDS:
            raise refusal(self._config, f"only damaged pictures for {DAMAGED_SECONDS:g} s ({problem}); restart it")

    def _is_to_be_shown(self, picture: Any) -> bool:
        self._whole_at = time.monotonic()
        size = picture.width, picture.height
        if self._size is not None and self._size != size:
            was, now = (f"{width}x{height}" for width, height in (self._size, size))
            raise refusal(self._config, f"its pictures were {was} and are {now}: parts would look otherwise")
        self._size = size
        return not self._packets.is_outdated()
