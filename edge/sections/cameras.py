"""The table [camera]: one of these kinds."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from edge.contract.names import WHOLE_NAME
from edge.contract.preprocess import Rotation
from edge.sections.base import Section, doc, to_path

Gain: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=32)]
Hdr: TypeAlias = Literal["off", "sensor", "isp"]
SMALLEST = 64
"""Pixels a side of a picture."""
MICROSECONDS = 1e6
"""Of a second."""
STREAM_SILENCE_SECONDS = 5.0
"""A stream that stays silent for so long has stopped."""


PixelFormat: TypeAlias = Literal["RGB24", "BGR24", "NV12", "YUYV", "UYVY", "MJPEG", "GREY"]
"""What frames may be sent as, by the kernel's names; the less work to decode, the earlier, and grey last."""


class _Camera(Section, frozen=True, kw_only=True, tag_field="kind"):
    name: Annotated[str, doc("stands in every event", pattern=WHOLE_NAME)] = "camera"
    rotate: Annotated[Rotation, doc("degrees clockwise, to turn the part as in training")] = 0

    @property
    def is_live(self) -> bool:
        """Whether it shows what is before it now: if it fails it is opened again, while files end the daemon."""
        return False

    @property
    def silence_s(self) -> float:
        """Seconds without a frame after which a part may have passed unseen."""
        return inf


class PicameraConfig(_Camera, frozen=True, kw_only=True, tag="picamera2"):
    """A Raspberry Pi camera through picamera2 (apt install python3-picamera2)."""

    index: Annotated[int, doc("which camera, as `rpicam-hello --list-cameras` counts", ge=0)] = 0
    width: Annotated[int, doc("pixels, even", ge=SMALLEST, le=8192, multiple_of=2)] = 1280
    height: Annotated[int, doc("pixels, even", ge=SMALLEST, le=8192, multiple_of=2)] = 720
    rate: Annotated[float, doc("frames per second", gt=0, le=240)] = 10.0
    timeout_s: Annotated[float, doc("without a frame for this long the camera counts as hung", gt=0, le=25)] = 5.0
    lores_width: Annotated[
        int,
        doc(
            "pixels, even: the camera's processor makes this smaller picture, which is judged, and the whole one is "
            "kept as evidence; it resizes otherwise than training does, so scores move: try it with known parts first; "
            "0: the whole picture is judged",
            ge=0,
            le=8192,
            multiple_of=2,
        ),
    ] = 0
    exposure_us: Annotated[
        Annotated[int, msgspec.Meta(ge=1)] | None,
        doc("microseconds of light, fixed, a frame's time at most; left out: automatic"),
    ] = None
    gain: Annotated[
        Annotated[float, msgspec.Meta(ge=1)] | None, doc("of the sensor, analogue, fixed; left out: automatic")
    ] = None
    white_balance: Annotated[
        tuple[Gain, Gain] | None, doc("gains of red and blue, fixed, such as [1.9, 1.6]; left out: automatic")
    ] = None
    focus: Annotated[
        Annotated[float, msgspec.Meta(ge=0)] | None,
        doc("dioptres, fixed: 1 / metres to the part, 0 is far away; left out: the lens stays where it is"),
    ] = None
    hdr: Annotated[
        Hdr, doc("`sensor`: Camera Module 3's own, up to 2304x1296; `isp`: a Raspberry Pi 5's, of any sensor")
    ] = "off"

    def __post_init__(self) -> None:
        """Refuse a judged picture that is larger than the whole, and an exposure that is longer than a frame's time.

        So is a frame's time that no frame can come within. Raises ValueError.
        """
        if self.rate * self.timeout_s <= 1:
            raise ValueError(f"rate is {self.rate:g}: expected more than one frame in timeout_s, {self.timeout_s:g} s")
        if self.lores_width and not SMALLEST <= self.lores_width <= self.width:
            limits = f"0, or {SMALLEST} to width, {self.width}"
            raise ValueError(f"lores_width is {self.lores_width}: expected {limits}")
        if self.exposure_us is not None and self.exposure_us * self.rate > MICROSECONDS:
            longest = int(MICROSECONDS / self.rate)
            raise ValueError(f"exposure_us is {self.exposure_us}: expected at most {longest} at rate {self.rate:g}")

    @property
    def lores_size(self) -> tuple[int, int]:
        """(width, height) in pixels of what is judged, in the whole picture's proportions; the height is even."""
        return self.lores_width, max(2, 2 * round(self.lores_width * self.height / self.width / 2))

    @property
    def is_live(self) -> bool:
        """As in _Camera."""
        return True

    @property
    def silence_s(self) -> float:
        """As in _Camera."""
        return self.timeout_s + 1  # The camera itself says first that it hangs.


class V4l2Config(_Camera, frozen=True, kw_only=True, tag="v4l2"):
    """A USB camera or grabber through the kernel's V4L2 (pip install 'edge-inspect[v4l2]')."""

    device: Annotated[
        Path, doc("such as /dev/video0; the link below /dev/v4l/by-id stays when devices are counted anew")
    ]
    width: Annotated[int, doc("pixels, as `edge-inspect cameras` lists them", ge=16, le=8192)] = 1280
    height: Annotated[int, doc("pixels", ge=16, le=8192)] = 720
    rate: Annotated[float, doc("frames per second; the camera may give more, but not fewer", gt=0, le=240)] = 10.0
    format: Annotated[
        Literal["auto", PixelFormat],
        doc("how pixels are sent; auto: the one of this size and rate that is decoded with the least work"),
    ] = "auto"
    controls: Annotated[
        dict[str, bool | int],
        doc("set when it opens, by the names of `edge-inspect cameras`, such as exposure_time_absolute = 157"),
    ] = msgspec.field(default_factory=dict)
    timeout_s: Annotated[float, doc("without a frame for this long the camera counts as hung", gt=0, le=25)] = 5.0

    @property
    def is_live(self) -> bool:
        """As in _Camera."""
        return True

    @property
    def silence_s(self) -> float:
        """As in _Camera."""
        return self.timeout_s + 1  # As with picamera2.


class FolderConfig(_Camera, frozen=True, kw_only=True, tag="folder"):
    """Pictures in a folder and its subfolders, in the order of their names."""

    path: Annotated[Path, doc("the folder; relative to this file's folder")]
    rate: Annotated[
        float,
        doc("pictures per second; 0: as fast as they are judged, so that none is dropped", ge=0, le=1000),
    ] = 0.0
    loop: Annotated[bool, doc("begin again after the last picture; otherwise the daemon ends there")] = False
    watch: Annotated[
        bool,
        doc(
            "judge pictures that come while the daemon runs, each name once, when it is complete; "
            "those that were there before are passed over"
        ),
    ] = False

    @property
    def is_live(self) -> bool:
        """As in _Camera; a share that is away comes back. No picture means no part: it may be silent for ever."""
        return self.watch

    def __post_init__(self) -> None:
        """Refuse wishes that exclude each other; raises ValueError."""
        if self.watch and self.loop:
            raise ValueError("watch shows new pictures, loop shows old ones again: set one of them")


class VideoConfig(_Camera, frozen=True, kw_only=True, tag="video"):
    """A video file or a stream address that PyAV opens (pip install 'edge-inspect[camera]')."""

    source: Annotated[
        str, doc("a file, relative to this file's folder, or an address such as rtsp://...", min_length=1)
    ]
    rate: Annotated[
        float, doc("frames per second of a file; 0: as fast as they are judged, none dropped", ge=0, le=1000)
    ] = 0.0
    loop: Annotated[bool, doc("begin again after a file's last frame")] = False

    @property
    def is_stream(self) -> bool:
        """Whether `source` is an address, not a file."""
        return "://" in self.source

    @property
    def is_live(self) -> bool:
        """As in _Camera."""
        return self.is_stream

    @property
    def silence_s(self) -> float:
        """As in _Camera."""
        return STREAM_SILENCE_SECONDS + 1 if self.is_stream else inf

    def __post_init__(self) -> None:
        """Refuse a source that no file can be called; raises ValueError."""
        if not self.is_stream:
            to_path(Path(), self.source)


class SyntheticConfig(_Camera, frozen=True, kw_only=True, tag="synthetic"):
    """Rendered cutting inserts, for demonstrations and tests; an event's source begins with the truth."""

    rate: Annotated[float, doc("frames per second; 0: as fast as they are judged", ge=0, le=1000)] = 5.0
    width: Annotated[int, doc("pixels", ge=32, le=4096)] = 160
    height: Annotated[int, doc("pixels", ge=32, le=4096)] = 128
    seed: Annotated[int, doc("the same seed shows the same parts", ge=0)] = 1
    frames: Annotated[int, doc("stop after this many; 0: never", ge=0)] = 0


CameraConfig: TypeAlias = PicameraConfig | V4l2Config | FolderConfig | VideoConfig | SyntheticConfig
