"""Pretended hardware at the boundary of foreign packages: real behaviour, driven by physical verbs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels

GARBAGE = 0xAA
"""What the next exposure leaves in a buffer that went back to the camera."""


class PiCameras:
    """The cameras of a pretended Raspberry Pi; `module()` is its picamera2."""

    def __init__(self, count: int = 1, *, padding: int = 0, largest: tuple[int, int] = (4608, 2592)) -> None:
        """`padding` is the stride's surplus in bytes; larger sizes than `largest` are adjusted to it."""
        self.count = count
        self.padding = padding
        self.largest = largest
        self.scene: Pixels = np.zeros((2, 2, 3), np.uint8)
        self.released = 0
        self.closed = 0
        self.in_use = False
        self.connected = True
        self.frozen = self.covered = False
        """Whether the sensor gives the same picture again and again, or sees nothing: for who shows its pictures."""
        self.stopping = threading.Event()
        self._stop_works = threading.Event()
        self._stop_works.set()
        self._cameras: list[FakePicamera2] = []

    def show(self, scene: Pixels) -> None:
        """Hold a picture, RGB [height, width, 3], in front of the cameras; it fills the frame from the top left."""
        self.scene = scene

    def unplug(self) -> None:
        """Pull the ribbon cable: frames stop without a word."""
        self.connected = False

    def plug(self) -> None:
        """Put the cable back: waiting jobs get their frames."""
        self.connected = True
        for camera in self._cameras:
            camera._deliver()

    def freeze(self) -> None:
        """Have the sensor repeat itself, as after a glitch of its supply."""
        self.frozen = True

    def thaw(self) -> None:
        """Have it see again."""
        self.frozen = False

    def cover(self) -> None:
        """Put the lens cap on."""
        self.covered = True

    def uncover(self) -> None:
        """Take it off."""
        self.covered = False

    def shrink(self) -> None:
        """Have the sensor know small pictures only, as in another mode, for whoever opens it from now on."""
        self.largest = (64, 48)

    def grow(self) -> None:
        """Have it know large ones again."""
        self.largest = (4608, 2592)

    def add(self) -> None:
        """Connect one more camera."""
        self.count += 1

    def jam(self) -> None:
        """From now on stopping the camera blocks, as after a crash of its driver."""
        self._stop_works.clear()

    def free(self) -> None:
        """Let a blocked stop return."""
        self._stop_works.set()

    def module(self) -> ModuleType:
        """Return a module to stand in sys.modules as picamera2."""
        pi = self

        class Picamera2(FakePicamera2):
            def __init__(self, camera_num: int = 0) -> None:
                super().__init__(pi, camera_num)

            @staticmethod
            def global_camera_info() -> list[dict[str, Any]]:
                return [{"Model": "imx708", "Num": number, "Id": f"/base/{number}"} for number in range(pi.count)]

        module = ModuleType("picamera2")
        module.Picamera2 = Picamera2  # type: ignore[attr-defined]
        return module


class FakePicamera2:
    """picamera2's Picamera2 with its main stream: jobs, a few buffers, requests that must be released."""

    def __init__(self, pi: PiCameras, camera_num: int) -> None:
        if camera_num >= pi.count:
            raise RuntimeError(f"No camera number {camera_num} found")
        if pi.in_use:
            cause = RuntimeError("Failed to acquire camera: Device or resource busy")
            raise RuntimeError("Camera __init__ sequence did not complete.") from cause
        self.is_open = True
        self.started = False
        self.camera_config: dict[str, Any] = {}
        self._pi = pi
        self._lock = threading.Lock()
        self._jobs: list[Future[FakeRequest]] = []
        self._free: list[Pixels] = []
        pi._cameras.append(self)

    def create_video_configuration(self, main: dict[str, Any], *, controls: dict[str, Any]) -> dict[str, Any]:
        """Describe a configuration; nothing happens yet."""
        return {"main": dict(main), "buffer_count": 6, "controls": controls}

    def configure(self, camera_config: dict[str, Any]) -> None:
        """Adjust the size to what the sensor has, and make the buffers with their padded lines."""
        main = camera_config["main"]
        if any(n % 2 for n in main["size"]):
            raise RuntimeError("width and height should be even")
        width, height = (min(wish, limit) for wish, limit in zip(main["size"], self._pi.largest, strict=True))
        stride = 3 * width + self._pi.padding
        self.camera_config = camera_config | {"main": main | {"size": (width, height), "stride": stride}}
        self._free = [np.full(stride * height, GARBAGE, np.uint8) for _ in range(camera_config["buffer_count"])]

    def camera_configuration(self) -> dict[str, Any]:
        """Tell what `configure` made of the wish."""
        return self.camera_config

    def start(self) -> None:
        """Begin to deliver."""
        self.started = True

    def capture_request(self, wait: float | None = None) -> FakeRequest:
        """Queue a job for the next frame; TimeoutError leaves it queued."""
        job: Future[FakeRequest] = Future()
        with self._lock:
            self._jobs.append(job)
        self._deliver()
        return job.result(wait)

    def cancel_all_and_flush(self) -> None:
        """Forget all jobs; who waits for one gets CancelledError."""
        with self._lock:
            for job in self._jobs:
                job.set_exception(CancelledError())
            self._jobs = []

    def stop(self) -> None:
        """Stop delivering; blocks while the driver is jammed."""
        self._pi.stopping.set()
        self._pi._stop_works.wait()
        self.started = False

    def close(self) -> None:
        """Stop and let another program have the camera."""
        if self.is_open:
            self.stop()
            self.is_open = False
            self._pi.closed += 1

    def _recycle(self, buffer: Pixels) -> None:
        buffer[:] = GARBAGE  # the camera writes into it again at once
        with self._lock:
            self._free.append(buffer)
        self._pi.released += 1
        self._deliver()

    def _deliver(self) -> None:
        """Give waiting jobs their frames, as long as there is a cable and a free buffer."""
        with self._lock:
            while self.started and self._pi.connected and self._jobs and self._free:
                buffer = self._free.pop()
                self._expose(buffer)
                self._jobs.pop(0).set_result(FakeRequest(self, buffer))

    def _expose(self, buffer: Pixels) -> None:
        main = self.camera_config["main"]
        width, height = main["size"]
        scene = self._pi.scene[:height, :width]
        view = buffer.reshape(height, main["stride"])[:, : 3 * width].reshape(height, width, 3)
        # "BGR888" lies in memory as R, G, B; "RGB888" as B, G, R.
        view[: scene.shape[0], : scene.shape[1]] = scene if main["format"] == "BGR888" else scene[:, :, ::-1]


class FakeRequest:
    """picamera2's CompletedRequest: one buffer on loan."""

    def __init__(self, camera: FakePicamera2, buffer: Pixels) -> None:
        self._camera = camera
        self._buffer: Pixels | None = buffer
        self._taken = time.monotonic_ns()

    def make_array(self, name: str) -> Pixels:
        """Copy the frame out, without the lines' padding."""
        main = self._camera.camera_configuration()[name]
        width, height = main["size"]
        if self._buffer is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        rows = self._buffer.reshape(height, main["stride"])[:, : 3 * width]
        return rows.reshape(height, width, 3).copy()

    def get_metadata(self) -> dict[str, Any]:
        """Tell when the frame was taken, in nanoseconds since boot."""
        return {"SensorTimestamp": self._taken, "ExposureTime": 10_000}

    def release(self) -> None:
        """Give the buffer back; twice is an error."""
        if self._buffer is None:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        buffer, self._buffer = self._buffer, None
        self._camera._recycle(buffer)
