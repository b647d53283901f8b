"""What is used of picamera2, by its own names: mypy lets picamera.py use nothing else.

A test holds these classes, and the pretended camera of the tests, against picamera2's source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Config = dict[str, Any]
"""A camera's configuration: streams `main` and `lores` (format, size, stride) or None, and much else."""


class CompletedRequest(Protocol):
    """One frame, in buffers that the camera lacks until they are released."""

    config: Config
    """As it was when the frame was taken."""

    def get_metadata(self) -> dict[str, Any]:
        """Return what the camera tells of the frame: SensorTimestamp in ns, ExposureTime in us, and much else."""

    def release(self) -> None:
        """Give the buffers back, once."""


class Mapped(Protocol):
    """A stream's buffer, mapped: `array` is a view of it, uint8 [h, w, 3], or [h * 3 / 2, stride] of YUV420."""

    array: Any


class Picamera2(Protocol):
    """A camera, opened on creation."""

    is_open: bool
    notifyme_w: int
    """The end of a pipe, made first of all and closed by `close`, unless the camera is not open."""

    @property
    def camera_controls(self) -> dict[str, tuple[Any, Any, Any]]:
        """What can be set in the present mode: least, most and default, by name."""

    @property
    def sensor_resolution(self) -> tuple[int, int]:
        """(width, height) in pixels of the sensor's largest mode."""

    def create_video_configuration(
        self,
        main: Config = ...,
        lores: Config | None = None,
        *,
        colour_space: Any = None,
        buffer_count: int = 6,
        controls: dict[str, Any] = ...,
    ) -> Config:
        """Describe a configuration; nothing happens yet."""

    def configure(self, camera_config: Config | None = None) -> None:
        """Take a configuration, adjusted to what the camera can."""

    def camera_configuration(self) -> Config:
        """Return it as it was adjusted."""

    def set_controls(self, controls: dict[str, Any]) -> None:
        """Set controls, before the start for its first frame."""

    def start(self) -> None:
        """Begin to deliver."""

    def capture_request(self, wait: float | None = None) -> CompletedRequest:
        """Wait for a frame, so many seconds: TimeoutError leaves the job queued."""

    def cancel_all_and_flush(self) -> None:
        """Forget all jobs: who waits for one gets CancelledError."""

    def close(self) -> None:
        """Stop and release the camera, as slowly as its driver does."""


class Opener(Protocol):
    """The class of cameras."""

    platform: object
    """The chip that processes the pictures, of Platform."""

    def __call__(self, camera_num: int = 0) -> Picamera2:
        """Open a camera; raises RuntimeError."""

    def global_camera_info(self) -> list[dict[str, Any]]:
        """Return Model, Num and Id of each camera."""


class Mapper(Protocol):
    """The class that maps a stream's buffer into memory."""

    def __call__(self, request: CompletedRequest, stream: str, *, write: bool = True) -> AbstractContextManager[Mapped]:
        """Map it until the context ends; `write`: the caller will write into it."""


class Platform(Protocol):
    """Who processes the pictures: VC4 up to Raspberry Pi 4, PISP since 5."""

    PISP: object


class ColorSpace(Protocol):
    """The class libcamera.ColorSpace."""

    def Sycc(self) -> object:  # noqa: N802 - its name
        """Return JPEG's: BT.601 in its full range."""


class Libcamera(Protocol):
    """The module libcamera, as picamera2 has it."""

    ColorSpace: ColorSpace


class Module(Protocol):
    """The module itself."""

    Picamera2: Opener
    MappedArray: Mapper
    Platform: Platform
    libcamera: Libcamera


class IMX708(Protocol):
    """The sensor of Camera Module 3, past libcamera."""

    def set_sensor_hdr_mode(self, enable: bool) -> None:  # noqa: FBT001 - its own signature
        """Switch its own HDR, while the camera is closed; a sensor that refuses is only printed."""

    def close(self) -> None:
        """Let go of it."""
