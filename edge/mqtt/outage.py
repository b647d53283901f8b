"""What a broker that dies may lose of what it acknowledged, and whether one did, or the network broke. No I/O.

mosquitto acknowledges, and writes what it changed at the end of the same turn of its loop, however long its disk takes
for that. So all that it had acknowledged before something was sent is on its disk when that is answered.
"""

from __future__ import annotations

from math import inf

import msgspec

from edge.record import Record

HOLD_SECONDS = 0.5
"""So long a broker may take on a new connection to say how long it has been running."""
PROOF_SECONDS = 0.25
"""Between two questions whether what a broker has acknowledged is on its disk."""
_OFTEN_SECONDS = 2
"""A broker that says how long it has been running is set up by us if it does so this often: ours does each second."""
_SLACK_SECONDS = 1.0
"""How old its word may be then."""


class Proof:
    """The question whether the broker goes on: what it had acknowledged before it was asked is on its disk then."""

    def __init__(self) -> None:
        self._asked: tuple[int, int] | None = None
        """The question's packet, and the number up to which all was acknowledged when it was sent."""
        self._next = 0.0

    def begin(self) -> None:
        """Begin on a connection, or end: nothing that was asked is answered any more."""
        self._asked = None

    def deadline(self, delivered: int, settled: int) -> float | None:
        """Return when to ask; None: there is nothing to ask for, or it is being asked."""
        return self._next if self._asked is None and settled < delivered else None

    def ask(self, packet: int | None, delivered: int, now: float) -> None:
        """Note the packet that the broker has to answer; None: it could not be sent."""
        self._asked = None if packet is None else (packet, delivered)
        self._next = now + PROOF_SECONDS

    def answered(self, packet: int) -> int | None:
        """Return up to which number all is on the broker's disk; None: that was no answer to the question."""
        if self._asked is None or self._asked[0] != packet:
            return None
        (_, delivered), self._asked = self._asked, None
        return delivered


class Pulse:
    """How long the broker says that it has been running."""

    def __init__(self) -> None:
        self.uptime = 0
        """Its last word, in seconds."""
        self._least: int | None = None
        """The seconds between two words, at least; None: that is not known."""
        self._heard = False

    @property
    def is_rare(self) -> bool:
        """Whether it says so less often than ours."""
        return self._least is not None and self._least > _OFTEN_SECONDS

    def begin(self) -> None:
        """Begin on a connection: its first word is told from no other."""
        self._heard = False

    def hear(self, uptime: int) -> None:
        """Note its word: by the difference of two it tells itself how often it speaks, however late they come."""
        if self._heard and uptime > self.uptime:
            self._least = min(uptime - self.uptime, self._least or uptime)
        self.uptime, self._heard = uptime, True


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
