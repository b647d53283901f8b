"""Draws the sheet of `data preview`: a row of equally large pictures under each caption, the first one framed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from training.data.lettering import BLUE, FAINT, INK, MARGIN, PAPER, font, line, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.contract.preprocess import Pixels

_TILE = (0, 190, 255)
"""Colour of the lines about tiles."""
_GAP, _FRAME_WIDTH = 8, 3
_TITLE, _TEXT, _CAPTION = 22, 14, 15
"""Sizes of the letters, pixels."""
_WIDEST = 2400
"""Pixels: what a large screen shows. More, and the pictures are shrunk."""
_SMALLEST_SIDE = 96
"""Pixels, below which pictures are enlarged by whole factors."""
_MOST, _FEWEST = 9, 5
"""Pictures in a row."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what its pictures are of, and the pictures, uint8 [h, w, 3], all of the same size."""

    label: str
    name: str
    pictures: Sequence[Pixels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What a sheet says above its rows; lines in the pictures are (left, top, right, bottom) in their pixels."""

    title: str
    notes: Sequence[str]
    headings: tuple[str, str]
    """Above the first picture of a row, and above the others."""
    boxes: Sequence[tuple[int, int, int, int]] = ()


def columns(width: int) -> int:
    """Return how many pictures of this width in pixels fit in a row, 5 to 9; wide ones are shrunk."""
    return min(_MOST, max(_FEWEST, (_WIDEST - 2 * MARGIN + _GAP) // (width + _GAP)))


def scale(height: int, width: int) -> float:
    """Return how large a picture of this size is shown: whole factors above 1, or as little below as is needed."""
    if max(height, width) < _SMALLEST_SIDE:
        return float(-(-_SMALLEST_SIDE // max(height, width)))
    room = (_WIDEST - 2 * MARGIN + _GAP) / columns(width) - _GAP
    return min(1.0, room / width)


def size(count: int, height: int, width: int, notes: int) -> tuple[int, int]:
    """Return (width, height) in pixels of a sheet with `count` rows of pictures of this size."""
    high, wide = _shown(height, width)
    across = 2 * MARGIN + columns(width) * (wide + _GAP) - _GAP
    return across, _head(notes) + count * _row_height(high) + MARGIN


def draw(sheet: Sheet, rows: Sequence[Row]) -> Image.Image:
    """Draw the sheet: RGB of `size`."""
    height, width = rows[0].pictures[0].shape[:2]
    image = Image.new("RGB", size(len(rows), height, width, len(sheet.notes)), PAPER)
    pen = ImageDraw.Draw(image)
    room = image.width - 2 * MARGIN
    write(pen, (MARGIN, MARGIN), sheet.title, font(_TITLE, bold=True), INK, room)
    top = MARGIN + line(_TITLE)
    for note in sheet.notes:
        write(pen, (MARGIN, top), note, font(_TEXT), FAINT, room)
        top += line(_TEXT)
    high, wide = _shown(height, width)
    top = _head(len(sheet.notes))
    for heading, left in zip(sheet.headings, (MARGIN, MARGIN + wide + _GAP), strict=True):
        write(pen, (left, top - line(_TEXT)), heading, font(_TEXT), FAINT, room)
    for row in rows:
        _draw_row(image, row, top, sheet.boxes)
        top += _row_height(high)
    return image


def _draw_row(image: Image.Image, row: Row, top: int, boxes: Sequence[tuple[int, int, int, int]]) -> None:
    pen, room = ImageDraw.Draw(image), image.width - 2 * MARGIN
    end = write(pen, (MARGIN, top + _GAP), row.label, font(_CAPTION, bold=True), INK, room / 2)
    start = end + _CAPTION
    write(pen, (start, top + _GAP), row.name, font(_CAPTION), FAINT, image.width - MARGIN - start)
    top += _GAP + line(_CAPTION) + _FRAME_WIDTH
    for index, picture in enumerate(row.pictures):
        shown = _show(picture, boxes)
        left = MARGIN + index * (shown.width + _GAP)
        if not index:
            around = (left, top, left + shown.width - 1, top + shown.height - 1)
            pen.rectangle([edge + _FRAME_WIDTH * side for edge, side in zip(around, (-1, -1, 1, 1), strict=True)], BLUE)
        image.paste(shown, (left, top))


def _show(picture: Pixels, boxes: Sequence[tuple[int, int, int, int]]) -> Image.Image:
    """Bring a picture to the size it is shown at, and draw the boxes one pixel thin."""
    high, wide = _shown(*picture.shape[:2])
    enlarged = wide > picture.shape[1]
    kernel = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    shown = Image.fromarray(picture).resize((wide, high), kernel)
    pen, factor = ImageDraw.Draw(shown), wide / picture.shape[1]
    for left, top, right, bottom in boxes:
        corners = round(left * factor), round(top * factor), round(right * factor) - 1, round(bottom * factor) - 1
        pen.rectangle(corners, outline=_TILE)
    return shown


def _shown(height: int, width: int) -> tuple[int, int]:
    factor = scale(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _head(notes: int) -> int:
    return MARGIN + line(_TITLE) + (notes + 2) * line(_TEXT)


def _row_height(shown: int) -> int:
    return 3 * _GAP + line(_CAPTION) + 2 * _FRAME_WIDTH + shown
