"""Pictures of what was judged DEFECT or UNKNOWN: made in a thread of their own, kept as files until they are sent."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from io import BytesIO
from math import inf
from queue import Full, Queue
from typing import TYPE_CHECKING

import numpy as np

from edge.album import Picture
from edge.camera.base import BadFrame
from edge.contract.messages import Verdict
from edge.contract.preprocess import crop
from edge.errors import CameraError
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.camera.base import Frame
    from edge.contract.preprocess import ChannelOrder, Pixels, Region, Rotation
    from edge.judge import Judged

log = logging.getLogger(__name__)

LARGEST = 256 << 10
"""Bytes of a picture."""
_QUALITIES = (85, 70, 55, 40)
"""Of JPEG, in turn, until it fits; then half the size, and so on."""
_WAITING = 4
"""Frames of 720p take 11 MB: more are not kept waiting."""
_UNKNOWN_SECONDS = 1.0
"""Between pictures of UNKNOWN: a dirty lens makes every frame one."""


class _Shot(Record, frozen=True):
    picture: Picture
    pixels: Pixels
    order: ChannelOrder


def as_judged(pixels: Pixels, area: Region, rotate: Rotation) -> Pixels:
    """Return what the model saw of a frame, before it was made smaller: a picture to learn from. A view."""
    return np.rot90(crop(pixels, area), -rotate // 90)


def to_jpeg(pixels: Pixels, order: ChannelOrder) -> bytes:
    """Return uint8 pixels [h, w] or [h, w, 3] as a JPEG of LARGEST bytes at most: quality gives way, then size."""
    from PIL import Image

    image = Image.fromarray(pixels if order == "RGB" or pixels.ndim == 2 else pixels[..., ::-1])  # noqa: PLR2004
    while True:
        for quality in _QUALITIES:
            file = BytesIO()
            image.save(file, "JPEG", quality=quality)
            if file.tell() <= LARGEST:
                return file.getvalue()
        image = image.reduce(2)


class Evidence:
    """Takes frames that were judged, and keeps pictures of those that somebody will want to see."""

    def __init__(self, keep: Callable[[Picture, bytes], None], rotate: Rotation = 0) -> None:
        """Begin; `keep` gets each picture's JPEG, turned clockwise by `rotate` degrees, in a thread of its own."""
        self._rotate = rotate
        self.skipped = 0
        """Frames that were to be pictured and were not: others were still being made, or it cannot be."""
        self._keep = keep
        self._unknown_at = -inf
        self._shots: Queue[_Shot | None] = Queue(_WAITING)
        """None: nothing comes any more."""
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)
        self._thread.start()

    def take(self, judged: Judged, frame: Frame | BadFrame, *, asked: bool = False) -> bool:
        """Picture what was judged of a frame, if its verdict wants it or somebody asked; never waits.

        Returns whether there will be a picture.
        """
        event = judged.event
        if isinstance(frame, BadFrame) or not (self._is_wanted(event.verdict) or asked):
            return False
        try:
            pixels = as_judged(frame.picture(), judged.area, self._rotate)
            self._shots.put_nowait(_Shot(Picture(event.id, event.verdict), pixels, frame.order))
        except Full:
            self.skipped += 1
            return False
        except CameraError as error:
            self.skipped += 1
            log.warning("no picture of %s: %s", event.id, error)
            return False
        return True

    def stop(self, timeout: float) -> None:
        """Finish the pictures that were begun, waiting this long at most."""
        deadline = time.monotonic() + timeout
        with suppress(Full):
            self._shots.put(None, timeout=timeout)
            self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            log.warning("%d pictures were not finished", self._shots.qsize() or 1)

    def _is_wanted(self, verdict: Verdict) -> bool:
        now = time.monotonic()
        if verdict is Verdict.UNKNOWN and now - self._unknown_at < _UNKNOWN_SECONDS:
            return False
        self._unknown_at = now if verdict is Verdict.UNKNOWN else self._unknown_at
        return verdict is not Verdict.PASS

    def _run(self) -> None:
        while (shot := self._shots.get()) is not None:
            try:
                self._keep(shot.picture, to_jpeg(shot.pixels, shot.order))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the next may be made
                self.skipped += 1
                log.warning("no picture of %s: %s", shot.picture.event, error)
