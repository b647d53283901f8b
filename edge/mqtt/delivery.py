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
_SHORT_SECONDS = 0.05
"""Up to this usual answer time twenty verdicts a second go one by one."""
_SILENCE_SECONDS = 0.05
_SILENCE_TIMES = 4
"""Without an answer for longer than this and so many usual answer times, nothing more is sent."""
_SMOOTHING = 0.125
"""Of the usual answer time (RFC 6298, 2.3)."""
_LIVE, _HISTORICAL = b'"historical":false}', b'"historical":true}'
"""How a verdict's JSON ends."""


class Delivery:
    """The window of one client. Times are seconds on the monotonic clock, of which none may be before another."""

    def __init__(self) -> None:
        self._waiting: deque[Row | Gap] = deque()
        self._flying: dict[int, tuple[Row | Gap, float]] = {}
        """By packet identifier, with when they were sent."""
        self._stale: set[int] = set()
        """Packets whose answer says nothing any more, but is still to come."""
        self._delivered = self._settled = self._read = 0
        self._refused: int | None = None
        """The number of one that was refused: until it is taken it goes alone, so that nothing more overtakes it."""
        self._window = 1
        self._usual = 0.0

    @property
    def read(self) -> int:
        """The number up to which everything was put here."""
        return self._read

    @property
    def delivered(self) -> int:
        """The number up to which the broker has acknowledged everything."""
        return self._delivered

    @property
    def settled(self) -> int:
        """The number up to which the broker has it on its disk, too, if it is set up to have it there."""
        return self._settled

    def settle(self, number: int) -> None:
        """Note that the broker has all on its disk up to a number, which it had acknowledged."""
        self._settled = max(self._settled, min(number, self._delivered))

    @property
    def idle(self) -> bool:
        """Whether all that was put here has arrived."""
        return not self._flying and not self._waiting

    @property
    def flying(self) -> int:
        """How many the broker has still to answer."""
        return len(self._flying) + len(self._stale)

    @property
    def is_light(self) -> bool:
        """Whether hardly any wait here: what is on its way over a long link is no backlog."""
        return len(self._waiting) < _SHARE

    @property
    def hungry(self) -> bool:
        """Whether more may be put here: a backlog shows here as one, so that a long way gets its whole window."""
        return len(self._waiting) < IN_FLIGHT * _SHARE

    def put(self, entries: Iterable[Row | Gap]) -> None:
        """Put what follows `read` here, in order."""
        for entry in entries:
            self._waiting.append(entry)
            self._read = last_of(entry)

    def next(self, now: float) -> Row | Gap | None:
        """Return what is to be sent now and then given to `sent`; None if that is nothing."""
        backlog = len(self._waiting) + len(self._flying)
        # On a long way one at a time would be too slow for what comes: there, fewer have to wait for the next to go.
        share = max(1, min(_SHARE, int(_SHARE * _SHORT_SECONDS / self._usual))) if self._usual else _SHARE
        allowed = min(self._window, 1 + backlog // share) if self._refused is None else 1
        if not self._waiting or len(self._flying) >= allowed or self._is_silent(now):
            return None
        return self._waiting.popleft()

    def sent(self, packet: int, entry: Row | Gap, now: float) -> None:
        """Note under which packet identifier it was sent."""
        self._flying[packet] = entry, now

    def landed(self, packet: int, now: float) -> Row | Gap | None:
        """Note that the broker acknowledged a packet, and return what that was; None: it is none of these."""
        self._stale.discard(packet)
        if packet not in self._flying:
            return None
        entry, since = self._flying.pop(packet)
        self._refused = None if first_of(entry) == self._refused else self._refused
        self._usual += (now - since - self._usual) * (_SMOOTHING if self._usual else 1)
        self._window = min(IN_FLIGHT, self._window + 1)
        self._note()
        return entry

    def refused(self, packet: int) -> Row | Gap | None:
        """Note that the broker refused a packet, and return what is sent again in its place; None: it is none of these.

        What was on its way with it may overtake it, and nothing more.
        """
        self._stale.discard(packet)
        if packet not in self._flying:
            return None
        entry, _ = self._flying.pop(packet)
        self._refused = min(first_of(entry), self._refused or first_of(entry))
        self.put_back(entry)
        return entry

    def put_back(self, entry: Row | Gap) -> None:
        """Have what could not be sent wait in its place."""
        self._waiting = deque(sorted((entry, *self._waiting), key=first_of))

    def begin(self) -> None:
        """Begin on a connection."""
        self._window, self._usual = 1, 0.0
        self.rewind(self.delivered)
        self._stale.clear()

    def rewind(self, after: int) -> None:
        """Begin behind a number: that and no more has arrived."""
        self._stale |= self._flying.keys()
        self._waiting.clear()
        self._flying.clear()
        self._read, self._refused = after, None
        if after != self._delivered:
            self._delivered = self._settled = after

    def _note(self) -> None:
        open_ones = [entry for entry, _ in self._flying.values()] + list(self._waiting)[:1]
        self._delivered = max(self._delivered, min((first_of(entry) - 1 for entry in open_ones), default=self._read))

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


def historical(row: Row) -> bytes:
    """Return a verdict's JSON, marked historical."""
    return row.json.removesuffix(_LIVE) + _HISTORICAL
