"""A V4L2 device through linuxpy: the formats, sizes and rates that it offers and grants. Nothing here captures.

Raises OSError as the kernel answers; whoever opened the device says what that means.
"""

from __future__ import annotations

import errno
from itertools import groupby
from typing import TYPE_CHECKING, Any, get_args

from edge.camera.decoding import Colours, Layout
from edge.errors import CameraError
from edge.record import Record
from edge.sections.cameras import PixelFormat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DECODED: tuple[PixelFormat, ...] = get_args(PixelFormat)
_UNSUPPORTED = (errno.ENOTTY, errno.EINVAL, errno.ENODATA)
"""How a driver says that it does not know a question."""
# include/uapi/linux/videodev2.h: what V4L2_MAP_YCBCR_ENC_DEFAULT and V4L2_MAP_QUANTIZATION_DEFAULT make of a colour
# space where the driver does not say itself, and the shares of red and blue of each encoding.
_ENCODINGS = {2: 8, 3: 2, 10: 6, 12: 2}
_SHARES = {2: (0.2126, 0.0722), 4: (0.2126, 0.0722), 6: (0.2627, 0.0593), 7: (0.2627, 0.0593), 8: (0.212, 0.087)}
_JPEG_COLOURS = 7
_FULL_RANGE = 1
TOLERATED = 0.95
"""Share of the wished rate: 29.97 is 30."""
_ANY_SIZE = 8192


class Mode(Record, frozen=True):
    """A format and a size that a device offers."""

    form: PixelFormat
    width: int
    """Pixels; the largest where any between two limits is taken."""
    height: int
    rates: tuple[float, ...]
    """Frames per second, the fastest first; none: the driver does not say."""
    at_least: tuple[int, int] | None = None
    """The smallest width and height, where any size between is taken."""

    def gives(self, width: int, height: int, rate: float) -> bool:
        """Say whether this size is offered, so fast."""
        low = self.at_least or (self.width, self.height)
        fits = low[0] <= width <= self.width and low[1] <= height <= self.height
        return fits and (not self.rates or self.rates[0] >= rate * TOLERATED)


def linuxpy() -> Any:
    """Return linuxpy's module of V4L2; raises CameraError without it."""
    try:
        from linuxpy.video import device
    except ModuleNotFoundError as error:
        raise CameraError("camera.kind v4l2 needs linuxpy: pip install 'edge-inspect[v4l2]'") from error
    return device


def open_device(path: Path) -> Any:
    """Open a device that captures; raises CameraError for one that does not."""
    device = linuxpy().Device(path)
    device.open()
    try:
        is_camera = captures(device)
    except BaseException:
        device.close()
        raise
    if not is_camera:
        device.close()
        raise CameraError(f"camera.device {path}: gives no pictures; see edge-inspect cameras")
    return device


def captures(device: Any) -> bool:
    """Say whether an open device gives pictures through buffers; others give sound, codes or what belongs to them."""
    able, able_to = device.info.device_capabilities, linuxpy().Capability
    return able_to.VIDEO_CAPTURE in able and able_to.STREAMING in able


def modes(device: Any) -> list[Mode]:
    """Return the formats that can be decoded, each with its sizes, in the device's order."""
    return list(_modes(device))


def _modes(device: Any) -> Iterator[Mode]:
    v4l2 = linuxpy()
    for offered in device.info.buffer_formats(v4l2.BufferType.VIDEO_CAPTURE):
        form = offered.pixel_format
        if form.name not in _DECODED:
            continue
        sizes = device.info.format_frame_sizes(form)
        if not sizes:  # Its driver does not list them: it is asked, and what it grants is compared.
            yield Mode(form.name, _ANY_SIZE, _ANY_SIZE, (), (1, 1))
        for size in sizes:
            if size.type == v4l2.FrameSizeType.DISCRETE:
                width, height, low = size.info.width, size.info.height, None
            else:
                width, height = size.info.max_width, size.info.max_height
                low = size.info.min_width, size.info.min_height
            yield Mode(form.name, width, height, _rates(device, form, width, height), low)


def _rates(device: Any, form: Any, width: int, height: int) -> tuple[float, ...]:
    """Return the rates; of a stepwise interval, whose least is the fastest, its two ends."""
    found = device.info.fps_intervals(form, width, height)
    both = {round(float(fps), 3) for each in found for fps in (each.min_fps, each.max_fps)}
    return tuple(sorted(both - {0.0}, reverse=True))


def choose(offered: list[Mode], width: int, height: int, rate: float) -> PixelFormat | None:
    """Return the format that gives this size and rate with the least work to decode; None: there is none."""
    able = {mode.form for mode in offered if mode.gives(width, height, rate)}
    return next((form for form in _DECODED if form in able), None)


def describe(offered: list[Mode]) -> str:
    """Say which formats and sizes there are, on one line."""
    parts = []
    for form, group in groupby(offered, lambda mode: mode.form):
        sizes = (f"{mode.width}x{mode.height}" + (f" at {mode.rates[0]:g}" if mode.rates else "") for mode in group)
        parts.append(f"{form} {', '.join(sizes)}")
    return "; ".join(parts) or "none that can be decoded"


def set_format(device: Any, form: PixelFormat, width: int, height: int) -> Layout | str:
    """Ask for a format; returns how its pictures lie in memory, or in words what the device makes of the wish."""
    v4l2 = linuxpy()
    kind, wanted = v4l2.BufferType.VIDEO_CAPTURE, v4l2.PixelFormat[form]
    granted = device.set_format(kind, width, height, pixel_format=wanted).fmt.pix
    if (granted.width, granted.height, granted.pixelformat) != (width, height, wanted):
        return f"{granted.width}x{granted.height} {v4l2.human_pixel_format(granted.pixelformat)}"
    return Layout(form=form, width=width, height=height, stride=granted.bytesperline, colours=_colours(granted))


def _colours(granted: Any) -> Colours:
    space = granted.colorspace
    encoding = granted.ycbcr_enc or _ENCODINGS.get(space, 1)
    is_full = granted.quantization == _FULL_RANGE or (not granted.quantization and space == _JPEG_COLOURS)
    return Colours(*_SHARES.get(encoding, (0.299, 0.114)), is_full)


def set_rate(device: Any, rate: float) -> float:
    """Ask for frames per second; returns what the device gives, 0 where its driver has no say in it."""
    kind = linuxpy().BufferType.VIDEO_CAPTURE
    try:
        device.set_fps(kind, rate)
        return float(device.get_fps(kind))
    except ZeroDivisionError:
        return 0.0
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return 0.0
