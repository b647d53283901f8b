"""A USB camera or grabber through the kernel's V4L2, by linuxpy."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge.camera.base import BadFrame, Frame
from edge.camera.decoding import decode
from edge.camera.v4l2_controls import lock
from edge.camera.v4l2_device import (
    TOLERATED,
    choose,
    describe,
    linuxpy,
    modes,
    open_device,
    set_format,
    set_rate,
)
from edge.errors import CameraError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.camera.decoding import Layout
    from edge.sections.cameras import V4l2Config

BUFFERS = 4
"""The camera fills one while another is read; two more are for a system that is busy elsewhere."""
CLOSE_SECONDS = 2.0
"""For the driver to come back from what `frames` asked it: it answers at once, or not at all."""
_SEQUENCES = 2**32
_REMEDIES = {
    errno.ENODEV: "it was unplugged; plug it in again",
    errno.ENXIO: "it was unplugged; plug it in again",
    errno.ENOENT: "not there; edge-inspect cameras lists what is",
    errno.EBUSY: "another program uses it; end that one, which edge-inspect cameras names",
    errno.EACCES: "this user may not open it; add it to the group video",
    errno.EPERM: "this user may not open it; add it to the group video",
    errno.ENOSPC: "the USB bus has no room for so much; lower rate or size, take MJPEG, or use another bus",
    errno.ENOTTY: "no camera; edge-inspect cameras lists what is",
}


class V4l2Camera:
    """Delivers the newest frame; a frame's source is its number, by the driver's own count.

    Raises CameraError on creation without linuxpy, without that camera, or if it refuses its settings.
    """

    keeps_pace = False
    live = True

    def __init__(self, config: V4l2Config) -> None:
        self._name = f"camera.device {config.device}"
        self._timeout = config.timeout_s
        self._shown = 0
        self._sequence = -1
        """The driver's number of the last frame, -1 before the first."""
        self._closed = threading.Event()
        self._busy = threading.Lock()
        try:
            self._device, self._capture, self._layout = _open(config, self._name)
        except CameraError:
            raise
        except (OSError, ValueError, ArithmeticError) as error:  # not the first: linuxpy, of a driver's odd answers
            raise _translated(error, self._name) from error
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._good_at = time.monotonic()

    def frames(self) -> Iterator[Frame | BadFrame]:
        """Yield frames until the camera is closed. Raises CameraError if no good one comes within `timeout_s`."""
        while (frame := self._next()) is not None:
            yield frame

    def close(self) -> None:
        """Wake `frames`, stop and release the camera, as fast as its driver does.

        Raises CameraError if the driver holds `frames` back: only a new start of the process frees such a camera.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        os.eventfd_write(self._woken, 1)
        if not self._busy.acquire(timeout=CLOSE_SECONDS):
            raise CameraError(f"{self._name}: its driver hangs; restart the device")
        try:
            _release(self._device, self._capture)
            os.close(self._woken)
        finally:
            self._busy.release()

    def _next(self) -> Frame | BadFrame | None:
        """Return the next frame, None when closed."""
        with self._busy:
            try:
                taken = self._take()
            except CameraError:
                raise
            except OSError as error:
                raise _translated(error, self._name) from error
        return None if taken is None else self._judged(taken)

    def _take(self) -> Any:
        """Return linuxpy's newest frame, its bytes copied; None when closed."""
        deadline, taken = time.monotonic() + self._timeout, None
        while taken is None:
            if not self._wait(deadline):
                return None
            for _ in range(BUFFERS):  # All that are ready: what was not looked at in time is old.
                try:
                    taken = self._capture.buffer.raw_read()
                except BlockingIOError:
                    break
                self._count(taken.buff.sequence)
        return taken

    def _wait(self, deadline: float) -> bool:
        """Wait until the driver has something to say; False: closed."""
        poll = select.poll()
        if self._closed.is_set():
            return False
        poll.register(self._woken, select.POLLIN)
        poll.register(self._device.fileno(), select.POLLIN)
        said = poll.poll(max(0.0, deadline - time.monotonic()) * 1e3)
        if not said:
            problem = f"no frame for {self._timeout:g} s; check its cable, then plug it in anew"
            raise CameraError(f"{self._name}: {problem}")
        return not self._closed.is_set()

    def _count(self, sequence: int) -> None:
        """Count on as the driver does: a gap is what it lost, or what was too old. Some count nothing at all."""
        step = (sequence - self._sequence) % _SEQUENCES if self._sequence >= 0 else 1
        self._shown += step if 0 < step < _SEQUENCES // 2 else 1
        self._sequence = sequence

    def _judged(self, taken: Any) -> Frame | BadFrame:
        """Decode a frame; raises CameraError if none was good for too long."""
        exposed = self._exposed(taken.buff)
        try:
            if linuxpy().BufferFlag.ERROR in taken.flags:
                raise DataError("the driver says it is damaged; check its cable, its hub and its power")  # noqa: TRY301 - as what decoding finds
            pixels, order = decode(taken.data, self._layout)
        except DataError as error:
            if time.monotonic() - self._good_at > self._timeout:
                problem = f"only damaged frames for {self._timeout:g} s ({error})"
                raise CameraError(f"{self._name}: {problem}") from error
            return BadFrame(self._shown, str(self._shown), exposed, f"damaged frame: {error}")
        self._good_at = time.monotonic()
        return Frame(self._shown, str(self._shown), exposed, pixels, order)

    def _exposed(self, buffer: Any) -> float:
        """Return when the driver says that a frame was taken, where it says so on this process' clock."""
        flags, now = linuxpy().BufferFlag, time.monotonic()
        if buffer.flags & flags.TIMESTAMP_MASK != flags.TIMESTAMP_MONOTONIC:
            return now
        return min(float(buffer.timestamp.secs + buffer.timestamp.usecs / 1e6), now)


def _open(config: V4l2Config, name: str) -> tuple[Any, Any, Layout]:
    device = open_device(config.device)
    capture = linuxpy().VideoCapture(device, size=BUFFERS)
    try:
        layout = _configure(device, config, name)
        lock(device, config.controls)
        capture.open()
    except BaseException:
        _release(device, capture)
        raise
    return device, capture, layout


def _configure(device: Any, config: V4l2Config, name: str) -> Layout:
    """Have the device give this size and rate; raises CameraError, with what it gives, if it does not."""
    offered, size = modes(device), (config.width, config.height)
    form = choose(offered, *size, config.rate) if config.format == "auto" else config.format
    if form is None:
        problem = f"does not give {size[0]}x{size[1]} at {config.rate:g} a second, but {describe(offered)}"
        raise CameraError(f"{name}: {problem}; change camera.width, height or rate")
    layout = set_format(device, form, *size)
    if isinstance(layout, str):
        problem = f"gives {layout} instead of {size[0]}x{size[1]} {form}; it has {describe(offered)}"
        raise CameraError(f"{name}: {problem}; change camera.width, height or format")
    granted = set_rate(device, config.rate)
    if granted and granted < config.rate * TOLERATED:
        problem = f"gives {granted:g} frames a second instead of {config.rate:g}; it has {describe(offered)}"
        raise CameraError(f"{name}: {problem}; change camera.rate or format")
    return layout


def _release(device: Any, capture: Any) -> None:
    """Stop and close; what an unplugged device refuses then, its file's end does.

    Its memory is let go all the same: that keeps the file, and so the number by which it would be plugged in again.
    """
    with suppress(OSError):
        capture.close()
    if capture.buffer is not None:
        with suppress(OSError):
            capture.disarm()
    with suppress(OSError):
        device.close()


def _translated(error: OSError | ValueError | ArithmeticError, name: str) -> CameraError:
    known = _REMEDIES.get(getattr(error, "errno", None) or 0)
    reason = getattr(error, "strerror", None) or error
    return CameraError(f"{name}: {known or f'fails ({reason}); plug it in anew'}")
