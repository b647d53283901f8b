"""A watched folder that tests put pictures into, and that looks when they say so."""

from __future__ import annotations

import os
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from edge.camera import open_camera
from edge.camera.base import BadFrame, Frame
from edge.sections.cameras import FolderConfig

if TYPE_CHECKING:
    from pathlib import Path


def encoded(form: str = "PNG", grey: int = 0, size: tuple[int, int] = (96, 64)) -> bytes:
    """Encode a picture whose first line is grey, and the rest noise: no half of it is all of it."""
    file = BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), np.uint8)
    pixels[:16] = grey
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


WHOLE = encoded()


class Watch:
    """A watched folder, looked at when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.camera = open_camera(FolderConfig(path=folder, watch=True))
        self._frames = self.camera.frames()

    def look(self, times: int = 3) -> list[Frame | BadFrame]:
        """Return what comes in so many looks; a picture takes two: one finds it, and one finds it as it was."""
        found: list[Frame | BadFrame] = []
        while times:
            frame = next(self._frames)
            if frame is None:
                times -= 1
            else:
                found.append(frame)
        return found

    def sources(self, times: int = 3) -> list[str]:
        """Return where they came from; none is damaged."""
        found = self.look(times)
        assert all(isinstance(frame, Frame) for frame in found)
        return [frame.source for frame in found]


def put(path: Path, content: bytes = WHOLE, *, at: float | None = None) -> Path:
    """Write a picture in one go; `at` is its time, in seconds of the epoch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if at is not None:
        os.utime(path, (at, at))
    return path
