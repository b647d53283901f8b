"""A network camera on the loopback: MPEG-TS over TCP, driven by what happens to such cameras."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels

RATE = 50
BITS = 12
"""Of a picture's number, each a bar of its own."""


def picture(number: int, size: tuple[int, int] = (96, 64)) -> Pixels:
    """Draw a picture that tells its number."""
    width, height = size
    bar = width // BITS
    lit = np.array([255 * (number >> bit & 1) for bit in range(BITS)], np.uint8)
    row = np.zeros(width, np.uint8)
    row[: bar * BITS] = lit.repeat(bar)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))


def number_of(pixels: Pixels) -> int:
    """Return the number that a picture tells; fails for one that is not as it was drawn."""
    height, width = pixels.shape[:2]
    bar = width // BITS
    levels = pixels[height // 2, bar // 2 : bar * BITS : bar, 1]
    number = sum(1 << bit for bit, level in enumerate(levels) if level > 127)
    # Lossy: an edge rings, but nowhere is light where darkness was.
    assert np.abs(pixels.astype(int) - picture(number, (width, height))).mean() < 20
    return number


class _Link:
    """Where the muxer writes; some of it is lost on the way."""

    def __init__(self, link: socket.socket, station: Station) -> None:
        self._link, self._station = link, station
        self._held = bytearray()

    def write(self, data: bytes) -> int:
        if (losing := self._station.losing) and len(data) >= losing:
            self._station.losing = 0
            middle = len(data) // 2
            data = data[:middle] + bytes(len(data) - middle)
        self._held += data
        if not self._station.jammed.is_set():
            self._link.sendall(self._held)
            self._held.clear()
        return len(data)


class Station:
    """Serves whoever connects, each from picture 0 on."""

    def __init__(self) -> None:
        self.sent = threading.Condition()
        self.count = 0
        """Pictures that were sent to the newest client."""
        self.size = (96, 64)
        self.between = 0
        """B-frames in a row."""
        self.keys = 12
        """Pictures from one key frame to the next."""
        self.sent_at: dict[int, float] = {}
        """When each picture was sent to the newest client, by time.monotonic()."""
        self.losing = 0
        """The half of the next write of so many bytes or more is lost."""
        self.jammed = threading.Event()
        """While set, what is sent waits in the network, which then gives it all at once."""
        self._silent = threading.Event()
        self._links: list[socket.socket] = []
        self._ended = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._port = self._server.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self._port}"
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.go()

    def go(self) -> None:
        """Lose its power."""
        self._ended.set()
        with contextlib.suppress(OSError):  # It was off.
            self._server.shutdown(socket.SHUT_RDWR)  # Else it would listen on, for the thread that waits in it.
        self._server.close()
        for link in self._links:
            with contextlib.suppress(OSError):  # It is over already.
                link.shutdown(socket.SHUT_RDWR)

    def come(self) -> None:
        """Start again, at the same address."""
        self._ended = threading.Event()
        self._server = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def hush(self) -> None:
        """Keep the connection, and send nothing to it; who connects anew is served."""
        self._silent.set()

    def wait(self, count: int) -> None:
        """Return when so many pictures were sent; fail if that takes 20 s."""
        with self.sent:
            assert self.sent.wait_for(lambda: self.count >= count, 20)

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = server.accept()
                self._links.append(link)
                self._silent = threading.Event()
                threading.Thread(target=self._serve, args=(link, self._silent, self._ended), daemon=True).start()

    def _serve(self, link: socket.socket, silent: threading.Event, ended: threading.Event) -> None:
        import av

        self.count = number = 0
        with link, contextlib.suppress(OSError):
            while not ended.is_set():
                size = self.size
                with contextlib.suppress(av.FFmpegError), av.open(_Link(link, self), "w", format="mpegts") as out:
                    number = self._send(out, number, size, (silent, ended))

    def _send(self, out: Any, number: int, size: tuple[int, int], over: tuple[threading.Event, ...]) -> int:
        """Send pictures of one size; returns the next one's number."""
        import av

        stream = out.add_stream("mpeg2video", rate=RATE)
        stream.width, stream.height = size
        stream.pix_fmt, stream.options, stream.bit_rate = (
            "yuv420p",
            {"bf": str(self.between), "g": str(self.keys)},
            4_000_000,
        )
        silent, ended = over
        while not ended.wait(1 / RATE) and size == self.size:
            if silent.is_set():
                continue
            image = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            image.pts = number
            out.mux(stream.encode(image))
            number += 1
            with self.sent:
                self.sent_at[number - 1] = time.monotonic()
                self.count = number
                self.sent.notify_all()
        return number
