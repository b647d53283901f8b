"""Draws a contact sheet: a row of equally large pictures under each caption, the first one framed."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.ImageFont import FreeTypeFont

    from edge.contract.preprocess import Pixels

_BACKGROUND, _INK, _FAINT = (240, 240, 240), (28, 28, 28), (112, 112, 112)
"""Grey about the pictures: another colour would tint what the eye makes of them."""
_FRAME, _LINE = (0, 98, 190), (0, 190, 255)
_MARGIN, _GAP, _FRAME_WIDTH = 32, 8, 3
_TITLE, _TEXT, _CAPTION = 22, 14, 15
"""Sizes of the letters, pixels."""
_LINE_HEIGHT = 1.6
"""Times a letter's size."""
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
    return min(_MOST, max(_FEWEST, (_WIDEST - 2 * _MARGIN + _GAP) // (width + _GAP)))


def scale(height: int, width: int) -> float:
    """Return how large a picture of this size is shown: whole factors above 1, or as little below as is needed."""
    if max(height, width) < _SMALLEST_SIDE:
        return float(-(-_SMALLEST_SIDE // max(height, width)))
    room = (_WIDEST - 2 * _MARGIN + _GAP) / columns(width) - _GAP
    return min(1.0, room / width)


def size(count: int, height: int, width: int, notes: int) -> tuple[int, int]:
    """Return (width, height) in pixels of a sheet with `count` rows of pictures of this size."""
    high, wide = _shown(height, width)
    across = 2 * _MARGIN + columns(width) * (wide + _GAP) - _GAP
    return across, _head(notes) + count * _row_height(high) + _MARGIN


def draw(sheet: Sheet, rows: Sequence[Row]) -> Image.Image:
    """Draw the sheet: RGB of `size`."""
    height, width = rows[0].pictures[0].shape[:2]
    image = Image.new("RGB", size(len(rows), height, width, len(sheet.notes)), _BACKGROUND)
    pen = ImageDraw.Draw(image)
    room = image.width - 2 * _MARGIN
    _write(pen, (_MARGIN, _MARGIN), sheet.title, _font(_TITLE, bold=True), _INK, room)
    top = _MARGIN + round(_TITLE * _LINE_HEIGHT)
    for note in sheet.notes:
        _write(pen, (_MARGIN, top), note, _font(_TEXT), _FAINT, room)
        top += round(_TEXT * _LINE_HEIGHT)
    high, wide = _shown(height, width)
    top = _head(len(sheet.notes))
    for heading, left in zip(sheet.headings, (_MARGIN, _MARGIN + wide + _GAP), strict=True):
        _write(pen, (left, top - round(_TEXT * _LINE_HEIGHT)), heading, _font(_TEXT), _FAINT, room)
    for row in rows:
        _draw_row(image, row, top, sheet.boxes)
        top += _row_height(high)
    return image


def _draw_row(image: Image.Image, row: Row, top: int, boxes: Sequence[tuple[int, int, int, int]]) -> None:
    pen, room = ImageDraw.Draw(image), image.width - 2 * _MARGIN
    end = _write(pen, (_MARGIN, top + _GAP), row.label, _font(_CAPTION, bold=True), _INK, room / 2)
    start = end + _CAPTION
    _write(pen, (start, top + _GAP), row.name, _font(_CAPTION), _FAINT, image.width - _MARGIN - start)
    top += _GAP + round(_CAPTION * _LINE_HEIGHT) + _FRAME_WIDTH
    for index, picture in enumerate(row.pictures):
        shown = _show(picture, boxes)
        left = _MARGIN + index * (shown.width + _GAP)
        if not index:
            around = (left, top, left + shown.width - 1, top + shown.height - 1)
            pen.rectangle(
                [edge + _FRAME_WIDTH * side for edge, side in zip(around, (-1, -1, 1, 1), strict=True)], _FRAME
            )
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
        pen.rectangle(corners, outline=_LINE)
    return shown


def _shown(height: int, width: int) -> tuple[int, int]:
    factor = scale(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _head(notes: int) -> int:
    return _MARGIN + round(_TITLE * _LINE_HEIGHT) + (notes + 2) * round(_TEXT * _LINE_HEIGHT)


def _row_height(shown: int) -> int:
    return 3 * _GAP + round(_CAPTION * _LINE_HEIGHT) + 2 * _FRAME_WIDTH + shown


def _write(  # noqa: PLR0913, PLR0917 - what every pen needs
    pen: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    font: FreeTypeFont,
    colour: tuple[int, int, int],
    room: float,
) -> float:
    """Write one line of at most `room` pixels; returns where it ends."""
    fitting = _shorten(_printable(text, font), font, room)
    pen.text(at, fitting, colour, font)
    return at[0] + font.getlength(fitting)


def _printable(text: str, font: FreeTypeFont) -> str:
    """Spell out what the font has no letter for, rather than draw the same empty box for every such letter."""
    missing = bytes(font.getmask("\uffff"))
    composed = unicodedata.normalize("NFC", text)
    return "".join(
        c if c.isprintable() and bytes(font.getmask(c)) != missing else c.encode("unicode_escape").decode()
        for c in composed
    )


def _shorten(text: str, font: FreeTypeFont, room: float) -> str:
    """Leave out the middle of what is too long: names differ at their ends."""
    if font.getlength(text) <= room:
        return text
    kept = len(text) - 1
    while kept and font.getlength(f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}") > room:
        kept -= 1
    return f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"


@cache
def _font(letters: int, *, bold: bool = False) -> FreeTypeFont:
    """Load DejaVu Sans, which Matplotlib carries: Pillow's own font has no letter beyond ASCII."""
    path = Path(mpl.get_data_path(), "fonts/ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    return ImageFont.truetype(path, letters)
