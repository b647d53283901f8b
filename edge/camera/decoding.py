"""What a camera's driver leaves in a buffer, as pixels: pure functions of bytes, for every format of PixelFormat."""

from __future__ import annotations

from io import BytesIO
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from edge.contract.jpeg import without_end
from edge.errors import DataError
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.contract.preprocess import ChannelOrder, Pixels
    from edge.sections.cameras import PixelFormat

_SCAN_OF_JPEG, _END_OF_JPEG = b"\xff\xda", b"\xff\xd9"


class Colours(Record, frozen=True):
    """How luma Y and the differences U and V stand for red, green and blue."""

    red: float = 0.299
    """Red's share of the luma."""
    blue: float = 0.114
    is_full_range: bool = False
    """Whether 0 to 255 is used; otherwise 16 to 235 for Y, and 16 to 240 for U and V."""

    def matrix(self) -> tuple[float, ...]:
        """Return what makes (Y, U, V, 1) into R, G, B, row by row: ITU-R BT.601 and BT.709 with these shares."""
        gain, lift, spread = (1.0, 0.0, 1.0) if self.is_full_range else (255 / 219, 16.0, 255 / 224)
        green = 1 - self.red - self.blue
        to_red, to_blue = 2 * (1 - self.red) * spread, 2 * (1 - self.blue) * spread
        rows = (
            (0.0, to_red),
            (-to_blue * self.blue / green, -to_red * self.red / green),
            (to_blue, 0.0),
        )
        return tuple(x for u, v in rows for x in (gain, u, v, -gain * lift - 128 * (u + v)))


class Layout(Record, frozen=True, kw_only=True):
    """How a picture lies in a buffer."""

    form: PixelFormat
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    stride: int
    """Bytes from one line to the next; that of U and V together is the same. MJPEG has none."""
    colours: Colours = Colours()
    """Of formats with Y, U and V."""


def decode(data: bytes, layout: Layout) -> tuple[Pixels, ChannelOrder]:
    """Return uint8 [height, width, 3] in that order, or [height, width] of GREY; nothing of `data` is shared.

    Raises DataError for a buffer that is shorter than its picture, or damaged.
    """
    return _DECODERS[layout.form](data, layout)


def _rgb(data: bytes, layout: Layout) -> tuple[Pixels, ChannelOrder]:
    return _packed(data, layout, 3), "RGB"


def _bgr(data: bytes, layout: Layout) -> tuple[Pixels, ChannelOrder]:
    return _packed(data, layout, 3), "BGR"


def _grey(data: bytes, layout: Layout) -> tuple[Pixels, ChannelOrder]:
    return _plane(data, 0, (layout.height, layout.width), layout.stride).copy(), "RGB"


def _yuyv(data: bytes, layout: Layout) -> tuple[Pixels, ChannelOrder]:
    return _of_pairs(data, layout, (0, 1, 3)), "RGB"


def _uyvy(data: bytes, layout: Layout) -> tuple[Pixels, ChannelOrder]:
    return _of_pairs(data, layout, (1, 0, 2)), "RGB"


def _nv12(data: bytes, layout: Layout) -> tuple[Pixels, ChannelOrder]:
    """Y of each pixel, then U and V by turns, of two by two pixels each."""
    height, width, stride = layout.height, layout.width, layout.stride
    across, down = (width + 1) // 2, (height + 1) // 2
    luma = _plane(data, 0, (height, width), stride)
    chroma = _plane(data, stride * height, (down, 2 * across), stride).reshape(down, across, 2)
    yuv = np.empty((height, width, 3), np.uint8)
    yuv[:, :, 0] = luma
    for row, column, channel in product((0, 1), (0, 1), (0, 1)):  # Each a plane: ten times as fast as pairs.
        quarter = yuv[row::2, column::2, 1 + channel]
        quarter[:] = chroma[: quarter.shape[0], : quarter.shape[1], channel]
    return _to_rgb(yuv, layout.colours), "RGB"


def _of_pairs(data: bytes, layout: Layout, places: tuple[int, int, int]) -> Pixels:
    """Two pixels are four bytes; `places` says where among them the first Y, U and V are."""
    y, u, v = places
    pairs = (layout.width + 1) // 2
    raw = _plane(data, 0, (layout.height, 4 * pairs), layout.stride)
    yuv = np.empty((layout.height, 2 * pairs, 3), np.uint8)
    yuv[:, :, 0] = raw[:, y::2]
    for channel, place in ((1, u), (2, v)):
        yuv[:, 0::2, channel] = yuv[:, 1::2, channel] = raw[:, place::4]
    return _to_rgb(np.ascontiguousarray(yuv[:, : layout.width]), layout.colours)


def _to_rgb(yuv: Pixels, colours: Colours) -> Pixels:
    from PIL import Image

    return np.array(Image.fromarray(yuv).convert("RGB", colours.matrix()))


def _packed(data: bytes, layout: Layout, channels: int) -> Pixels:
    rows = _plane(data, 0, (layout.height, channels * layout.width), layout.stride)
    return rows.reshape(layout.height, layout.width, channels).copy()


def _plane(data: bytes, offset: int, shape: tuple[int, int], stride: int) -> Pixels:
    """Return a view of lines of bytes; the last one may end where its pixels do."""
    rows, across = shape
    needed = offset + stride * (rows - 1) + across
    if stride < across:
        raise DataError(f"lines of {stride} bytes, where {across} hold pixels; name another camera.format")
    if len(data) < needed:
        raise DataError(f"{len(data)} of {needed} bytes came; check its cable, its hub and its power")
    return np.ndarray(shape, np.uint8, data, offset, (stride, 1))


def _mjpeg(data: bytes, layout: Layout) -> tuple[Pixels, ChannelOrder]:
    """Decode a JPEG; its tables may be left out, where they are those of the standard's annex K."""
    from PIL import Image

    if not has_end(data):  # The decoder itself would make up what is missing.
        raise DataError(f"its JPEG of {len(data)} bytes has no end; check its cable, its hub and its power")
    try:
        with Image.open(BytesIO(without_end(data)), formats=("JPEG",)) as image:
            if image.size != (layout.width, layout.height):
                raise ValueError(f"{image.width}x{image.height} instead of {layout.width}x{layout.height}")  # noqa: TRY301 - one of many
            return np.array(image.convert("RGB")), "RGB"
    except Exception as error:
        # A decoder raises whatever a damaged picture makes of it: OSError, SyntaxError, struct.error, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"its JPEG is damaged ({reason}); check its cable, its hub and its power") from error


def has_end(tail: bytes) -> bool:
    """Say whether the last part of a JPEG has its end: behind its last scan, for a preview in it has an end of its own.

    Within a scan neither mark occurs.
    """
    return tail.rfind(_END_OF_JPEG) > tail.rfind(_SCAN_OF_JPEG)


_DECODERS: dict[PixelFormat, Callable[[bytes, Layout], tuple[Pixels, ChannelOrder]]] = {
    "RGB24": _rgb,
    "BGR24": _bgr,
    "NV12": _nv12,
    "YUYV": _yuyv,
    "UYVY": _uyvy,
    "MJPEG": _mjpeg,
    "GREY": _grey,
}
