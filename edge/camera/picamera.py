"""A Raspberry Pi camera, through the system's picamera2 and libcamera."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from edge.camera.base import Frame
from edge.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.sections.cameras import PicameraConfig

RGB_BYTES = "BGR888"
"""picamera2 names the packed formats backwards: this one lies in memory as R, G, B."""
CANCEL_SECONDS = 0.05
"""How often `close` cancels what `frames` waits for, until it lets go of the camera."""


class Picamera:
    """Delivers the main stream's frames, copied out of the camera's buffers; a frame's source is its number.

    Raises CameraError on creation without picamera2, without that camera, or if it refuses its settings.
    """

    keeps_pace = False
    live = True

    def __init__(self, config: PicameraConfig) -> None:
        self._name = f"camera.index {config.index}"
        self._timeout = config.timeout_s
        self._shown = 0
        self._closed = threading.Event()
        self._busy = threading.Lock()
        self._camera = _open(config, self._name)

    def frames(self) -> Iterator[Frame]:
        """Yield frames until the camera is closed. Raises CameraError if none comes within `timeout_s`."""
        while (frame := self._capture()) is not None:
            yield frame

    def close(self) -> None:
        """Stop and release the camera, as slowly as its driver does: a hung one never returns.

        Raises CameraError if the driver refuses.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        while not self._busy.acquire(timeout=CANCEL_SECONDS):
            self._camera.cancel_all_and_flush()
        self._busy.release()  # at once: `frames` takes nothing any more, and must not wait for a hung driver
        try:
            self._camera.close()
        except RuntimeError as error:
            raise CameraError(f"{self._name}: does not close ({_root(error)}); restart the device") from error

    def _capture(self) -> Frame | None:
        """Return the next frame, None when closed."""
        with self._busy:
            request = None if self._closed.is_set() else self._request()
            if request is None:
                return None
            try:
                return self._copy(request)
            finally:
                request.release()

    def _request(self) -> Any:
        try:
            return self._camera.capture_request(wait=self._timeout)
        except TimeoutError as error:
            self._camera.cancel_all_and_flush()  # else the abandoned job takes, and keeps, the next frame
            problem = f"no frame for {self._timeout:g} s; check its cable, then restart"
            raise CameraError(f"{self._name}: {problem}") from error
        except CancelledError:
            return None  # by close()

    def _copy(self, request: Any) -> Frame:
        taken = request.get_metadata().get("SensorTimestamp")
        now = time.monotonic()
        # Nanoseconds since boot: Linux counts time.monotonic() from there too, unless it was suspended.
        exposed = min(taken / 1e9, now) if taken else now
        self._shown += 1
        return Frame(self._shown, str(self._shown), exposed, request.make_array("main"))


def _open(config: PicameraConfig, name: str) -> Any:
    driver = _picamera2().Picamera2
    found = len(driver.global_camera_info())
    if config.index >= found:
        raise CameraError(f"{name}: not among this device's {found} cameras; see rpicam-hello --list-cameras")
    try:
        camera = driver(config.index)
    except RuntimeError as error:
        remedy = "does another program use it?"
        raise CameraError(f"{name}: cannot be opened ({_root(error)}); {remedy}") from error
    try:
        granted = _start(camera, config)
    except RuntimeError as error:
        camera.close()
        raise CameraError(f"{name}: refuses its settings ({_root(error)})") from error
    wanted = _described(RGB_BYTES, (config.width, config.height))
    if granted != wanted:
        camera.close()
        raise CameraError(f"{name}: gives {granted} instead of {wanted}; change camera.width and camera.height")
    return camera


def _start(camera: Any, config: PicameraConfig) -> str:
    """Configure and start; describe what libcamera made of the wish."""
    period = round(1e6 / config.rate)
    camera.configure(
        camera.create_video_configuration(
            main={"format": RGB_BYTES, "size": (config.width, config.height)},
            controls={"FrameDurationLimits": (period, period)},
        )
    )
    camera.start()
    main = camera.camera_configuration()["main"]
    return _described(main["format"], main["size"])


def _described(form: str, size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} {form}"


def _picamera2() -> Any:
    try:
        import picamera2
    except ModuleNotFoundError as error:
        remedy = "apt install python3-picamera2 and a venv with --system-site-packages"
        raise CameraError(f"camera.kind picamera2: {error}; it needs {remedy}") from error
    except (ImportError, ValueError) as error:
        # ValueError: an extension that was built for another numpy than the one in this environment.
        remedy = "install the numpy that requirements-device.txt names"
        raise CameraError(f"camera.kind picamera2 does not load ({_root(error)}); {remedy}") from error
    return picamera2


def _root(error: BaseException) -> str:
    """Return the first cause's words, on one line: picamera2 wraps it in sentences about itself."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
