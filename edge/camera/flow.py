"""When a live stream's packets came: now, or before, where the network held them up. No I/O."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

HELD_UP_SECONDS, HELD_UP = 0.25, 3.0
"""Without a packet, and times as long as usual: the network may hold some up."""
ACCEPTED_SECONDS = 60.0
"""After which what comes late is as new as it gets, as if the stream had just been opened."""
_REMEMBERED = 64
"""Packets by which the usual pace is known."""
_KNOWN, _TRUE = 8, 0.1
"""So many of them at least, and by which share a stream's clock may differ from ours: some count pictures only."""
_SLOWEST = 3
"""Times as long as the network held them up: by then packets without a clock are new again, however few there were."""


class _Hold(NamedTuple):
    """The last packet before the network held others up, and how they are known."""

    read: float
    stamp: float | None
    """By the stream's clock, in seconds; None: that does not go as ours does."""
    usual: float
    """Seconds from one packet to the next; 0: not known."""
    until: float


class Flow:
    """Looks at each packet of a stream. Times are time.monotonic() seconds."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._stamp: float | None = None
        """Of the last packet."""
        self._gaps: deque[float] = deque(maxlen=_REMEMBERED)
        self._advances: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        """From packet to packet, by our clock and by the stream's."""
        self._hold: _Hold | None = None
        self._count = 0
        """Packets since then."""

    def came(self, read: float, stamp: float | None) -> float:
        """Return when a packet came, at the earliest, that is read now, with its time by the stream's clock, if any."""
        gap = 0.0 if self._last is None else read - self._last
        most = max(HELD_UP_SECONDS, HELD_UP * self._usual)
        if gap > most and self._hold is None and self._last is not None:
            self._hold = self._held(self._last, gap)
            self._count = 0
        if self._hold is None or gap > most:  # What comes in a burst says nothing of the pace.
            self._gaps.append(min(gap, most))
        if self._hold is None and stamp is not None and self._stamp is not None:
            self._advances.append((gap, stamp - self._stamp))
        self._last, self._stamp = read, stamp
        return read if self._hold is None else self._of_burst(self._hold, read, stamp)

    @property
    def _usual(self) -> float:
        return sum(self._gaps) / len(self._gaps) if self._gaps else 0.0

    def _held(self, last: float, gap: float) -> _Hold:
        ours, theirs = (sum(each) for each in zip(*self._advances, strict=True)) if self._advances else (0.0, 0.0)
        if len(self._advances) >= _KNOWN and abs(theirs - ours) <= _TRUE * ours:
            return _Hold(last, self._stamp, self._usual, last + ACCEPTED_SECONDS)
        return _Hold(last, None, self._usual, last + min(ACCEPTED_SECONDS, (1 + _SLOWEST) * gap))

    def _of_burst(self, hold: _Hold, read: float, stamp: float | None) -> float:
        """Return when a packet came that the network may have held up, and end that where it has not."""
        self._count += 1
        came = hold.read
        if hold.stamp is not None and stamp is not None:
            came = min(read, hold.read + stamp - hold.stamp)
            is_new = read - came < HELD_UP_SECONDS
        else:  # As many as there must have been meanwhile.
            is_new = self._count * hold.usual > read - hold.read - HELD_UP_SECONDS or not hold.usual
        if is_new or read > hold.until:
            self._hold = None
            return read
        return came
