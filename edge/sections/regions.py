"""The tables [[regions]]: the parts of a frame, each judged by itself."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edge.contract.names import WHOLE_NAME
from edge.contract.preprocess import Region
from edge.sections.base import Section, doc

_MOST_CELLS = 400


class RegionConfig(Section, frozen=True, kw_only=True):
    """A part of the frame that gets a verdict of its own, or a tray of them: a grid of equal cells."""

    name: Annotated[str, doc("stands in every event; a cell's is name-row-column, from 1 on", pattern=WHOLE_NAME)]
    x: Annotated[float, doc("its left side, in fractions of the frame's width", ge=0, lt=1)] = 0.0
    y: Annotated[float, doc("its upper side, in fractions of the frame's height", ge=0, lt=1)] = 0.0
    width: Annotated[float, doc("in fractions of the frame's width", gt=0, le=1)] = 1.0
    height: Annotated[float, doc("in fractions of the frame's height", gt=0, le=1)] = 1.0
    rows: Annotated[int, doc("of a grid", ge=1, le=_MOST_CELLS)] = 1
    columns: Annotated[int, doc("of a grid", ge=1, le=_MOST_CELLS)] = 1
    threshold: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=1)] | None,
        doc("P(defect) from which it is DEFECT; left out: as [decision] says"),
    ] = None
    labels: Annotated[
        dict[str, Literal["PASS", "DEFECT"]],
        doc("what a class of the model means here, where that is not what the bundle says"),
    ] = {}  # noqa: RUF012 - msgspec copies it

    @property
    def area(self) -> Region:
        """The whole of it."""
        return Region(self.x, self.y, self.width, self.height)

    def __post_init__(self) -> None:
        """Refuse a rectangle that leaves the frame, and a grid too fine to judge; raises ValueError."""
        if self.rows * self.columns > _MOST_CELLS:
            raise ValueError(f"{self.rows} rows of {self.columns} columns are more than {_MOST_CELLS} cells")
        _ = self.area
