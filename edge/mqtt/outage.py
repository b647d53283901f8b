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
QUIET_SECONDS = 5.0
"""After which a broker is asked whether it goes on, where nothing else has shown it."""
WORD_SECONDS = 30.0
"""After which one that says nothing of it never does, on one connection or on several together."""
_EVERY_SECONDS = 11
"""Between its words, where that is not known: by mosquitto's own setting; by the shipped configuration 2 at most."""
_SLACK_SECONDS = 2.0
"""How far two words may be apart, besides: they count whole seconds, and are on their way for some time."""


class Proof:
    """What shows that the broker went on, so that what it had acknowledged before is on its disk.

    Any answer does, to what was sent after those acknowledgements; so does its second word after them on how long it
    has been running. It is asked for one only where none comes: mosquitto takes even that for a change, and writes all.
    """

    def __init__(self) -> None:
        self._unanswered: dict[int, int] = {}
        """By packet: the number up to which all was acknowledged when it was sent."""
        self._at_word: int | None = None
        """That number at the broker's last word; None: it has not said any on this connection."""
        self._ask_at = 0.0

    def begin(self) -> None:
        """Begin on a connection, or end: nothing that was sent is answered any more."""
        self._unanswered.clear()
        self._at_word = None

    def sent(self, packet: int, delivered: int, now: float) -> None:
        """Note a packet that the broker has to answer, and up to which number it has acknowledged all."""
        self._unanswered[packet] = delivered
        self.wait(now)

    def wait(self, now: float) -> None:
        """Ask no sooner than QUIET_SECONDS from now."""
        self._ask_at = now + QUIET_SECONDS

    def answered(self, packet: int) -> int:
        """Return up to which number all is on the broker's disk by this answer; 0: it says nothing."""
        return self._unanswered.pop(packet, 0)

    def spoke(self, delivered: int) -> int:
        """Return the same by the broker's word, in whichever order it speaks and writes in a turn of its loop."""
        before, self._at_word = self._at_word, delivered
        return before or 0

    def deadline(self, delivered: int, settled: int) -> float | None:
        """Return when to ask; None: there is nothing to ask for."""
        return self._ask_at if settled < delivered else None


class Pulse:
    """How long the broker says that it has been running: each word says when it began, more or less."""

    def __init__(self) -> None:
        self._uptime = 0
        """Its last word, in seconds."""
        self._began: float | None = None
        """When it began, by that; None: it never said a word."""
        self._least: int | None = None
        """The seconds between two words, at least; None: that is not known."""
        self._heard = False

    def begin(self) -> None:
        """Begin on a connection: its first word is told from no other."""
        self._heard = False

    def goes_on(self, uptime: int, now: float) -> bool:
        """Judge by a new word whether it has been running since the last one: the same broker, and never restarted.

        A word is as old as the time between two, at most. Where that is too much to tell it is taken for restarted,
        unless it would have to be younger for that: then some verdicts arrive twice, but none is lost.
        """
        if self._began is None:
            return False
        slack = (self._least or _EVERY_SECONDS) + _SLACK_SECONDS
        is_told = self._uptime > slack or uptime > now - (self._began + self._uptime)
        return is_told and abs(now - uptime - self._began) <= slack

    def hear(self, uptime: int, now: float) -> None:
        """Note its word: by the difference of two it tells itself how often it speaks, however late they come."""
        if self._heard and uptime > self._uptime:
            self._least = min(uptime - self._uptime, self._least or uptime)
        self._uptime, self._began, self._heard = uptime, now - uptime, True


class Outage(Record, frozen=True, kw_only=True):
    """From the end of one connection to the first word on the next."""

    settled: int
    """The number up to which the broker surely had everything on its disk."""
    ended: float = inf
    """Seconds on the monotonic clock."""

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


class Doubt:
    """Whether the broker still has what it had acknowledged when the last connection ended."""

    def __init__(self) -> None:
        self._pulse = Pulse()
        self._outage: Outage | None = None
        """How the last connection left things, while its end is waited for, or the broker's word."""
        self._late: Outage | None = None
        """The same when the word was waited for long enough: delivery goes on, but a late word still counts."""
        self._stood = 0.0
        """Seconds of the connections since its last word that are over."""
        self._since: float | None = None
        """When the present one began, if it said no word on that."""

    @property
    def is_open(self) -> bool:
        """Whether verdicts have to wait for the answer."""
        return self._outage is not None

    @property
    def is_settled(self) -> bool:
        """Whether no word is waited for any more: from now on what the broker answers is proof."""
        return self._outage is None and self._late is None

    @property
    def deadline(self) -> float | None:
        """When verdicts wait no more, though nothing is heard; None: they do not wait."""
        return None if self._outage is None else self._outage.hold_until

    def limit(self, number: int) -> int:
        """Return the number up to which the broker surely has all, of that up to which it says so."""
        outage = self._outage or self._late
        return number if outage is None else min(number, outage.settled)

    def know(self, settled: int) -> None:
        """Note what the broker surely has, told later."""
        self._outage = self._outage.knowing(settled) if self._outage else None
        self._late = self._late.knowing(settled) if self._late else None

    def begin(self, now: float, delivered: int) -> None:
        """Begin on a connection, with what the broker has acknowledged."""
        self._pulse.begin()
        self._since = now
        if self._outage is not None:
            self._outage = self._outage.over(now) if self._outage.settled < delivered else None

    def lose(self, now: float, settled: int) -> None:
        """Note that the connection ended, or that there is none; an earlier end that was not answered still counts."""
        outage = self._outage or self._late or Outage(settled=settled)
        self._outage, self._late = (None if self._is_mute(now) else outage), None
        self._stood, self._since = self._connected_for(now), None

    def wait(self, now: float) -> None:
        """Wait no longer than one has to."""
        if self._outage is not None and now >= self._outage.hold_until:
            self._outage, self._late = None, self._outage
        if self._late is not None and (now >= self._late.ended + WORD_SECONDS or self._is_mute(now)):
            self._late = None

    def hear(self, uptime: int, now: float) -> int | None:
        """Take the broker's word; returns the number behind which it may have lost all, None: it has all."""
        outage, self._outage, self._late = self._outage or self._late, None, None
        died = outage is not None and not self._pulse.goes_on(uptime, now)
        if died:
            self._pulse = Pulse()  # It may have been told to speak less often.
        self._pulse.hear(uptime, now)
        self._stood, self._since = 0.0, None
        return outage.settled if outage is not None and died else None

    def _is_mute(self, now: float) -> bool:
        """Whether it never says a word, or none any more: one whose link is cut often has to be believed too."""
        return self._connected_for(now) >= WORD_SECONDS

    def _connected_for(self, now: float) -> float:
        return self._stood + (0.0 if self._since is None else now - self._since)
