"""Draws a contact sheet: the suspicious pictures of each finding, and what each class usually looks like."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from edge.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from edge.contract.preprocess import Pixels
    from training.data.dataset import Dataset
    from training.data.findings import Finding, Level

COLUMNS = 8
_SIDE = 148
"""Pixels a side of a thumbnail."""
_GAP = 12
_MARGIN = 32
_LINE = 18
"""Pixels of each line below a thumbnail."""
_HEADING = 46
_ROWS = 2
"""Rows of thumbnails that a finding gets at most."""
_WIDTH = 2 * _MARGIN + COLUMNS * _SIDE + (COLUMNS - 1) * _GAP

_PAPER, _INK, _FAINT, _FRAME = "#ffffff", "#1c2430", "#6b7685", "#eef1f5"
_COLOURS: Mapping[Level, str] = {"error": "#c62f2f", "warning": "#c77d0a", "note": "#4a6fa5"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One thumbnail."""

    name: str
    """Its picture's."""
    label: str = ""
    """Its class, where that is not in the heading."""
    suggested: str = ""
    """The class that it looks like."""
    joined: bool = False
    """It belongs to the one before."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its thumbnails."""

    heading: str
    colour: str
    cells: tuple[Cell, ...]

    @property
    def rows(self) -> int:
        """Rows that its thumbnails fill."""
        return -(-len(self.cells) // COLUMNS)

    @property
    def height(self) -> int:
        """Pixels from its heading to the next one."""
        return _HEADING + self.rows * self.pitch

    @property
    def pitch(self) -> int:
        """Pixels from one row of thumbnails to the next."""
        most = max(1 + bool(cell.label) + bool(cell.suggested) for cell in self.cells)
        return _SIDE + most * _LINE + _GAP


def sections(findings: Sequence[Finding], typical: Mapping[str, tuple[str, ...]], known: set[str]) -> list[Section]:
    """Lay out what must be looked at, and all copies, then a row for each class; names not `known` are left out."""
    found = []
    for finding in findings:
        every = tuple(_cells(finding, known))
        cells = every[: COLUMNS * _ROWS]
        shown = f" ({len(cells)} of {len(every)} shown)" if len(cells) < len(every) else ""
        if cells and (finding.level != "note" or any(cell.joined for cell in cells)):
            found.append(Section(finding.text + shown, _COLOURS[finding.level], cells))
    for label, names in typical.items():
        cells = tuple(Cell(name) for name in names[:COLUMNS])
        found.append(Section(f"Typical of {label}", _FAINT, cells))
    return found


def _cells(finding: Finding, known: set[str]) -> Iterator[Cell]:
    for item in finding.items:
        for number, name in enumerate(name for name in item.names if name in known):
            yield Cell(name, label=name.split("/", 1)[0], suggested=item.suggested, joined=number > 0)


def draw(title: str, data: Dataset, laid_out: Sequence[Section]) -> Image:
    """Draw the sheet; each picture is read again from its source. Raises DataError for one that is gone."""
    from PIL import Image, ImageDraw

    load = {source.name: source.load for source in data.sources}
    height = 2 * _MARGIN + _HEADING + sum(section.height for section in laid_out)
    sheet = Image.new("RGB", (_WIDTH, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN), _fit(title, _font(24), _WIDTH - 2 * _MARGIN), _INK, _font(24))
    top = _MARGIN + _HEADING
    for section in laid_out:
        _draw_heading(pen, section, top)
        for number, cell in enumerate(section.cells):
            row, column = divmod(number, COLUMNS)
            corner = (_MARGIN + column * (_SIDE + _GAP), top + _HEADING + row * section.pitch)
            sheet.paste(_thumbnail(load[cell.name]()), corner)
            _draw_caption(pen, corner, cell)
            if cell.joined and column:
                _draw_link(pen, corner)
        top += section.height
    return sheet


def write(sheet: Image, path: Path) -> None:
    """Save as PNG; raises DataError if it cannot be written."""
    try:
        sheet.save(path, "PNG")
    except OSError as error:
        raise DataError(f"--out {path}: {error.strerror or error}; choose a file that you may write") from error


def _draw_heading(pen: ImageDraw, section: Section, top: int) -> None:
    pen.rectangle((_MARGIN, top + 8, _MARGIN + 5, top + 28), section.colour)
    pen.text((_MARGIN + 14, top + 7), _fit(section.heading, _font(17), _WIDTH - 2 * _MARGIN - 14), _INK, _font(17))


def _thumbnail(pixels: Pixels) -> Image:
    """Fit a picture into a square."""
    from PIL import Image, ImageOps

    return ImageOps.pad(Image.fromarray(pixels), (_SIDE, _SIDE), Image.Resampling.BICUBIC, color=_FRAME)


def _draw_caption(pen: ImageDraw, corner: tuple[int, int], cell: Cell) -> None:
    left, top = corner
    lines = [(cell.label, _INK, 14)] * bool(cell.label)
    lines += [(f"seems {cell.suggested}", _COLOURS["error"], 14)] * bool(cell.suggested)
    lines += [(cell.name.split("/", 1)[-1], _FAINT, 13)]
    for number, (line, colour, size) in enumerate(lines):
        pen.text((left, top + _SIDE + 4 + _LINE * number), _fit(line, _font(size), _SIDE), colour, _font(size))


def _draw_link(pen: ImageDraw, corner: tuple[int, int]) -> None:
    left, middle = corner[0], corner[1] + _SIDE // 2
    pen.rectangle((left - _GAP, middle - 3, left - 1, middle + 3), _COLOURS["note"])


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _fit(line: str, font: Any, width: int) -> str:
    """Shorten a line in its middle until it fits: the end of a file's name tells most."""
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    keep = len(line)
    short = line
    while font.getlength(short) > width and keep > 2:  # noqa: PLR2004 - a letter at each side
        keep -= 1
        short = f"{line[: keep // 2]}...{line[-(keep - keep // 2) :]}"
    return short
