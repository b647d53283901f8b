"""Takes frames from the camera at the page's pace, and measures each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge.camera.base import BadFrame, Frame
from edge.camera.pace import Pacer
from edge.guard.measures import measure
from edge.preview.figures import FocusMeter, RateMeter, channels
from edge.preview.state import View

if TYPE_CHECKING:
    from edge.capture import Capture
    from edge.guard.guard import Guard
    from edge.preview.board import Board

RATE = 8.0
"""Frames per second that are shown at most: enough to turn a lens by, and little work for the device."""
_TAKE_SECONDS = 0.5
"""How often the page hears of a camera that gives no frame."""


def watch(capture: Capture, guard: Guard | None, board: Board) -> None:
    """Show the newest frame again and again, until an exception: CameraError if the camera fails for good."""
    watcher, pacer, rate, bad = Watcher(guard), Pacer(RATE), RateMeter(), ""
    while pacer.wait():
        frame = capture.take(_TAKE_SECONDS)
        if frame is not None:
            bad = _show(frame, watcher, board)
        board.tell(rate=rate.add(time.monotonic(), capture.captured), trouble=capture.trouble or bad)


def _show(frame: Frame | BadFrame, watcher: Watcher, board: Board) -> str:
    """Show a frame, or return why it is none."""
    if isinstance(frame, BadFrame):
        return frame.reason
    try:
        board.show(watcher.view(frame))
    except ValueError as error:
        return str(error)
    return ""


class Watcher:
    """Measures the frames of one camera in turn."""

    def __init__(self, guard: Guard | None) -> None:
        self._guard = guard
        self._focus = FocusMeter()
        self._shown = 0

    def view(self, frame: Frame) -> View:
        """Measure a frame; raises ValueError as `measure`."""
        measures = measure(frame.pixels, frame.order)
        self._shown += 1
        return View(
            number=self._shown,
            # Anew, for it is kept: nothing else that a camera lends with a frame is held back from it.
            frame=Frame(frame.number, frame.source, frame.exposed, frame.pixels, frame.order),
            fitness=self._guard.inspect(frame) if self._guard is not None else None,
            focus=self._focus.add(time.monotonic(), measures.sharpness),
            channels=channels(frame.pixels, frame.order),
            dark=measures.dark,
            bright=measures.bright,
        )
