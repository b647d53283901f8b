"""Between two connections: was it the network, or did the broker die with what it had just acknowledged? No I/O."""

from __future__ import annotations

from math import inf

import msgspec

from edge.record import Record

HOLD_SECONDS = 0.5
"""So long a broker may take on a new connection to say how long it has been running."""
_SLACK_SECONDS = 1.0
"""How old its word may be, as ours is set up: it says so each second."""


class Outage(Record, frozen=True, kw_only=True):
    """From the end of one connection to the first word on the next. Times are seconds on the monotonic clock."""

    began: float
    settled: int
    """The number up to which the broker surely had everything on its disk."""
    ended: float = inf

    @property
    def hold_until(self) -> float:
        """When the broker's word on how long it has been running is waited for no more."""
        return self.ended + HOLD_SECONDS

    def over(self, now: float) -> Outage:
        """Return it with its end."""
        return msgspec.structs.replace(self, ended=now)

    def knowing(self, settled: int) -> Outage:
        """Return it with what the broker surely has, told later."""
        return msgspec.structs.replace(self, settled=settled)

    def was_restart(self, now: float, before: int, uptime: int, *, rarely: bool) -> bool:
        """Judge by how many seconds the broker says that it is running, before and now.

        One so young that it cannot be told is taken for restarted: then some verdicts arrive twice, but none is lost.
        Not so one that says it `rarely`: its word is old, and it is not set up to keep what it acknowledges anyway.
        """
        return uptime < before or (uptime <= now - self.began + _SLACK_SECONDS and not rarely)
