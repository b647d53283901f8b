"""Contract 2: the one function that turns a frame into the model's pixels.

Training, evaluation, golden frames and the device all call `preprocess`; nothing else in the project
resizes a picture for the model. Normalisation is not here: it lives in the graph as (u8 - 128) / 128.
"""

from __future__ import annotations

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
"""Pixels a side of a model's input; no classifier comes near it, a damaged file's may."""
STRIDE = 32
"""Pixels between two cells of a MobileNet's coarsest map: it halves its input five times."""
MOST_TILES = 8
"""Along each axis: 64 in all; more would take a Raspberry Pi seconds a part."""
NEUTRAL = 128
"""The padding of a letterbox, 0-255: it normalises to exactly 0 in the graph."""
REDUCING_GAP = 2.0
"""Pillow first shrinks by whole factors down to this multiple of the target, then resamples.

Part of what version 1 of the spec means: another value gives other pixels, so it never becomes a setting.
"""


class Tiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Overlapping tiles that one region is judged by, each at the model's input size.

    The region is resized to the canvas that the tiles cover together, once, and cut: see `canvas` and `cut`.
    """

    rows: Annotated[int, msgspec.Meta(ge=1, le=MOST_TILES)] = 1
    columns: Annotated[int, msgspec.Meta(ge=1, le=MOST_TILES)] = 1
    overlap: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.25
    """Of a tile's side that it shares with its neighbour; damage on a seam lies whole in one of them."""

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) in pixels that the tiles of this size cover together."""
        down, right = self._steps(height, width)
        return height + (self.rows - 1) * down, width + (self.columns - 1) * right

    def corners(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return each tile's (top, left) on the canvas in pixels, row by row."""
        down, right = self._steps(height, width)
        return [(row * down, column * right) for row in range(self.rows) for column in range(self.columns)]

    def cut(self, canvas: Pixels, height: int, width: int) -> Pixels:
        """Cut a canvas [canvas height, canvas width, 3] into its tiles, [rows * columns, height, width, 3]."""
        corners = self.corners(height, width)
        return np.stack([canvas[top : top + height, left : left + width] for top, left in corners])

    def _steps(self, height: int, width: int) -> tuple[int, int]:
        """Return how far apart neighbours begin: whole cells of the coarsest logit map, so that maps fit together."""
        down, right = (max(STRIDE, round(side * (1 - self.overlap) / STRIDE) * STRIDE) for side in (height, width))
        return down, right


class PreprocessSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a bundle wants its pixels. The target size is not here: the model knows it.

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
    Returns contiguous uint8 [height, width, 3]. Raises ValueError for another dtype or shape.
    """
    _require_picture(pixels)
    if rotate in (90, 270):
        height, width = width, height
    part = _crop(pixels, region)
    if spec.mode == "centre-crop":
        part = _centre_crop(part, width / height)
    fit = _letterbox if spec.mode == "letterbox" else _resize
    return _finish(fit(part, height, width), order, rotate)


def _require_picture(pixels: Pixels) -> None:
    grey = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1)  # noqa: PLR2004 - axes
    colour = pixels.ndim == 3 and pixels.shape[2] == CHANNELS  # noqa: PLR2004
    if pixels.dtype != np.uint8 or not (grey or colour) or 0 in pixels.shape:
        raise ValueError(
            f"a frame must be uint8 [h, w], [h, w, 1] or [h, w, 3], not {pixels.dtype} {list(pixels.shape)}"
        )


def _crop(pixels: Pixels, region: Region) -> Pixels:
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
