"""A camera that renders cutting inserts: the demo, tests and load runs need no hardware."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from edge.camera.base import Frame
from edge.camera.pace import Pacer
from edge.synthetic import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.sections.cameras import SyntheticConfig


class SyntheticCamera:
    """Parts (seed, 0), (seed, 1), ... at the configured rate; a frame's source is `<truth>/<seed>-<index>`."""

    def __init__(self, config: SyntheticConfig) -> None:
        self.keeps_pace = config.rate == 0
        self.live = False
        self._config = config
        self._pacer = Pacer(config.rate)

    def frames(self) -> Iterator[Frame | None]:
        """Yield parts, None in between, until the configured number is reached or the camera is closed.

        A part that takes longer to render than the rate allows comes late; none is made up for in a burst.
        """
        config = self._config
        for index in range(config.frames) if config.frames else itertools.count():
            yield from self._pacer.pause(self._pacer.left)
            # Only when it is due: rendered ahead, it would hold up the judging of the one before.
            if not self._pacer.wait():
                return
            part = render(config.seed, index, height=config.height, width=config.width)
            yield Frame(index + 1, f"{part.label}/{config.seed}-{index:06d}", time.monotonic(), part.pixels)

    def close(self) -> None:
        """End `frames`, from any thread; a second call does nothing."""
        self._pacer.stop()
