"""picamera2's classes over pretended cameras: jobs, few buffers with padded lines, requests that must be released."""

from __future__ import annotations

import os
import threading
import time
import weakref
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from fakes import PiCameras

    from edge.contract.preprocess import Pixels

GARBAGE = 0xAA
"""What the next exposure leaves in a buffer that went back to the camera."""
LINE_US = 19
"""Microseconds: a sensor's exposure is of whole lines."""
LENS_STEP = 2.0
"""Dioptres that a lens moves by from one frame to the next."""
AUTOMATIC = {"ExposureTime": 9_994, "AnalogueGain": 1.0, "ColourGains": (1.5, 1.5), "LensPosition": 1.0}
"""What the camera's own automatic chooses."""
_TO_YUV = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
"""RGB to Y, Cb, Cr (ITU-T T.871)."""


class FakePicamera2:
    """picamera2's Picamera2 with its streams main and lores."""

    def __init__(self, pi: PiCameras, camera_num: int) -> None:
        self._controls_of = self  # as picamera2's Controls and Helpers: only the garbage collector frees a camera
        notifyme_r, self.notifyme_w = os.pipe2(os.O_NONBLOCK)
        weakref.finalize(self, os.close, notifyme_r)  # in the place of all that goes with the camera
        self.is_open = False
        if camera_num >= pi.count:
            raise RuntimeError(f"No camera number {camera_num} found")
        try:
            if pi.in_use:
                raise RuntimeError("Failed to acquire camera: Device or resource busy")  # noqa: TRY301 - a step of it
        except RuntimeError:
            raise RuntimeError("Camera __init__ sequence did not complete.")  # noqa: B904 - as picamera2 0.3.25 does
        self.is_open = True
        self.camera_idx = pi.count - 1 - camera_num
        """libcamera's Num."""
        self.started = False
        self.camera_config: dict[str, Any] = {}
        self.sensor_resolution = (2304, 1296) if pi.sensor_hdr else pi.largest
        self._pi = pi
        self._lock = threading.Lock()
        self._jobs: list[Future[FakeRequest]] = []
        self._free: list[dict[str, Pixels]] = []
        self._controls: dict[str, Any] = {}
        self._fixed: dict[str, Any] = {}
        self._lens = float(AUTOMATIC["LensPosition"])
        pi._cameras.append(self)
        if pi.memory_is_others:  # Of the first of what it needs besides the camera.
            raise PermissionError(13, "Permission denied", "/dev/dma_heap/linux,cma")

    @property
    def camera_controls(self) -> dict[str, tuple[Any, Any, Any]]:
        """Tell what can be set: least, most, default."""
        lens = {"LensPosition": (0.0, 15.0, 1.0), "AfMode": (0, 2, 0)} if self._pi.lens else {}
        return lens | {
            "FrameDurationLimits": (8_333, 220_417_486, None),
            "ExposureTime": (14, 112_015_443, 20_000),
            "AnalogueGain": (1.0, 16.0, None),
            "ColourGains": (0.0, 32.0, None),
            "AeEnable": (False, True, None),
            "AwbEnable": (False, True, None),
            "HdrMode": (0, 4, 0),
        }

    def create_video_configuration(
        self,
        main: dict[str, Any],
        lores: dict[str, Any] | None = None,
        *,
        colour_space: object = None,
        buffer_count: int = 6,
        controls: dict[str, Any],
    ) -> dict[str, Any]:
        """Describe a configuration; nothing happens yet."""
        return {
            "main": dict(main),
            "lores": None if lores is None else {"format": "YUV420", "size": main["size"]} | lores,
            "colour_space": colour_space or "Rec709",
            "buffer_count": buffer_count,
            "controls": controls,
        }

    def configure(self, camera_config: dict[str, Any] | None = None) -> None:
        """Adjust the sizes to what the sensor has, and make the buffers with their padded lines."""
        assert camera_config is not None
        streams = {name: camera_config[name] for name in ("main", "lores") if camera_config[name] is not None}
        if any(n % 2 for stream in streams.values() for n in stream["size"]):
            raise RuntimeError("width and height should be even")
        if any(ask > have for ask, have in zip(streams.get("lores", streams["main"])["size"], streams["main"]["size"])):  # noqa: B905 - pairs
            raise RuntimeError("lores stream dimensions may not exceed main stream")
        if not self._pi.is_pi_5 and streams.get("lores", {"format": "YUV420"})["format"] != "YUV420":
            raise RuntimeError("lores stream must be YUV")
        self.camera_config = camera_config | {name: self._granted(stream) for name, stream in streams.items()}
        self._make_buffers()
        self._controls = {}
        self.set_controls(camera_config["controls"])

    def camera_configuration(self) -> dict[str, Any]:
        """Tell what `configure` made of the wish."""
        return self.camera_config

    def set_controls(self, controls: dict[str, Any]) -> None:
        """Set controls, for the next frame."""
        for name in controls:
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self._controls |= controls
        self._fixed = dict(self._controls)

    def start(self) -> None:
        """Begin to deliver, with the controls that were set."""
        self._fixed = dict(self._controls)
        for switch, kept in (("AeEnable", ("ExposureTime", "AnalogueGain")), ("AwbEnable", ("ColourGains",))):
            if self._fixed.get(switch) is False:  # Of one start's controls it may be the last to be looked at.
                self._fixed = {name: value for name, value in self._fixed.items() if name not in kept}
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
        """Stop and let another program have the camera; its buffers are gone."""
        if self.is_open:
            self.stop()
            self.is_open = False
            os.close(self.notifyme_w)
            self._pi._cameras.remove(self)
            self._pi.closed += 1

    def _granted(self, wish: dict[str, Any]) -> dict[str, Any]:
        width, height = (min(ask, limit) for ask, limit in zip(wish["size"], self.sensor_resolution, strict=True))
        line = -(-width // 64) * 64 if wish["format"] == "YUV420" else 3 * width
        return wish | {"size": (width, height), "stride": line + self._pi.padding}

    def _make_buffers(self) -> None:
        sizes = {}
        for name in ("main", "lores"):
            if (stream := self.camera_config[name]) is not None:
                lines = stream["size"][1] * 3 // 2 if stream["format"] == "YUV420" else stream["size"][1]
                sizes[name] = lines * stream["stride"]
        if sum(sizes.values()) * self.camera_config["buffer_count"] > self._pi.memory:
            raise OSError(12, "Cannot allocate memory")
        self._free = [
            {name: np.full(size, GARBAGE, np.uint8) for name, size in sizes.items()}
            for _ in range(self.camera_config["buffer_count"])
        ]

    def _forget_controls(self) -> None:
        self._fixed = {}

    def _halve(self) -> None:
        main = self.camera_config["main"]
        half = main | {"size": tuple(side // 2 for side in main["size"])}
        self.camera_config = self.camera_config | {"main": self._granted(half)}
        self._make_buffers()

    def _recycle(self, buffers: dict[str, Pixels]) -> None:
        for buffer in buffers.values():
            buffer[:] = GARBAGE  # the camera writes into it again at once
        with self._lock:
            self._free.append(buffers)
        self._pi.released += 1
        self._deliver()

    def _deliver(self) -> None:
        """Give waiting jobs their frames, as long as there is a cable and a free buffer."""
        with self._lock:
            while self.started and self._pi.connected and self._jobs and self._free:
                buffers = self._free.pop()
                self._expose(buffers)
                self._jobs.pop(0).set_result(FakeRequest(self, buffers, self._tell()))

    def _tell(self) -> dict[str, Any]:
        """Return a frame's metadata: what was fixed, as well as a sensor and a lens can, else the automatic's."""
        told: dict[str, Any] = AUTOMATIC | {name: self._fixed[name] for name in AUTOMATIC if name in self._fixed}
        told["ExposureTime"] -= told["ExposureTime"] % LINE_US
        away = told["LensPosition"] - self._lens
        self._lens += max(-LENS_STEP, min(LENS_STEP, away))
        told["LensPosition"] = self._lens
        if self._pi.has_hdr_tuning and self._fixed.get("HdrMode"):
            told["HdrMode"] = self._fixed["HdrMode"]
        return told | {"SensorTimestamp": time.monotonic_ns()} | self._pi.tells

    def _expose(self, buffers: dict[str, Pixels]) -> None:
        for name, buffer in buffers.items():
            stream = self.camera_config[name]
            width, height = stream["size"]
            if stream["format"] == "YUV420":
                self._lay_planes(buffer, self._see(width, height), stream["stride"])
                continue
            view = buffer.reshape(height, stream["stride"])[:, : 3 * width].reshape(height, width, 3)
            # "BGR888" lies in memory as R, G, B; "RGB888" as B, G, R.
            view[:] = self._see(width, height)[..., :: 1 if stream["format"] == "BGR888" else -1]

    def _see(self, width: int, height: int) -> Pixels:
        """Return the view, RGB, at a stream's size: every stream shows all of `main`."""
        columns, rows = self.camera_config["main"]["size"]
        view = np.full((rows, columns, 3), GARBAGE, np.uint8)
        scene = self._pi.scene[:rows, :columns]
        view[: scene.shape[0], : scene.shape[1]] = scene
        ys, xs = np.arange(height) * rows // height, np.arange(width) * columns // width
        seen: Pixels = view[ys[:, None], xs]
        return seen

    def _lay_planes(self, buffer: Pixels, seen: Pixels, stride: int) -> None:
        height, width, _ = seen.shape
        yuv = seen @ _TO_YUV.T
        if self.camera_config["colour_space"] != "sYCC":  # libcamera's choice for a video: the limited range
            yuv = yuv * np.array([219, 224, 224]) / 255 + np.array([16, 0, 0])
        planes = np.round(yuv + np.array([0, 128, 128])).clip(0, 255).astype(np.uint8)
        buffer[: height * stride].reshape(height, stride)[:, :width] = planes[..., 0]
        for number, plane in enumerate((planes[::2, ::2, 1], planes[::2, ::2, 2])):
            begin = height * stride + number * height * stride // 4
            lines = buffer[begin : begin + height * stride // 4].reshape(height // 2, stride // 2)
            lines[:, : width // 2] = plane


class FakeRequest:
    """picamera2's CompletedRequest: one buffer of each stream on loan."""

    def __init__(self, camera: FakePicamera2, buffers: dict[str, Pixels], told: dict[str, Any]) -> None:
        self.config: dict[str, Any] = camera.camera_config.copy()
        self._camera = camera
        self._buffers: dict[str, Pixels] | None = buffers
        self._told = told

    def get_metadata(self) -> dict[str, Any]:
        """Tell how the frame was taken."""
        if self._camera._pi.fault is not None:
            raise self._camera._pi.fault
        return self._told

    def release(self) -> None:
        """Give the buffers back; twice is an error."""
        if self._buffers is None:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        buffers, self._buffers, self.config = self._buffers, None, {}
        self._camera._recycle(buffers)


class FakeMappedArray:
    """picamera2's MappedArray: a view of a request's buffer, without the lines' padding where it can be."""

    def __init__(self, request: FakeRequest, stream: str, reshape: bool = True, write: bool = True) -> None:  # noqa: FBT001, FBT002 - picamera2's
        del write  # It tells the kernel which caches to flush.
        if request._buffers is None or not request._camera.is_open:
            raise RuntimeError("failed to find buffer")
        self._buffer = request._buffers[stream]
        self._stream = request.config[stream]
        self._reshape = reshape
        self._array: Pixels | None = None

    def __enter__(self) -> Self:
        width, height = self._stream["size"]
        if not self._reshape:
            self._array = self._buffer
        elif self._stream["format"] == "YUV420":
            self._array = self._buffer.reshape(height * 3 // 2, self._stream["stride"])
        else:
            lines = self._buffer.reshape(height, self._stream["stride"])[:, : 3 * width]
            self._array = lines.reshape(height, width, 3)
        return self

    def __exit__(self, *_: object) -> None:
        self._array = None

    @property
    def array(self) -> Pixels | None:
        """The view, while it is mapped."""
        return self._array
