"""A live stream's packets, read as they come: what cannot be decoded in time is passed over, and never queues up."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from edge.camera.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_SECONDS = 2.0
"""Packets that are read so much later than the first that waits show that decoding is too slow for the stream."""
SHOWN_SECONDS = 0.5
"""Where newer packets wait, pictures are not shown, but one after so long, lest a slow device sees nothing at all."""

MOST_HELD = 16
"""Packets that a decoder may hold back to give their pictures in order: H.264 and H.265 allow no more."""


class Packet(NamedTuple):
    """What is to be decoded."""

    data: Any
    """PyAV's."""
    came: float
    """time.monotonic() seconds."""
    read: float
    """The same: it may have come while the stream was being opened, or was held up by the network, and waited since."""
    passed_over: int
    """How many before it are not to be decoded: with any, the decoder begins anew."""


class Packets:
    """Reads a container in a thread of its own, so that nothing waits in the network's buffers; closes it at the end.

    Beyond the newest key frame that waits, and beyond LONGEST_SECONDS, packets are passed over.
    """

    def __init__(self, container: Any, since: float) -> None:
        """`since`: when it was begun to be opened, in time.monotonic() seconds. What came meanwhile is read first."""
        self._container = container
        self._began, self._opened = since, time.monotonic()
        self._flow = Flow()
        self._first: float | None = None
        """The first packet's time stamp, in seconds."""
        self._waiting: deque[Packet] = deque()
        self._changed = threading.Condition()
        self._passed_over = 0
        self._needs_key = False
        self._error: BaseException | None = None
        self._is_at_end = self._is_left = False
        self._shown_at = time.monotonic()
        threading.Thread(target=self._read, name="stream", daemon=True).start()

    def __iter__(self) -> Iterator[Packet]:
        """Yield what is to be decoded next, to the stream's end; raises what reading raised. One iteration only."""
        try:
            while (packet := self._next()) is not None:
                yield packet
        finally:
            self.leave()

    def leave(self) -> None:
        """Have nothing read any more; from any thread, and at once."""
        with self._changed:
            self._is_left = True
            self._changed.notify_all()

    def is_outdated(self) -> bool:
        """Say whether what was just decoded need not be shown, since there is something newer."""
        with self._changed:
            if self._waiting and time.monotonic() - self._shown_at < SHOWN_SECONDS:
                return True
            self._shown_at = time.monotonic()
            return False

    def _next(self) -> Packet | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_at_end or self._is_left)
            if self._is_left:
                return None
            if self._waiting:
                return self._waiting.popleft()
            if self._error is not None:
                raise self._error
            return None

    def _read(self) -> None:
        try:
            for data in self._container.demux(video=0):
                with self._changed:
                    if self._is_left:
                        break
                    self._put(data, time.monotonic())
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the decoding thread raises it
            self._error = error
        with self._changed:
            self._is_at_end = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_left)  # Until then packets are decoded that belong to it.
        self._container.close()

    def _came(self, data: Any, now: float) -> float:
        """Return when a packet came, or, of those that waited while the stream was looked through, hardly before."""
        stamp = None if data.dts is None else float(data.dts * data.time_base)
        came = self._flow.came(now, stamp)
        if stamp is None:
            return came
        self._first = stamp if self._first is None else self._first
        waited = self._began + stamp - self._first
        return waited if self._began <= waited < self._opened else came

    def _put(self, data: Any, now: float) -> None:
        came = self._came(data, now)
        if data.is_keyframe:
            self._pass_over()
            self._needs_key = False
        elif self._waiting and now - self._waiting[0].read > LONGEST_SECONDS:
            self._pass_over()
            self._needs_key = True
        if self._needs_key:
            self._passed_over += 1
            return
        self._waiting.append(Packet(data, came, now, self._passed_over))
        self._passed_over = 0

    def _pass_over(self) -> None:
        self._passed_over += sum(1 + packet.passed_over for packet in self._waiting)
        self._waiting.clear()


class Arrived:
    """By when pictures were there: those with B-frames come out of the decoder some packets later than they went in."""

    def __init__(self) -> None:
        self._came: deque[tuple[int | None, float]] = deque(maxlen=MOST_HELD)

    def note(self, stamp: int | None, came: float) -> None:
        """Note when a packet came, in time.monotonic() seconds, with the time stamp of its picture, if it has one."""
        self._came.append((stamp, came))

    def at_latest(self, stamp: int | None) -> float:
        """Return when a picture with this time stamp, or one that was taken after it, came first.

        Without a time stamp, or of none that was noted: when the last packet came.
        """
        if stamp is None or stamp not in (each for each, _ in self._came):
            return self._came[-1][1]
        return min(came for each, came in self._came if each is not None and each >= stamp)
