"""What the guard says of a frame, and when that is a matter for maintenance. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edge.record import Record

if TYPE_CHECKING:
    from edge.contract.preprocess import Region


class Fitness(Record, frozen=True):
    """Whether a frame is fit to be judged, and by how much what it shows has moved."""

    reason: str = ""
    """Why it is not fit; empty if it is."""
    idle: bool = False
    """True if all that is wrong is that the fixture is empty, as it may be."""
    dx: float = 0.0
    """How far all lies to the right of where the baseline has it, in fractions of the frame's width; 0: not known."""
    dy: float = 0.0
    """How far it lies below, in fractions of the frame's height; 0: not known."""

    def follow(self, region: Region) -> Region:
        """Return where a region of the frame, as the camera delivers it, lies now; it stays within the frame."""
        x = min(max(0.0, region.x + self.dx), max(0.0, 1 - region.width))
        y = min(max(0.0, region.y + self.dy), max(0.0, 1 - region.height))
        return msgspec.structs.replace(region, x=x, y=y)


class Maintenance:
    """Follows one camera's frames, for the text in `status`: so many unfit ones in a row call for somebody."""

    def __init__(self, camera: str, alarm_after: int) -> None:
        self._camera = camera
        self._alarm_after = alarm_after
        self._unfit = 0
        self._text = ""

    def after(self, fitness: Fitness) -> str:
        """Return what `status` is to say after this frame; empty: nothing, or nothing any more.

        The text stays as it was when it was raised until a frame is fit: it is news twice, not with each frame. An
        empty fixture is nobody's fault; it neither calls for somebody nor shows that all is well again.
        """
        if not fitness.reason:
            self._unfit, self._text = 0, ""
        elif not fitness.idle:
            self._unfit += 1
            if self._unfit == self._alarm_after:
                frames = "frame is" if self._unfit == 1 else f"{self._unfit} frames are"
                self._text = f"camera {self._camera}: the last {frames} not fit to be judged: {fitness.reason}"
        return self._text
