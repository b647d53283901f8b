"""A Raspberry Pi camera, through the system's picamera2 and libcamera."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import CancelledError
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edge.camera.base import BadFrame, Frame
from edge.camera.loans import Loans
from edge.camera.pi_controls import departures
from edge.camera.pi_open import YUV_PLANES, as_camera_error, start_camera
from edge.camera.yuv import to_rgb
from edge.errors import CameraError
from edge.sections.cameras import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.camera.loans import Request
    from edge.camera.pi_open import Stream
    from edge.camera.picamera2_api import CompletedRequest
    from edge.contract.preprocess import Pixels
    from edge.sections.cameras import PicameraConfig

CANCEL_SECONDS = 0.05
"""How often `close` cancels what `frames` waits for, until it lets go of the camera."""
MOST_WRONG = 20
"""Frames in a row that were not taken as configured: a lens takes some of them to move; then nothing but a new start
of the camera may help."""
SKEW_SECONDS = 0.001
"""By which a frame may seem to come from the future."""
UNTIMED = "restart the device; if that does not help, update its camera software (apt upgrade)"


class Picamera:
    """Delivers the `lores` stream's frames, if it is configured, else the `main` stream's; a source is its number.

    What is judged is copied out of the camera's buffer. A `main` picture that goes with a `lores` one stays there
    until somebody asks for it, so that a part that passes costs no copy of it; see Loans.

    A frame that was not taken with the exposure, gain, white balance, focus or HDR of the configuration is a BadFrame:
    its pixels may look right, and pass. So is one of which nobody knows when it was taken: it may show the part before.
    Raises CameraError on creation without picamera2, without that camera, or if it refuses its settings.
    """

    keeps_pace = False
    live = True

    def __init__(self, config: PicameraConfig) -> None:
        self._name = f"camera.index {config.index}"
        self._timeout = config.timeout_s
        self._shown = self._wrong = 0
        self._longest_us = MICROSECONDS / config.rate
        """Of light that a frame can have had."""
        self._read = -math.inf
        """The last frame's SensorTimestamp."""
        self._closed = threading.Event()
        self._busy = threading.Lock()
        self._opened = start_camera(config, self._name)
        self._camera = self._opened.camera
        self._loans = Loans(self._copy_main)

    def frames(self) -> Iterator[Frame | BadFrame]:
        """Yield frames until the camera is closed.

        Raises CameraError if none comes within `timeout_s`, the driver fails, or MOST_WRONG of them were taken wrongly.
        """
        while (frame := self._capture()) is not None:
            yield frame

    def close(self) -> None:
        """Stop and release the camera, as slowly as its driver does: a hung one never returns.

        Raises CameraError if the driver refuses.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        with as_camera_error(self._name, "does not close", "restart the device"):
            while not self._busy.acquire(timeout=CANCEL_SECONDS):
                self._camera.cancel_all_and_flush()
            self._busy.release()  # at once: `frames` takes nothing any more, and must not wait for a hung driver
            try:
                self._loans.settle()
            finally:
                self._camera.close()

    def _capture(self) -> Frame | BadFrame | None:
        """Return the next frame, None when closed."""
        with self._busy, as_camera_error(self._name, "fails", "restart the device"):
            if self._closed.is_set():
                return None
            self._loans.collect()
            if (request := self._request()) is None:
                return None
            self._loans.collect()  # What was given back meanwhile makes room for this one.
            with ExitStack() as held:
                held.callback(request.release)
                return self._frame(request, held)

    def _request(self) -> CompletedRequest | None:
        try:
            return self._camera.capture_request(wait=self._timeout)
        except TimeoutError as error:
            self._camera.cancel_all_and_flush()  # else the abandoned job takes, and keeps, the next frame
            problem = f"no frame for {self._timeout:g} s; check its cable, then restart"
            raise CameraError(f"{self._name}: {problem}") from error
        except CancelledError:
            return None  # by close()

    def _frame(self, request: CompletedRequest, held: ExitStack) -> Frame | BadFrame:
        """Make a frame of a request, which is released when `held` ends, if that still holds it."""
        told = request.get_metadata()
        self._shown += 1
        exposed, now = self._exposed(told), time.monotonic()
        stamp = self._shown, str(self._shown), min(now, exposed)
        if not exposed <= now + SKEW_SECONDS:  # As no number is; of it and `now`, `min` takes its first.
            times = ", ".join(f"{name} {told.get(name)}" for name in ("SensorTimestamp", "ExposureTime"))
            return self._bad(stamp, f"{self._name}: nothing says when the picture was taken ({times})", UNTIMED)
        if problem := next(departures(self._opened.fixed, told), ""):
            return self._bad(stamp, problem, "configure what the camera can, or leave it out")
        self._wrong = 0
        if (lores := self._opened.lores) is None:
            return Frame(*stamp, self._copy_main(request))
        pixels = self._copy(request, lores)
        held.pop_all()
        return Frame(*stamp, pixels, larger=self._loans.lend(request))

    def _exposed(self, told: dict[str, Any]) -> float:
        """Return when a frame's exposure began, in time.monotonic() seconds: Linux counts both from the boot.

        A frame's SensorTimestamp, in nanoseconds, is when its first line was read: at its exposure's end. (Only while a
        computer is suspended do the two clocks part.) Not a number if nothing says so, or it is the time of another.
        """
        read, lit = told.get("SensorTimestamp"), told.get("ExposureTime", self._longest_us)
        if not (isinstance(read, int | float) and isinstance(lit, int | float) and read > self._read):
            return math.nan
        exposed = read / 1e9 - lit / 1e6
        if exposed <= time.monotonic():  # Else those after it, of which each is earlier, would be wrong too.
            self._read = read
        return exposed

    def _bad(self, stamp: tuple[int, str, float], problem: str, remedy: str) -> BadFrame:
        self._wrong += 1
        if self._wrong >= MOST_WRONG:
            raise CameraError(f"{problem}, {MOST_WRONG} times in a row; {remedy}")
        return BadFrame(*stamp, problem)

    def _copy_main(self, request: Request) -> Pixels:
        return self._copy(cast("CompletedRequest", request), self._opened.main)

    def _copy(self, request: CompletedRequest, stream: Stream) -> Pixels:
        """Copy a picture out of its buffer, which the camera overwrites once it has it back; raises CameraError."""
        with as_camera_error(self._name, "its picture cannot be read", "restart the device"):
            if problem := stream.refuses(request.config):
                raise CameraError(f"{self._name}: {problem}: something changed its mode; is another program using it?")
            with self._opened.mapped(request, stream.name, write=False) as mapped:
                is_yuv = stream.form == YUV_PLANES
                pixels = to_rgb(mapped.array, *stream.size) if is_yuv else np.array(mapped.array)
            if problem := stream.is_not(pixels):
                raise CameraError(f"{self._name}: {problem}; restart the device")
            return pixels
