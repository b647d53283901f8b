"""Keeps the camera and the judging apart: capture never waits for inference, the newest frame wins."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from edge.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.camera.base import BadFrame, Camera, Frame

log = logging.getLogger(__name__)


class Capture:
    """Opens and reads a camera in a thread of its own and hands over one frame at a time.

    A frame that was not taken is overwritten by the next one and counted as dropped; a camera that keeps pace
    waits until each is taken. Before the first `take` a live camera's frames pass uncounted, any other's first waits.
    """

    def __init__(self, open_camera: Callable[[], Camera]) -> None:
        self.captured = 0
        """Frames that the camera delivered; of those from before the first `take`, the newest only."""
        self.dropped = 0
        """Captured frames that a newer one overtook."""
        self._open = open_camera
        self._camera: Camera | None = None
        self._frame: Frame | BadFrame | None = None
        self._judging = False
        self._error: BaseException | None = None
        self._ended = False
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """True when the camera has no more frames and the last one was taken; one that failed is for `take` to tell."""
        with self._changed:
            return self._ended and self._frame is None and self._error is None

    def wait_until_open(self) -> None:
        """Return when the camera is open; raises CameraError if it does not open."""
        with self._changed:
            self._changed.wait_for(lambda: self._camera is not None or self._ended)
            if self._camera is None and self._error is not None:
                raise self._error

    def take(self, timeout: float) -> Frame | BadFrame | None:
        """Return the newest frame, waiting at most `timeout` seconds; None if none came.

        Raises what the camera raised (CameraError), once the frames before it were taken.
        """
        with self._changed:
            self._judging = True
            self._changed.wait_for(lambda: self._frame is not None or self._ended, timeout)
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            self._changed.notify_all()
        return frame

    def leave(self, timeout: float) -> None:
        """Take nothing for `timeout` seconds: a camera that keeps pace waits, any other's frames are dropped.

        Raises what the camera raised (CameraError) at once; the frame before it counts as dropped.
        """
        with self._changed:
            self._judging = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._error is not None, timeout)
            if self._error is not None:
                self.dropped += self._frame is not None
                self._frame = None
                raise self._error

    def stop(self, timeout: float) -> bool:
        """Close the camera and wait for its thread; False if one still hangs after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        closer = threading.Thread(target=self._close, name="camera-close", daemon=True)
        closer.start()
        for thread in (closer, self._thread):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not closer.is_alive() and not self._thread.is_alive()

    def _close(self) -> None:
        try:
            if self._camera is not None:
                self._camera.close()
        except CameraError as error:
            log.warning("the camera did not close cleanly: %s", error)

    def _read(self) -> None:
        try:
            camera = self._open()
            with self._changed:
                self._camera = camera
                self._changed.notify_all()
            if self._stopped:  # While it opened: `stop` had nothing to close yet.
                self._close()
            self._hand_over(camera)
        except BaseException as error:  # noqa: BLE001 - whatever it is, `take` raises it in the judging thread
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _hand_over(self, camera: Camera) -> None:
        for frame in camera.frames():
            with self._changed:
                if camera.keeps_pace:
                    self._changed.wait_for(lambda: self._frame is None or self._stopped)
                if self._stopped:
                    return
                overtakes = self._frame is not None
                if self._judging or not overtakes:  # What a live camera sees while the model loads is no part's loss.
                    self.captured += 1
                    self.dropped += overtakes
                self._frame = frame
                self._changed.notify_all()
                if not camera.live:  # Only now does the next frame's time begin to run.
                    self._changed.wait_for(lambda: self._judging or self._stopped)
