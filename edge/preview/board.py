"""Where the threads of the preview meet: the newest of each thing hangs here, and nobody waits for who reads it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import msgspec

from edge.preview.picture import to_jpeg
from edge.preview.state import Camera, Opinions, compose
from edge.regions import places

if TYPE_CHECKING:
    from edge.config import Config
    from edge.preview.state import State, View


class Board:
    """What is known now. Any thread may use it."""

    def __init__(self, config: Config) -> None:
        self.rotate = config.camera.rotate
        self.opinions = Opinions()
        """What the model said last: its thread replaces it."""
        self.camera = Camera(
            name=config.camera.name, rotate=self.rotate, rate=0.0, trouble="the camera is being opened"
        )
        """How the camera fares: the watching thread replaces it."""
        self._places = places(config.regions)
        self._view: View | None = None
        self._changed = threading.Condition()
        self._drawing = threading.Lock()
        self._drawn = (0, b"")

    def show(self, view: View) -> None:
        """Have this frame be the newest."""
        with self._changed:
            self._view = view
            self._changed.notify_all()

    def other(self, number: int, timeout: float) -> View | None:
        """Return the newest frame if it has another number, waiting at most `timeout` seconds for it; else None.

        Not one with a higher number: the page may have seen an earlier preview's.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._view is not None and self._view.number != number, timeout)
            view = self._view
        return view if view is not None and view.number != number else None

    def jpeg(self, view: View) -> bytes:
        """Return a frame's JPEG, made once however many look at it, and only if somebody does."""
        with self._drawing:
            if self._drawn[0] != view.number:
                self._drawn = view.number, to_jpeg(view.frame, self.rotate)
            return self._drawn[1]

    def state(self) -> State:
        """Return what the page tells now."""
        return compose(time.monotonic(), self.camera, self._view, self.opinions, self._places)

    def tell(self, *, rate: float, trouble: str) -> None:
        """Say how the camera fares."""
        self.camera = msgspec.structs.replace(self.camera, rate=rate, trouble=trouble)
