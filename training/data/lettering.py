"""What the sheets of pictures share: their colours, and lines of text that fit, whatever a file is called."""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import matplotlib as mpl
from PIL import ImageFont

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Colour: TypeAlias = tuple[int, int, int]

PAPER: Colour = (240, 240, 240)
"""Grey about the pictures: another colour would tint what the eye makes of them."""
INK: Colour = (28, 28, 28)
FAINT: Colour = (100, 100, 100)
BLUE: Colour = (0, 98, 190)
"""Of what belongs together, and of what is to be compared with."""
MARGIN = 32
"""Pixels about a sheet."""
_LINE_HEIGHT = 1.6
"""Times a letter's size."""


def line(size: int) -> int:
    """Return how many pixels a line of letters of this size takes."""
    return round(size * _LINE_HEIGHT)


@cache
def font(size: int, *, bold: bool = False) -> FreeTypeFont:
    """Load DejaVu Sans, which Matplotlib carries: Pillow's own font has no letter beyond ASCII."""
    path = Path(mpl.get_data_path(), "fonts/ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    return ImageFont.truetype(path, size)


def write(  # noqa: PLR0913, PLR0917 - what every pen needs
    pen: ImageDraw, at: tuple[float, float], text: str, letters: FreeTypeFont, colour: Colour, room: float
) -> float:
    """Write one line of at most `room` pixels; returns where it ends."""
    fitting = fit(text, letters, room)
    pen.text(at, fitting, colour, letters)
    return at[0] + letters.getlength(fitting)


def fit(text: str, letters: FreeTypeFont, room: float) -> str:
    """Return a printable line of at most `room` pixels; the middle is left out, as names differ at their ends."""
    whole = _printable(text, letters)
    short, kept = whole, len(whole)
    while kept and letters.getlength(short) > room:
        kept -= 1
        short = f"{whole[: kept // 2]}…{whole[len(whole) - (kept - kept // 2) :]}"
    return short


def _printable(text: str, letters: FreeTypeFont) -> str:
    """Spell out what the font has no letter for, rather than draw the same empty box for every such letter."""
    missing = bytes(letters.getmask("\uffff"))
    composed = unicodedata.normalize("NFC", text)
    return "".join(
        c if c.isprintable() and bytes(letters.getmask(c)) != missing else c.encode("unicode_escape").decode()
        for c in composed
    )
