"""A live camera whose every frame is looked at: one that repeats itself has failed, and is to be opened anew.

The guard sees what is judged. On a line that is triggered now and then two parts would pass by a stale picture before
it noticed, and on one that waits for motion it would never see any.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge.camera.base import BadFrame
from edge.errors import CameraError
from edge.guard.guard import FROZEN, Stillness, may_be_still_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge.camera.base import Camera, Frame
    from edge.config import Config


def watch_over(open_camera: Callable[[], Camera], config: Config) -> Callable[[], Camera]:
    """Return what opens the camera so, where it can freeze and that is to be checked."""
    still_s = may_be_still_s(config.camera)
    if "frozen" not in config.guard.checks or still_s == math.inf:
        return open_camera
    stillness = Stillness(still_s)  # Of all its lives: one that is as frozen as before has not come back.
    return lambda: Watched(open_camera(), stillness)


class Watched:
    """As in Camera."""

    def __init__(self, camera: Camera, stillness: Stillness) -> None:
        self.keeps_pace = camera.keeps_pace
        self.live = camera.live
        self._camera = camera
        self._stillness = stillness

    def frames(self) -> Iterator[Frame | BadFrame | None]:
        """Yield the camera's frames, each picture once. Raises CameraError as it does, and if it repeats itself."""
        for frame in self._camera.frames():
            if frame is None or isinstance(frame, BadFrame):
                yield frame
                continue
            if self._stillness.lasts(frame):
                raise CameraError(FROZEN)
            yield None if self._stillness.repeats else frame  # Else it would stand for a part that came since.

    def close(self) -> None:
        """As in Camera."""
        self._camera.close()
