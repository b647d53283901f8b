"""A folder that pictures are put into while the line runs, as a camera."""

from __future__ import annotations

import logging
import os
import time
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from edge.camera.arrivals import arrivals
from edge.camera.base import BadFrame, Frame
from edge.camera.decoding import has_end
from edge.camera.folder import text
from edge.camera.pace import Pacer
from edge.contract.pictures import load_picture
from edge.errors import CameraError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.camera.arrivals import Arrival
    from edge.contract.preprocess import Pixels
    from edge.sections.cameras import FolderConfig

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""From one look to the next: a picture that both find alike is tried."""
LOOK_SHARE = 4
"""A look that takes long, of a million files or over a network, is followed by a pause of so many times its length."""
RETRY_SECONDS = 1.0
"""Before a picture that could not be read is tried again: a share may show a file's size before its content."""
DAMAGED_SECONDS = 10.0
"""A picture that was not changed for so long, and cannot be read, never will be."""
_JPEG = (".jpg", ".jpeg")
_TAIL_BYTES = 65_536


class WatchedFolder:
    """Shows each picture that appears after the first look, once it is complete, in the order of their times.

    A frame's source is its path in the folder, with forward slashes; it counts as exposed when it was first seen.
    `live`: a trigger from outside gets the next picture, and none that came before it without a trigger, for else one
    picture too many would shift all verdicts by a part. Raises CameraError on creation for a folder that is unreadable.
    """

    keeps_pace = True
    live = True

    def __init__(self, config: FolderConfig) -> None:
        self._folder = config.path
        self._pacer = Pacer(config.rate)
        self._shown = 0
        try:
            self._arrivals = arrivals(config.path)
        except OSError as error:
            raise self._error(error) from error

    def frames(self) -> Iterator[Frame | BadFrame | None]:
        """Yield pictures as they come, one that stays damaged as BadFrame, and None after each look, and now and then.

        Raises CameraError where the folder cannot be read any more.
        """
        while not self._pacer.stopped:
            began = time.monotonic()
            self._look()
            pause = max(LOOK_SECONDS, LOOK_SHARE * (time.monotonic() - began))
            for arrival in sorted(self._arrivals.waiting.values(), key=lambda each: each.came):
                if (frame := self._judged(arrival)) is None:
                    continue
                yield from self._pacer.pause(self._pacer.left)
                if not self._pacer.wait():
                    return
                self._arrivals.done(arrival)
                yield frame
            yield None
            yield from self._pacer.pause(pause)

    def close(self) -> None:
        """End `frames` before its next picture; from any thread."""
        self._pacer.stop()

    def _look(self) -> None:
        try:
            gone = self._arrivals.look()
        except OSError as error:
            raise self._error(error) from error
        for arrival in gone:
            log.warning("camera.path %s: %s went, before it was complete", self._folder, self._source(arrival))

    def _judged(self, arrival: Arrival) -> Frame | BadFrame | None:
        """Return what an arrival has become, None: nothing yet."""
        now = time.monotonic()
        if not arrival.is_still or now < arrival.try_at:
            return None
        try:
            pixels = _load(arrival)
        except FileNotFoundError:
            return self._bad(arrival, "was taken away before it was judged")
        except (DataError, OSError) as error:
            arrival.try_at = now + RETRY_SECONDS
            return self._bad(arrival, text(str(error))) if now - arrival.changed_at >= DAMAGED_SECONDS else None
        if pixels is None:
            return None
        self._shown += 1
        return Frame(self._shown, self._source(arrival), arrival.seen_at, pixels)

    def _bad(self, arrival: Arrival, reason: str) -> BadFrame:
        self._shown += 1
        return BadFrame(self._shown, self._source(arrival), arrival.seen_at, reason)

    def _source(self, arrival: Arrival) -> str:
        return text(Path(arrival.path).relative_to(self._folder).as_posix())

    def _error(self, error: OSError) -> CameraError:
        name = text(str(Path(error.filename or self._folder)))
        return CameraError(f"camera.path {name}: {error.strerror}; it is looked for again and again")


def _load(arrival: Arrival) -> Pixels | None:
    """Read a picture; None: it changes meanwhile. Raises DataError for a damaged one, FileNotFoundError for none."""
    arrival.look()
    if not arrival.is_still:
        return None
    path = Path(arrival.path)
    if path.is_file() and (missing := _missing(path)):  # Of anything else the next line says that it is no picture.
        raise DataError(f"{path}: not a readable picture ({missing})")
    pixels = load_picture(path)
    arrival.look()
    return pixels if arrival.is_still else None


def _missing(path: Path) -> str:
    """Say what of a picture was not written yet; empty: nothing that shows.

    Where room was made in advance, zeros stand: grey or black to a decoder, and most formats have no checksum.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if _hole(file.fileno()) < size:
            return "parts of it were never written"
        file.seek(max(0, size - _TAIL_BYTES))
        return "this JPEG has no end" if path.suffix.lower() in _JPEG and not has_end(file.read()) else ""


def _hole(file: int) -> float:
    """Return where the first part of a file is that was never written, inf where its disk does not know."""
    try:
        return os.lseek(file, 0, os.SEEK_HOLE)
    except OSError:
        return inf
