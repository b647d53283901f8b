"""Between a frame as the camera delivers it, which regions count in, and as it is shown: turned by `camera.rotate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from edge.contract.preprocess import Region

if TYPE_CHECKING:
    from edge.contract.preprocess import Rotation


def turned(area: Region, rotate: Rotation) -> Region:
    """Return where a rectangle of a frame lies once that is turned clockwise."""
    x, y, width, height = area.x, area.y, area.width, area.height
    if rotate in (180, 270):
        x, y = 1 - x - width, 1 - y - height
    if rotate in (90, 270):
        x, y, width, height = 1 - y - height, x, height, width
    return Region(max(0.0, x), max(0.0, y), width, height)  # A difference may be less than 0 by a rounding.


def turned_back(area: Region, rotate: Rotation) -> Region:
    """Return where a rectangle of the turned frame lies in the frame."""
    return turned(area, cast("Rotation", -rotate % 360))


def turned_shift(dx: float, dy: float, rotate: Rotation) -> tuple[float, float]:
    """Return a movement to the right and down, in fractions of the frame's sides, as it shows in the turned frame."""
    if rotate in (180, 270):
        dx, dy = -dx, -dy
    return (-dy, dx) if rotate in (90, 270) else (dx, dy)
