"""A camera that renders cutting inserts: the demo, tests and load runs need no hardware."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

from edge.camera.base import Frame
from edge.synthetic import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config import SyntheticConfig


class SyntheticCamera:
    """Parts (seed, 0), (seed, 1), ... at the configured rate; a frame's source is `<truth>/<seed>-<index>`."""

    def __init__(self, config: SyntheticConfig) -> None:
        self._config = config
        self._closed = threading.Event()
        self.keeps_pace = config.rate == 0

    def frames(self) -> Iterator[Frame]:
        """Yield parts until the configured number is reached or the camera is closed.

        A part that takes longer to render than the rate allows comes late; none is made up for in a burst.
        """
        config = self._config
        period = 1 / config.rate if config.rate else 0.0
        due = time.monotonic()
        for index in range(config.frames) if config.frames else itertools.count():
            part = render(config.seed, index, height=config.height, width=config.width)
            if self._closed.wait(max(0.0, due - time.monotonic())):
                return
            exposed = time.monotonic()
            yield Frame(index + 1, f"{part.label}/{config.seed}-{index:06d}", exposed, part.pixels)
            due = max(due, exposed - period) + period

    def close(self) -> None:
        """End `frames`, from any thread; a second call does nothing."""
        self._closed.set()
