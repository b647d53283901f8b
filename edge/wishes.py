"""Which frame is for which trigger: who waits for one, and who gets it. Pure; its callers hold the capture's lock."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from edge.camera.base import BadFrame

if TYPE_CHECKING:
    from edge.camera.base import Camera, Frame

SHARED_SECONDS = 0.1
"""Triggers so near to each other may always share a frame: one part may set off two."""
_LATE = 1.5
"""Times as long as usual: by then a frame is missing."""
_REMEMBERED = 8


class Wish:
    """For the first frame that is exposed at `instant`, on the monotonic clock, or later; `frame` once it came."""

    def __init__(self, instant: float) -> None:
        self.instant = instant
        self.frame: Frame | BadFrame | None = None


class Wishes:
    """Those for the frames of one camera."""

    def __init__(self) -> None:
        self._all: list[Wish] = []
        self._exposed: float | None = None
        """When the last frame was."""
        self._gaps: deque[float] = deque(maxlen=_REMEMBERED)
        """Seconds between the last frames."""

    def add(self, instant: float) -> Wish:
        """Have a frame kept that is exposed then or later; of a camera that is not live the next one."""
        self._all.append(wish := Wish(instant))
        return wish

    def forget(self, wish: Wish | None) -> None:
        """Expect that frame no more."""
        self._all = [each for each in self._all if each is not wish]

    def are_open(self) -> bool:
        """Say whether anybody waits for a frame."""
        return any(each.frame is None for each in self._all)

    def grant(self, frame: Frame | BadFrame, camera: Camera) -> bool:
        """Give a frame to whom it is for, if anybody; returns whether there was one."""
        waiting = [each for each in self._all if each.frame is None]
        if camera.live:
            self._grant(frame, [each for each in waiting if each.instant <= frame.exposed], camera)
        elif waiting:
            waiting[0].frame = frame
        return any(each.frame is not None for each in waiting)

    def _grant(self, frame: Frame | BadFrame, due: list[Wish], camera: Camera) -> None:
        shared_s = self._note(frame.exposed)
        if camera.keeps_pace and len(due) > 1:  # A part each, and who knows which one this is?
            problem = f"{len(due)} triggers waited for a picture when this one came: it may show another part"
            frame, shared_s = BadFrame(frame.number, frame.source, frame.exposed, problem), inf
        newest = max((each.instant for each in due), default=0.0)
        for each in due:
            if (apart := newest - each.instant) <= shared_s:
                each.frame = frame
            else:
                problem = f"no frame came before the next part's trigger, {apart:.3g} s after its own"
                each.frame = BadFrame(0, "", each.instant, problem)

    def _note(self, exposed: float) -> float:
        """Note when a frame was exposed; returns how many seconds triggers that share it may be apart."""
        shorter = sorted(self._gaps)[: len(self._gaps) // 2]  # Where frames are missing gaps are longer.
        if self._exposed is not None:
            self._gaps.append(max(0.0, exposed - self._exposed))
        self._exposed = exposed
        return max(SHARED_SECONDS, _LATE * max(shorter, default=0.0))
