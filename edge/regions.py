"""Which parts of a frame are judged, and by which rule each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.contract.preprocess import WHOLE_FRAME, Region
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Literal

    from edge.sections.regions import RegionConfig

WHOLE = "whole"
"""The name of the one region of a device that has none configured."""


class Place(Record, frozen=True, kw_only=True):
    """A part of the frame that gets a verdict of its own."""

    name: str
    area: Region
    threshold: float | None = None
    """P(defect) from which it is DEFECT; None: as for all."""
    labels: Mapping[str, Literal["PASS", "DEFECT"]]
    """What classes of the model mean here, where that is not what the bundle says."""


def places(regions: Sequence[RegionConfig]) -> list[Place]:
    """Return what is to be judged of each frame, in the order of the configuration: cells row by row."""
    if not regions:
        return [Place(name=WHOLE, area=WHOLE_FRAME, labels={})]
    return [place for region in regions for place in _cells(region)]


def _cells(region: RegionConfig) -> Iterator[Place]:
    width, height = region.width / region.columns, region.height / region.rows
    for row in range(region.rows):
        for column in range(region.columns):
            is_grid = region.rows * region.columns > 1
            yield Place(
                name=f"{region.name}-{row + 1}-{column + 1}" if is_grid else region.name,
                area=Region(region.x + column * width, region.y + row * height, width, height),
                threshold=region.threshold,
                labels=region.labels,
            )


def duplicate(found: Sequence[Place]) -> str:
    """Return a name that two places have; empty: none."""
    names = [place.name for place in found]
    return next((name for name in names if names.count(name) > 1), "")
