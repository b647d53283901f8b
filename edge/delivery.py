"""What is on its way to the broker: how much at once, up to where all has arrived, and what comes late. No I/O.

Few are sent after a connection began, and none while the broker is silent: what it had received when a link broke, but
not acknowledged, is sent again and arrives twice.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from edge.ledger.rows import first_of, last_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.contract.messages import Gap
    from edge.ledger.rows import Row

IN_FLIGHT = 20
"""Sent and not yet acknowledged, at most."""
LIVE_SECONDS = 10.0
"""What is sent later than this after it was written is marked historical."""
_SHARE = 10
"""Of what waits so much is in flight: live verdicts one by one, a backlog by the window."""
_SILENCE_SECONDS = 0.05
_SILENCE_TIMES = 4
"""Without an answer for longer than this and so many usual answer times, nothing more is sent."""
_SMOOTHING = 0.125
"""Of the usual answer time (RFC 6298, 2.3)."""


class Delivery:
    """The window of one client. Times are seconds on the monotonic clock, of which none may be before another."""

    def __init__(self) -> None:
        self._waiting: deque[Row | Gap] = deque()
        self._flying: dict[int, tuple[Row | Gap, float]] = {}
        """By packet identifier, with when they were sent."""
        self._resent: set[int] = set()
        """In flight when the link broke: the client sends these again first, so newer ones wait for them."""
        self._read = 0
        self._most = IN_FLIGHT
        self._window = 1
        self._usual = 0.0

    def begin(self, delivered: int) -> None:
        """Count everything up to this number as delivered."""
        self._read = max(self._read, delivered)

    @property
    def read(self) -> int:
        """The number up to which everything was put here."""
        return self._read

    @property
    def delivered(self) -> int:
        """The number up to which everything has arrived."""
        flying = (entry for entry, _ in self._flying.values())
        return min((first_of(entry) - 1 for entry in (*flying, *list(self._waiting)[:1])), default=self._read)

    @property
    def idle(self) -> bool:
        """Whether all that was put here has arrived."""
        return not self._flying and not self._waiting

    @property
    def hungry(self) -> bool:
        """Whether more may be put here."""
        return len(self._waiting) < IN_FLIGHT

    def put(self, entries: Iterable[Row | Gap]) -> None:
        """Put what follows `read` here, in order."""
        for entry in entries:
            self._waiting.append(entry)
            self._read = last_of(entry)

    def next(self, now: float) -> Row | Gap | None:
        """Return what is to be sent now and then given to `sent`; None if that is nothing."""
        backlog = len(self._waiting) + len(self._flying)
        allowed = min(self._window, 1 + backlog // _SHARE)
        if not self._waiting or self._resent or len(self._flying) >= allowed or self._is_silent(now):
            return None
        return self._waiting.popleft()

    def sent(self, packet: int, entry: Row | Gap, now: float) -> None:
        """Note under which packet identifier it was sent."""
        self._flying[packet] = entry, now

    def landed(self, packet: int, now: float) -> bool:
        """Note that the broker acknowledged a packet; False if it is none of these."""
        if packet not in self._flying:
            return False
        _, since = self._flying.pop(packet)
        if packet not in self._resent:
            took = now - since
            self._usual += (took - self._usual) * (_SMOOTHING if self._usual else 1)
        self._resent.discard(packet)
        self._window = min(self._most, self._window + 1)
        return True

    def refused(self, packet: int) -> bool:
        """Note that the broker refused a packet, to be sent again in its place; False if it is none of these."""
        if packet not in self._flying:
            return False
        entry, _ = self._flying.pop(packet)
        self._resent.discard(packet)
        self._waiting = deque(sorted((entry, *self._waiting), key=first_of))
        return True

    def connected(self, most: int) -> None:
        """Begin anew on a connection that allows so many in flight."""
        self._most = max(1, min(IN_FLIGHT, most))
        self._window, self._usual = 1, 0.0

    def broken(self) -> None:
        """Note that the link broke."""
        self._resent = set(self._flying)

    def _is_silent(self, now: float) -> bool:
        oldest = next(iter(self._flying.values()), None)
        return oldest is not None and now - oldest[1] > max(_SILENCE_SECONDS, _SILENCE_TIMES * self._usual)


class Lateness:
    """Tells which verdicts are not live any more."""

    def __init__(self, last: int) -> None:
        """Count all up to `last` as late: they were written before this start."""
        self._late = last
        self._written: deque[tuple[int, float]] = deque()

    def written(self, last: int, now: float) -> None:
        """Note that verdicts up to this number were written now."""
        self._forget(now)
        self._written.append((last, now))

    def is_late(self, number: int, now: float) -> bool:
        """Say whether a verdict was written longer than LIVE_SECONDS ago."""
        self._forget(now)
        return number <= self._late

    def _forget(self, now: float) -> None:
        while self._written and now - self._written[0][1] > LIVE_SECONDS:
            self._late = self._written.popleft()[0]
