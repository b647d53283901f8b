"""Pictures in a folder as a camera: for trials, held-out sets and lines that drop files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge.camera.base import BadFrame, Frame
from edge.camera.pace import Pacer
from edge.contract.pictures import SUFFIXES, list_pictures, load_picture
from edge.errors import CameraError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.sections.cameras import FolderConfig


class FolderCamera:
    """Shows the pictures that a folder holds when it is opened, by name, subfolders included.

    A frame's source is the picture's path in the folder, with forward slashes. Raises CameraError on
    creation for a folder that is missing, unreadable or without pictures.
    """

    def __init__(self, config: FolderConfig) -> None:
        self.keeps_pace = config.rate == 0
        self.live = False
        self._folder = config.path
        self._loop = config.loop
        self._pictures = _pictures(config.path)
        self._pacer = Pacer(config.rate)
        self._shown = 0

    def frames(self) -> Iterator[Frame | BadFrame | None]:
        """Yield each picture once, or without end if the camera loops; a damaged one as BadFrame, None in between."""
        while True:
            for path in self._pictures:
                yield from self._pacer.pause(self._pacer.left)
                if not self._pacer.wait():
                    return
                yield self._load(path)
            if not self._loop:
                return

    def close(self) -> None:
        """End `frames` before its next picture; from any thread."""
        self._pacer.stop()

    def _load(self, path: Path) -> Frame | BadFrame:
        self._shown += 1
        source = text(path.relative_to(self._folder).as_posix())
        exposed = time.monotonic()
        try:
            return Frame(self._shown, source, exposed, load_picture(path))
        except DataError as error:
            return BadFrame(self._shown, source, exposed, text(str(error)))


def _pictures(folder: Path) -> list[Path]:
    try:
        found = list_pictures(folder)
    except DataError as error:
        raise CameraError(f"camera.path {text(str(error))}") from error
    if not found:
        raise CameraError(f"camera.path {folder}: holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return found


def text(name: str) -> str:
    """Escape the bytes of a file name that are not UTF-8: a message could not carry them."""
    return name.encode("utf-8", "backslashreplace").decode()
