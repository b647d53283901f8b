"""Contract 2: the one function that turns a frame into the model's pixels.

Training, evaluation, golden frames and the device all call `preprocess`; nothing else in the project
resizes a picture for the model. Normalisation is not here: it lives in the graph as (u8 - 128) / 128.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""uint8, [height, width] or [height, width, 1] (grey) or [height, width, 3]."""

ChannelOrder: TypeAlias = Literal["RGB", "BGR"]
ResizeMode: TypeAlias = Literal["squash", "letterbox", "centre-crop"]
Rotation: TypeAlias = Literal[0, 90, 180, 270]

CHANNELS = 3
MAX_SIDE = 4096
"""Pixels a side of a model's input, and of a canvas: a Raspberry Pi's memory holds no more.

A frame of 12 million pixels resized to 4096 x 4096 takes 210 MiB for a moment. A damaged file may ask for any size.
"""
STRIDE = 32
"""Pixels between two cells of a MobileNet's coarsest map: it halves its input five times."""
MOST_TILES = 8
"""Along each axis, 64 in all: more would take a Raspberry Pi seconds a part."""
NEUTRAL = 128
"""The padding of a letterbox, 0-255: it normalises to exactly 0 in the graph."""
REDUCING_GAP = 2.0
"""Pillow first shrinks by whole factors down to this multiple of the target, then resamples.

Part of what version 1 of the spec means: another value gives other pixels, so it never becomes a setting.
"""


class Tiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Overlapping tiles that one region is judged by, each of the model's input size.

    The region is resized to the canvas that the tiles cover together, once, and cut. `height` and `width` are
    always a tile's, in pixels. Neighbours begin whole cells of STRIDE apart, so that their logit maps share a grid.
    """

    rows: Annotated[int, msgspec.Meta(ge=1, le=MOST_TILES)] = 1
    columns: Annotated[int, msgspec.Meta(ge=1, le=MOST_TILES)] = 1
    overlap: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.25
    """Of a tile's side that neighbours share, at least: damage no larger than that lies whole in one of them.

    Rounded up to whole cells; tiles of a single cell cannot share one and lie side by side.
    """

    @property
    def count(self) -> int:
        """How many there are."""
        return self.rows * self.columns

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) in pixels that the tiles cover together: the size to `preprocess` a region to.

        Raises ValueError if neighbours cannot begin whole cells apart, or the canvas has a side above MAX_SIDE.
        """
        bottom, right = self.corners(height, width)[-1]
        whole = bottom + height, right + width
        if max(whole) > MAX_SIDE:
            tiles = f"{self.rows} rows and {self.columns} columns of tiles of {width}x{height} pixels"
            raise ValueError(f"{tiles} make {whole[1]}x{whole[0]}, more than {MAX_SIDE} a side; set fewer tiles")
        return whole

    def corners(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return each tile's (top, left) on the canvas in pixels, row by row; raises ValueError as `canvas`."""
        tops, lefts = self._starts(self.rows, height), self._starts(self.columns, width)
        return [(top, left) for top in tops for left in lefts]

    def cut(self, canvas: Pixels, height: int, width: int) -> Pixels:
        """Cut canvases [..., canvas height, canvas width, 3] into tiles, [..., rows * columns, height, width, 3].

        Raises ValueError for a canvas of another size, and as `canvas`.
        """
        whole = self.canvas(height, width)
        if canvas.shape[-3:-1] != whole:
            raise ValueError(f"a canvas must be [..., {whole[0]}, {whole[1]}, 3], not {list(canvas.shape)}")
        corners = self.corners(height, width)
        return np.stack([canvas[..., top : top + height, left : left + width, :] for top, left in corners], axis=-4)

    def _starts(self, count: int, side: int) -> range:
        """Return where the tiles along one axis begin."""
        if count > 1 and side % STRIDE:
            raise ValueError(f"tiles of {side} pixels cannot share a grid of {STRIDE}; set one tile along that side")
        # The hair: 4000 * (1 - 0.32) is 85 cells, and as floating-point numbers a little less.
        cells = math.floor(side * (1 - self.overlap) / STRIDE + 1e-9)
        step = max(1, cells) * STRIDE
        return range(0, count * step, step)


class PreprocessSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a bundle wants its pixels. The target size is not here: the model knows it, of one of the `tiles`.

    `squash` resizes both axes independently; `letterbox` keeps the aspect ratio and pads with grey 128;
    `centre-crop` keeps the aspect ratio and cuts off what does not fit.
    """

    version: Literal[1] = 1
    mode: ResizeMode = "squash"
    resampler: Literal["bilinear"] = "bilinear"
    tiles: Tiles = Tiles()


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rectangle of the frame in fractions of its width and height, 0-1, origin top left."""

    x: float = 0.0
    y: float = 0.0
    width: float = 1.0
    height: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a rectangle that is empty or leaves the frame; raises ValueError."""
        inside = 0 <= self.x < 1 and 0 <= self.y < 1 and self.width > 0 and self.height > 0
        if not (inside and self.x + self.width <= 1 + 1e-9 and self.y + self.height <= 1 + 1e-9):
            corners = f"x {self.x:g}, y {self.y:g}, width {self.width:g}, height {self.height:g}"
            raise ValueError(f"{corners} leaves the frame: x + width and y + height must stay within 0-1")


WHOLE_FRAME = Region()


def preprocess(  # noqa: PLR0913 - the arguments are the contract
    pixels: Pixels,
    spec: PreprocessSpec,
    *,
    height: int,
    width: int,
    order: ChannelOrder = "RGB",
    region: Region = WHOLE_FRAME,
    rotate: Rotation = 0,
) -> Pixels:
    """Turn one frame into the model's pixels: crop, resize, rotate clockwise, order channels as RGB.

    `pixels` is uint8 [h, w], [h, w, 1] or [h, w, 3] with channels in `order`; grey is repeated in all three.
    `height` and `width` are the canvas': the model's own for one tile, else what `spec.tiles.canvas` says.
    Returns contiguous uint8 [height, width, 3]; a whole frame of just that size, RGB and not rotated, comes back
    as it is. Raises ValueError for another dtype or shape.
    """
    require_picture(pixels)
    if rotate in (90, 270):
        height, width = width, height
    part = crop(pixels, region)
    if spec.mode == "centre-crop":
        part = _centre_crop(part, width / height)
    fit = _letterbox if spec.mode == "letterbox" else _resize
    return _finish(fit(part, height, width), order, rotate)


def require_picture(pixels: Pixels) -> None:
    """Raise ValueError for what is not uint8 [h, w], [h, w, 1] or [h, w, 3], or has no pixels."""
    grey = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1)  # noqa: PLR2004 - axes
    colour = pixels.ndim == 3 and pixels.shape[2] == CHANNELS  # noqa: PLR2004
    if pixels.dtype != np.uint8 or not (grey or colour) or 0 in pixels.shape:
        raise ValueError(
            f"a frame must be uint8 [h, w], [h, w, 1] or [h, w, 3], not {pixels.dtype} {list(pixels.shape)}"
        )


def crop(pixels: Pixels, region: Region) -> Pixels:
    """Return a region of a picture, [h, w, ...], at least a pixel: a view."""
    if region == WHOLE_FRAME:
        return pixels
    rows, columns = pixels.shape[:2]
    top, left = round(region.y * rows), round(region.x * columns)
    bottom, right = round((region.y + region.height) * rows), round((region.x + region.width) * columns)
    # A region thinner than a pixel still shows the pixel it lies on.
    top, left = min(top, rows - 1), min(left, columns - 1)
    return pixels[top : max(bottom, top + 1), left : max(right, left + 1)]


def _centre_crop(pixels: Pixels, aspect: float) -> Pixels:
    rows, columns = pixels.shape[:2]
    keep_columns = min(columns, max(1, round(rows * aspect)))
    keep_rows = min(rows, max(1, round(columns / aspect)))
    top, left = (rows - keep_rows) // 2, (columns - keep_columns) // 2
    return pixels[top : top + keep_rows, left : left + keep_columns]


def _letterbox(pixels: Pixels, height: int, width: int) -> Pixels:
    rows, columns = pixels.shape[:2]
    scale = min(height / rows, width / columns)
    inner = _resize(pixels, max(1, round(rows * scale)), max(1, round(columns * scale)))
    canvas = np.full((height, width, *inner.shape[2:]), NEUTRAL, np.uint8)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def _resize(pixels: Pixels, height: int, width: int) -> Pixels:
    if pixels.ndim == 3 and pixels.shape[2] == 1:  # noqa: PLR2004 - axes
        pixels = pixels[:, :, 0]
    if pixels.shape[:2] == (height, width):
        return pixels
    from PIL.Image import Resampling, fromarray

    image: Image = fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((width, height), Resampling.BILINEAR, reducing_gap=REDUCING_GAP))


def _finish(small: Pixels, order: ChannelOrder, rotate: Rotation) -> Pixels:
    """Rotate, repeat or reverse channels: last, because the picture is small by now."""
    if small.ndim == 2:  # noqa: PLR2004 - axes
        small = np.repeat(small[:, :, np.newaxis], CHANNELS, axis=2)
    elif order == "BGR":
        small = small[:, :, ::-1]
    return np.ascontiguousarray(np.rot90(small, -rotate // 90))
