"""Draws the sheet of `data check`: the suspicious pictures of each finding, and what each class usually looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageOps

from training.data.lettering import BLUE, FAINT, INK, MARGIN, PAPER, Colour, font, line, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge.contract.preprocess import Pixels
    from training.data.dataset import Dataset
    from training.data.findings import Finding, Level

COLUMNS = 8
_SIDE = 148
"""Pixels a side of a thumbnail."""
_GAP = 12
_TITLE, _HEADING, _CAPTION = 22, 16, 13
"""Sizes of the letters, pixels."""
_LINE = line(_CAPTION) - 2
"""Pixels of each line below a thumbnail."""
_ABOVE = 46
"""Pixels of a heading and the room about it."""
_ROWS = 2
"""Rows of thumbnails that a finding gets at most."""
_WIDTH = 2 * MARGIN + COLUMNS * _SIDE + (COLUMNS - 1) * _GAP

_COLOURS: Mapping[Level, Colour] = {"error": (198, 47, 47), "warning": (199, 125, 10), "note": BLUE}


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
    colour: Colour
    cells: tuple[Cell, ...]

    @property
    def rows(self) -> int:
        """Rows that its thumbnails fill."""
        return -(-len(self.cells) // COLUMNS)

    @property
    def height(self) -> int:
        """Pixels from its heading to the next one."""
        return _ABOVE + self.rows * self.pitch

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
        found.append(Section(f"Typical of {label}", FAINT, cells))
    return found


def _cells(finding: Finding, known: set[str]) -> Iterator[Cell]:
    for item in finding.items:
        for number, name in enumerate(name for name in item.names if name in known):
            yield Cell(name, label=name.split("/", 1)[0], suggested=item.suggested, joined=number > 0)


def draw(title: str, data: Dataset, laid_out: Sequence[Section]) -> Image.Image:
    """Draw the sheet; each picture is read again from its source. Raises DataError for one that is gone."""
    load = {source.name: source.load for source in data.sources}
    height = 2 * MARGIN + _ABOVE + sum(section.height for section in laid_out)
    sheet = Image.new("RGB", (_WIDTH, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    write(pen, (MARGIN, MARGIN), title, font(_TITLE, bold=True), INK, _WIDTH - 2 * MARGIN)
    top = MARGIN + _ABOVE
    for section in laid_out:
        _draw_heading(pen, section, top)
        for number, cell in enumerate(section.cells):
            row, column = divmod(number, COLUMNS)
            corner = (MARGIN + column * (_SIDE + _GAP), top + _ABOVE + row * section.pitch)
            sheet.paste(_thumbnail(load[cell.name]()), corner)
            _draw_caption(pen, corner, cell)
            if cell.joined and column:
                _draw_link(pen, corner)
        top += section.height
    return sheet


def _draw_heading(pen: ImageDraw.ImageDraw, section: Section, top: int) -> None:
    pen.rectangle((MARGIN, top + 8, MARGIN + 5, top + 28), section.colour)
    write(pen, (MARGIN + 14, top + 8), section.heading, font(_HEADING), INK, _WIDTH - 2 * MARGIN - 14)


def _thumbnail(pixels: Pixels) -> Image.Image:
    """Fit a picture into a square."""
    return ImageOps.pad(Image.fromarray(pixels), (_SIDE, _SIDE), Image.Resampling.BICUBIC, PAPER, (0.5, 1))


def _draw_caption(pen: ImageDraw.ImageDraw, corner: tuple[int, int], cell: Cell) -> None:
    left, top = corner
    lines = [(cell.label, INK)] * bool(cell.label)
    lines += [(f"seems {cell.suggested}", _COLOURS["error"])] * bool(cell.suggested)
    lines += [(cell.name.split("/", 1)[-1], FAINT)]
    for number, (text, colour) in enumerate(lines):
        write(pen, (left, top + _SIDE + 4 + _LINE * number), text, font(_CAPTION), colour, _SIDE)


def _draw_link(pen: ImageDraw.ImageDraw, corner: tuple[int, int]) -> None:
    left, middle = corner[0], corner[1] + _SIDE // 2
    pen.rectangle((left - _GAP, middle - 3, left - 1, middle + 3), _COLOURS["note"])
