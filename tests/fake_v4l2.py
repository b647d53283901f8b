"""A pretended V4L2 device below the real linuxpy: what the kernel answers, call by call, driven by physical verbs.

linuxpy itself runs as it is; only its door to the kernel (open, ioctl, mmap) leads here. The answers follow the
kernel's documentation of the V4L2 interface (userspace-api/media/v4l).
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from fake_v4l2_knobs import Knobs, refuse, within
from linuxpy import io as linuxpy_io
from linuxpy import ioctl as linuxpy_ioctl
from linuxpy.video import device as v4l2
from linuxpy.video import raw

from edge.camera import open_camera
from edge.sections.cameras import V4l2Config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from edge.camera.base import Camera

RATES = (30, 15, 5)
BYTES = {"RGB24": 3, "BGR24": 3, "GREY": 1, "YUYV": 2, "UYVY": 2, "NV12": 1, "MJPEG": 0}
"""In a line, for each pixel."""


_SIZE = {"width": 64, "height": 48}
GREY_YUYV = bytes([126, 128]) * (64 * 48)
"""Mid-grey, limited range: (126 - 16) * 255 / 219 is 128."""


def _mapped(size: int) -> mmap.mmap:
    """Map a file into memory, which stays open for as long: as a device's, that keeps its number by it."""
    file = os.memfd_create("buffer")
    try:
        os.ftruncate(file, size)
        return mmap.mmap(file, size)
    finally:
        os.close(file)


class Taken(NamedTuple):
    """A filled buffer."""

    index: int
    size: int
    sequence: int
    exposed: float
    flags: int


class File:
    """An open device."""

    def __init__(self, file: Any, closed: Callable[[int], None]) -> None:
        self.fileno = file.fileno
        self.closed = False
        self._file, self._on_close = file, closed

    def close(self) -> None:
        """Close it, once."""
        if not self.closed:
            self.closed = True
            self._on_close(self._file.fileno())
            self._file.close()


class Webcam(Knobs):
    """One capture device at a path, and what happens to it."""

    def __init__(self, path: Path) -> None:
        """Raw formats come at 5 a second at most above 640 pixels, as over USB 2."""
        super().__init__()
        self.path = path
        self.formats = ["YUYV", "MJPEG"]
        self.padding = 0
        """The stride's surplus in bytes."""
        self.sizes = [(64, 48), (1280, 720)]
        self.card = "Pretended Camera"
        self.captures = True
        self.timestamps = int(v4l2.BufferFlag.TIMESTAMP_MONOTONIC)
        self.streaming = threading.Event()
        self.opened = 0
        """How many files are open."""
        self.let_go = threading.Event()
        """Whether the last of them was closed."""
        self.rate = 30.0
        self._format: Any = raw.v4l2_format()
        self._connected = True
        self._user: object = None
        """Who has its buffers."""
        self._reachable = threading.Event()
        self._reachable.set()
        self._memory: list[mmap.mmap] = []
        self._free: list[int] = []
        self._done: list[Taken] = []
        self._sequence = 0
        self._files: dict[int, socket.socket] = {}
        self._handles: list[File] = []
        self._lock = threading.RLock()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Have linuxpy's calls come here."""
        patch.setattr(linuxpy_io.IO, "open", self._open)
        patch.setattr(linuxpy_ioctl, "fcntl", SimpleNamespace(ioctl=self._ioctl))
        patch.setattr(v4l2, "mem_map", lambda _fd, _length, offset: self._memory[offset // mmap.PAGESIZE])

    # --- what happens to it

    def expose(self, data: bytes, *, flags: int = 0, before: float = 0.0) -> None:
        """Take a picture, `before` seconds ago; without a free buffer it is lost, as its number tells."""
        with self._lock:
            if self._connected and self._free and self.streaming.is_set():
                index = self._free.pop(0)
                self._memory[index][: len(data)] = data
                exposed = time.monotonic() - before
                self._done.append(Taken(index, len(data), self._sequence, exposed, flags | self.timestamps))
                self._tell(b"!")
            self._sequence += 1

    def skip(self, frames: int) -> None:
        """Lose pictures on the way to the computer."""
        self._sequence += frames

    def unplug(self) -> None:
        """Pull the cable: whoever waits is woken, and each call fails."""
        with self._lock:
            self._connected = False
            for end in self._files.values():
                end.shutdown(socket.SHUT_RDWR)

    def plug(self) -> None:
        """Put the cable back: the device is another one, for whoever opens it."""
        with self._lock:
            self._connected, self._user, self._sequence = True, None, 0
            self.streaming.clear()
            self._done, self._free = [], []

    def occupy(self) -> None:
        """Have another program stream from it."""
        self._user = "another program"

    def jam(self) -> None:
        """Have the driver hang at the next call that stops the stream."""
        self._reachable.clear()

    def free(self) -> None:
        """Let the driver come back."""
        self._reachable.set()

    def put_away(self) -> None:
        """Close what was left open."""
        for each in self._handles:
            each.close()

    # --- what the kernel answers

    def _open(self, path: Path, _rw: object = None, **_: Any) -> Any:
        with self._lock:
            if path != self.path or not self._connected:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            ours, theirs = socket.socketpair()
            file = os.fdopen(theirs.detach(), "rb+", buffering=0)
            self._files[file.fileno()] = ours
            self.opened += 1
            self._handles.append(opened := File(file, self._closed))
        return opened

    def _closed(self, number: int) -> None:
        with self._lock:
            self._files.pop(number).close()
            self.opened -= 1
            if self._user == number:
                self._user = None
                self.streaming.clear()
            if not self.opened:
                self.let_go.set()

    def _ioctl(self, device: Any, request: int, argument: Any) -> int:
        name = v4l2.IOC(request).name
        if name == "STREAMOFF":
            self._reachable.wait()
        with self._lock:
            if not self._connected:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
            answer = getattr(self, f"_{name.lower()}", None)
            if answer is None:
                refuse(errno.ENOTTY)
            else:
                answer(argument, device.fileno())
        return 0

    def _tell(self, byte: bytes) -> None:
        """Make the streaming file readable, or not."""
        if (end := self._files.get(self._user)) is not None:  # type: ignore[call-overload]
            end.send(byte)

    def _querycap(self, caps: Any, _: int) -> None:
        caps.driver, caps.card, caps.bus_info = b"pretended", self.card.encode(), b"usb-0000:01:00.0-1.1"
        kind = v4l2.Capability.VIDEO_CAPTURE if self.captures else v4l2.Capability.META_CAPTURE
        caps.device_caps = kind | v4l2.Capability.STREAMING
        caps.capabilities = caps.device_caps | v4l2.Capability.DEVICE_CAPS

    def _enum_fmt(self, desc: Any, _: int) -> None:
        within(desc.index, self.formats)
        desc.pixelformat = v4l2.PixelFormat[self.formats[desc.index]]
        desc.description = self.formats[desc.index].encode()

    def _enum_framesizes(self, size: Any, _: int) -> None:
        within(size.index, self.sizes)
        size.type = v4l2.FrameSizeType.DISCRETE
        size.discrete.width, size.discrete.height = self.sizes[size.index]

    def _enum_frameintervals(self, each: Any, _: int) -> None:
        rates = self._rates(v4l2.PixelFormat(each.pixel_format).name, each.width)
        within(each.index, rates)
        each.type = v4l2.FrameIntervalType.DISCRETE
        each.discrete.numerator, each.discrete.denominator = 1, rates[each.index]

    def _rates(self, form: str, width: int) -> tuple[int, ...]:
        return RATES if width <= 640 or form == "MJPEG" else RATES[-1:]

    def _s_fmt(self, wanted: Any, number: int) -> None:
        if self._user not in {None, number}:
            refuse(errno.EBUSY)
        pix = wanted.fmt.pix
        known = {int(v4l2.PixelFormat[name]): name for name in self.formats}
        form = known.get(pix.pixelformat, self.formats[0])
        pix.pixelformat = v4l2.PixelFormat[form]
        pix.width, pix.height = min(self.sizes, key=lambda size: abs(size[0] - pix.width))
        pix.bytesperline = BYTES[form] * pix.width + self.padding * (form != "MJPEG")
        pix.sizeimage = max(pix.bytesperline * pix.height * 3 // 2, 65536)
        pix.field, pix.colorspace = v4l2.Field.NONE, raw.Colorspace.SRGB
        self._format = wanted
        self.rate = min(self.rate, self._rates(form, pix.width)[0])

    def _g_fmt(self, asked: Any, _: int) -> None:
        asked.fmt.pix = self._format.fmt.pix

    def _s_parm(self, parm: Any, _: int) -> None:
        wish = parm.parm.capture.timeperframe
        pix = self._format.fmt.pix
        rates = self._rates(v4l2.PixelFormat(pix.pixelformat).name, pix.width)
        seconds = wish.numerator / wish.denominator
        self.rate = min(rates, key=lambda rate: abs(1 / rate - seconds))
        wish.numerator, wish.denominator = 1, self.rate

    def _g_parm(self, parm: Any, _: int) -> None:
        parm.parm.capture.timeperframe.numerator, parm.parm.capture.timeperframe.denominator = 1, int(self.rate)

    def _reqbufs(self, asked: Any, number: int) -> None:
        if self._user not in {None, number}:
            refuse(errno.EBUSY)
        self._user = number if asked.count else None
        self._memory = [_mapped(self._format.fmt.pix.sizeimage) for _ in range(asked.count)]

    def _querybuf(self, buffer: Any, _: int) -> None:
        buffer.length, buffer.m.offset = self._format.fmt.pix.sizeimage, buffer.index * mmap.PAGESIZE

    def _qbuf(self, buffer: Any, _: int) -> None:
        self._free.append(buffer.index)

    def _dqbuf(self, buffer: Any, number: int) -> None:
        if not self._done:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        taken = self._done.pop(0)
        os.read(number, 1)
        buffer.index, buffer.bytesused, buffer.sequence, buffer.flags = taken[0], taken[1], taken[2], taken[4]
        buffer.timestamp.secs, buffer.timestamp.usecs = divmod(round(taken.exposed * 1e6), 10**6)

    def _streamon(self, _: Any, __: int) -> None:
        self.streaming.set()

    def _streamoff(self, _: Any, __: int) -> None:
        self.streaming.clear()
        self._done, self._free = [], []


def opened(webcam: Webcam, **more: Any) -> Camera:
    """Open it, 64x48 unless `more` says otherwise; it falls silent after 10 s."""
    return open_camera(V4l2Config(device=webcam.path, **{**_SIZE, "timeout_s": 10.0, **more}))
