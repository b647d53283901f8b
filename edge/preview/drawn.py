"""What a person draws on the page, as the text that belongs into the configuration file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import msgspec

from edge.contract.json import NOT_JSON
from edge.contract.names import WHOLE_NAME
from edge.contract.preprocess import Region
from edge.errors import DataError
from edge.preview.turning import turned_back
from edge.regions import duplicate, places
from edge.sections.regions import RegionConfig

if TYPE_CHECKING:
    from edge.contract.preprocess import Rotation

_DIGITS = 4
"""A tenth of a pixel of a frame of 1000."""
_Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Drawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rectangle of the picture as it is shown, or a grid in it."""

    name: str
    x: _Fraction
    y: _Fraction
    width: _Fraction
    height: _Fraction
    rows: int = 1
    columns: int = 1


def to_toml(data: str, rotate: Rotation) -> str:
    """Return the tables [[regions]] for drawn ones, a JSON array, in a frame that is shown turned clockwise.

    Raises DataError, one line with the remedy, for what the configuration would refuse.
    """
    try:
        drawn = msgspec.json.decode(data, type=list[_Drawn])
        regions = [_region(each, rotate) for each in drawn]
        if twice := duplicate(places(regions)):
            raise ValueError(f"two are named {twice!r}; name one otherwise")  # noqa: TRY301 - told as the others are
    except (*NOT_JSON, msgspec.ValidationError, ValueError) as error:
        raise DataError(f"the regions cannot be used: {error}") from error
    return "\n".join(map(_table, regions))


def _region(drawn: _Drawn, rotate: Rotation) -> RegionConfig:
    if not re.fullmatch(WHOLE_NAME, drawn.name):
        raise ValueError(f"{drawn.name[:60]!r} is no name; use letters, digits, _ and -, 64 at most")
    rows, columns = (drawn.columns, drawn.rows) if rotate in (90, 270) else (drawn.rows, drawn.columns)
    area = msgspec.to_builtins(turned_back(_within(drawn), rotate))
    rounded = {key: round(value, _DIGITS) for key, value in area.items()}
    return msgspec.convert({"name": drawn.name, **rounded, "rows": rows, "columns": columns}, RegionConfig)


def _within(drawn: _Drawn) -> Region:
    """Return what of it lies in the frame, its edges rounded, so that two that touch still do.

    Raises ValueError if nothing does.
    """
    left, top = round(drawn.x, _DIGITS), round(drawn.y, _DIGITS)
    right, bottom = (
        round(min(1.0, start + length), _DIGITS) for start, length in ((drawn.x, drawn.width), (drawn.y, drawn.height))
    )
    if right <= left or bottom <= top:
        raise ValueError(f"{drawn.name} has no area within the picture; draw it larger")
    return Region(left, top, right - left, bottom - top)


def _table(region: RegionConfig) -> str:
    area = {key: f"{value:g}" for key, value in msgspec.to_builtins(region.area).items()}
    grid = {"rows": region.rows, "columns": region.columns} if region.rows * region.columns > 1 else {}
    lines = (f"{key} = {value}" for key, value in {"name": f'"{region.name}"', **area, **grid}.items())
    return "\n".join(["[[regions]]", *lines, ""])
