"""Keeps the camera and the judging apart: capture never waits for inference, the newest frame wins."""

from __future__ import annotations

import logging
import threading
import time
from math import inf
from typing import TYPE_CHECKING

from edge.camera.base import BadFrame
from edge.errors import CameraError
from edge.threads import Pulse, fatal
from edge.wishes import Wishes

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.camera.base import Camera, Frame
    from edge.wishes import Wish

log = logging.getLogger(__name__)

REOPEN_SECONDS = (0.5, 8.0)
"""Before a camera that failed is opened again: doubled by each failure, from the first of these to the second."""
CLOSE_SECONDS = 5.0
"""For a camera that failed to close: one that does not keeps its hardware, until the process ends."""
HANG_SECONDS = 40.0
"""Without a frame, a failure or an attempt to open it. Every camera tells sooner; a driver, or a
share that holds files, may not come back at all."""
_LOOK_SECONDS = 1.0
"""Between two looks whether the start hangs."""


class Capture:
    """Opens and reads a camera in a thread of its own and hands over one frame at a time.

    A frame that was not taken is overwritten by the next one and counted as dropped; a camera that keeps pace
    waits until each is taken. Before the first `take` a live camera's frames pass uncounted, any other's first waits.
    """

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        *,
        reopens: bool = False,
        on_demand: bool = False,
        silence_s: float = inf,
    ) -> None:
        """Begin; `reopens`: a camera that is not there, or fails, is opened again and again, `trouble` says why.

        `on_demand`: frames are not taken but expected; of what a live camera shows besides nothing is counted.
        `silence_s`: without a word from a camera for so long `missing` says so.
        """
        self.captured = 0
        """Frames that the camera delivered; of those from before the first `take`, the newest only."""
        self.dropped = 0
        """Captured frames that a newer one overtook."""
        self.failures = 0
        """How often a camera that is opened again did not open, or failed."""
        self.trouble = ""
        """What the camera failed with, until it gives frames again; empty: nothing."""
        self._silence = silence_s
        self._open = open_camera
        self._reopens = reopens
        self._on_demand = on_demand
        self._wishes = Wishes()
        self._camera: Camera | None = None
        self._frame: Frame | BadFrame | None = None
        self._judging = False
        self._error: Exception | None = None
        self._ended = False
        self._stopped = False
        self._pulse = Pulse()
        """Of the camera's thread."""
        self._is_held = False
        """Whether it waits for the judging."""
        self._in_a_row = 0
        """Failures without a frame between them."""
        self.changed = threading.Condition()
        """Held while frames and wishes are touched; hears of each frame and of each failure."""
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """True when the camera has no more frames and the last one was taken; one that failed is for `take` to tell."""
        with self.changed:
            return self._ended and self._frame is None and self._error is None

    def wait_until_open(self, timeout: float = inf) -> None:
        """Return when the camera is open, or is to be opened again; raises CameraError if it does neither, or hangs.

        `timeout`: in seconds, for those who cannot wait for a slow one that is not opened again.
        """
        until = time.monotonic() + timeout
        with self.changed:
            while not (self._camera is not None or self._ended or self.trouble):
                if time.monotonic() >= until:
                    raise CameraError(f"the camera did not open within {timeout:g} s; restart it, or what serves it")
                self.changed.wait(min(_LOOK_SECONDS, max(0.0, until - time.monotonic())))
                self.check()
            if self._camera is None:
                self.check()

    def take(self, timeout: float) -> Frame | BadFrame | None:
        """Return the newest frame, waiting at most `timeout` seconds; None if none came.

        Raises what the camera raised (CameraError), once the frames before it were taken, and if it hangs.
        """
        with self.changed:
            self._judging = True
            self.changed.wait_for(lambda: self._frame is not None or self._ended, timeout)
            frame, self._frame = self._frame, None
            if frame is None:
                self.check()
            self.changed.notify_all()
        return frame

    def expect(self, instant: float) -> Wish:
        """Have a frame kept that is exposed then or later; of a camera that is not live the next one."""
        with self.changed:
            self.changed.notify_all()
            return self._wishes.add(instant)

    def forget(self, wish: Wish | None) -> None:
        """Expect that frame no more."""
        with self.changed:
            self._wishes.forget(wish)

    def leave(self, timeout: float) -> None:
        """Take nothing for `timeout` seconds: a camera that keeps pace waits, any other's frames are dropped.

        Raises what the camera raised (CameraError) at once; the frame before it counts as dropped.
        """
        with self.changed:
            self._judging = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: self._error is not None, timeout)
            if self._error is not None:
                self.dropped += self._frame is not None
                self._frame = None
            self.check()

    def stop(self, timeout: float) -> bool:
        """Close the camera and wait for its thread; False if one still hangs after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self.changed:
            self._stopped = True
            self.changed.notify_all()
        is_closed = self._close(timeout)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return is_closed and not self._thread.is_alive()

    def check(self) -> None:
        """Raise what the camera raised (CameraError), or that it hangs."""
        if (failure := self.failure) is not None:
            raise failure

    @property
    def failure(self) -> Exception | None:
        """What the camera raised (CameraError), or that it hangs: no frame comes any more. None: neither."""
        opens = self._camera is None and not self._reopens  # A long list of files takes its time.
        if self._error is None and not opens and self._silent > HANG_SECONDS:
            who = "the camera's driver, or the disk of its files,"
            return CameraError(f"{who} has not come back for {HANG_SECONDS:g} s; a new start may free it")
        return self._error

    @property
    def missing(self) -> str:
        """Why no frame comes at present, also where nobody says so; empty if they come."""
        if self.trouble or not self._reopens or self._silent <= self._silence:
            return self.trouble
        problem = f"the camera's driver has not come back for {self._silence:g} s"
        return f"{problem}; after {HANG_SECONDS:g} s the daemon starts anew; if that does not free it, check its cable"

    @property
    def _silent(self) -> float:
        """Seconds without anything from the camera's thread, where something is due."""
        if self._is_held or self._ended:
            self._pulse.beat()
        return self._pulse.silent

    def _close(self, timeout: float) -> bool:
        """Close the camera; False if that takes longer."""
        closer = threading.Thread(target=self._try_to_close, name="camera-close", daemon=True)
        closer.start()
        closer.join(timeout)
        return not closer.is_alive()

    def _try_to_close(self) -> None:
        try:
            if (camera := self._camera) is not None:
                camera.close()
        except Exception as error:  # noqa: BLE001 - whatever it says, it is opened anew, or the process ends
            log.warning("the camera did not close cleanly: %s", error)

    # --- the camera's thread

    def _run(self) -> None:
        try:
            while not self._serve():
                pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, `take` raises it in the judging thread
            self._error = fatal(error)
        finally:
            with self.changed:
                self._ended = True
                self.changed.notify_all()

    def _serve(self) -> bool:
        """Open the camera and hand over its frames; False: it failed, and is to be opened once more."""
        try:
            camera = self._open()
            with self.changed:
                self._camera = camera
                self._pulse.beat()
                self.changed.notify_all()
            if self._stopped:  # While it opened: `stop` had nothing to close yet.
                self._try_to_close()
            self._hand_over(camera)
        except CameraError as error:
            if not self._reopens or self._stopped:
                raise
            self._lose(error)
        else:
            return True
        return self._stopped

    def _lose(self, error: CameraError) -> None:
        """Let go of a camera that failed, and wait before it is opened again."""
        if not self.trouble:
            log.warning("%s; it is opened again and again", error)
        if not self._close(CLOSE_SECONDS):
            raise CameraError(f"{error}; nor does it close: a new start may free it") from error
        first, longest = REOPEN_SECONDS
        pause = min(longest, first * 2.0 ** min(self._in_a_row, 10))
        self.failures += 1
        self._in_a_row += 1
        with self.changed:
            self._camera = None
            self.trouble = str(error)
            self.changed.notify_all()
            self._pulse.beat()
            self.changed.wait_for(lambda: self._stopped, pause)
        self._pulse.beat()

    def _hand_over(self, camera: Camera) -> None:
        for frame in camera.frames():
            with self.changed:
                if frame is None:
                    self._note_alive()
                    continue
                if self._on_demand and not camera.live:
                    self._hold(self._wishes.are_open)
                elif camera.keeps_pace:
                    self._hold(lambda: self._frame is None)
                if self._stopped:
                    return
                if self._on_demand:
                    self.captured += self._wishes.grant(frame, camera)
                else:
                    self._put(frame)
                self._note_alive(is_well=not isinstance(frame, BadFrame))
                if not (camera.live or self._on_demand):  # Only now does the next frame's time begin to run.
                    self._hold(lambda: self._judging)

    def _hold(self, until: Callable[[], bool]) -> None:
        """Have the camera wait for the judging: meanwhile it does not hang."""
        self._is_held = True
        self.changed.wait_for(lambda: until() or self._stopped)
        self._is_held = False
        self._pulse.beat()

    def _put(self, frame: Frame | BadFrame) -> None:
        overtakes = self._frame is not None
        if self._judging or not overtakes:  # What a live camera sees while the model loads is no part's loss.
            self.captured += 1
            self.dropped += overtakes
        self._frame = frame

    def _note_alive(self, *, is_well: bool = True) -> None:
        """Note that the camera's thread goes on; a camera that failed is well again with its first good frame."""
        self._pulse.beat()
        if is_well:
            if self.trouble:
                log.info("the camera gives frames again")
            self.trouble, self._in_a_row = "", 0
        self.changed.notify_all()
