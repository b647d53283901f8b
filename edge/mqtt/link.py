"""The link to the broker: connection after connection, each a while after the last one ended. Used by one thread."""

from __future__ import annotations

import random
import time
from math import inf
from typing import TYPE_CHECKING

from edge.errors import ConfigError
from edge.mqtt.broker import silent, unanswering
from edge.mqtt.connection import (
    HEAD_BYTES,
    LARGEST_OF_ALL,
    NOWHERE,
    Acknowledged,
    Asked,
    Away,
    Connected,
    Connection,
    Identity,
    News,
    Opened,
    Reached,
)
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    import paho.mqtt.client as paho

    from edge.mqtt.manner import Manner
    from edge.sections.mqtt import Mqtt

RECONNECT_SECONDS = (1.0, 30.0)
"""Before another attempt: doubled by each failure, from the first of these to the second. A connection on which the
broker answered nothing that was said is a failure too: some let a client in, and hang up on its first message."""
LET_IN_FAILURES = 2
"""Those where the broker let us in double the wait no further: a bad network may cut so soon, again and again, too."""
AT_ONCE_SECONDS = 0.02
"""Before the first attempt after a connection that worked for a while, at most: mostly it was a cut."""
LASTED_SECONDS = 1.0
RIVAL_SECONDS = 30.0
"""Before the place at the broker is taken back from another device of this name."""
ANSWER_SECONDS = 60.0
"""For an answer to anything that was sent. Only a new connection may send it again, so one on which the broker answers
pings alone has to end. 256 KiB before it, over a link of 64 kbit/s, take half of this."""
BRIEF_SECONDS = 30.0
_SUSPICIOUS = 3
"""So many connections in a row that the broker ended sooner: two devices of one name end each other's."""
_JITTER = 0.5
"""The share of a wait that is left to chance: a hall of devices must not come back in one moment."""


class Heard(Record, frozen=True):
    """What one of the connections says."""

    number: int
    news: News


class Link:
    """Always connecting or connected, until it is closed."""

    def __init__(self, mqtt: Mqtt, identify: Callable[[], Identity], tell: Callable[[Heard], None]) -> None:
        """Prepare the first connection; raises ConfigError for certificate or password files that cannot be used.

        `identify` is asked before each connection: a will may tell one from the other.
        """
        self.connected: bool | None = None
        """None: the first attempt is still under way."""
        self._due: float | None = None
        """When an attempt to connect was silent too long, or the next one is due."""
        self.failed = 0
        """Attempts that ended before the broker let us in, since the start."""
        self.lasted = False
        """Whether what ended last was a connection that had stood for a while."""
        self._largest = LARGEST_OF_ALL
        self._mqtt = mqtt
        self._identify = identify
        self._tell = tell
        self._number = self._failures = self._brief = 0
        self._since = inf
        """When the last connection began."""
        self._unanswered: dict[int, float] = {}
        """Packets that the broker has to answer, and since when, in that order; not those with QoS 0."""
        self._works = False
        """Whether the broker answered something that was said on the present connection."""
        self._opening = True
        """Whether the present connection was begun; else it is waited for."""
        self._connection = self._prepare()

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do; None: nothing."""
        oldest = next(iter(self._unanswered.values()), None)
        unanswered = None if oldest is None else oldest + ANSWER_SECONDS
        return min((each for each in (self._due, unanswered) if each is not None), default=None)

    @property
    def contested(self) -> bool:
        """Whether it looks as if another client of this name takes the place at the broker, which need not say so."""
        return self._brief >= _SUSPICIOUS

    def lasts(self, now: float) -> bool:
        """Say whether the present connection has stood for a while."""
        return bool(self.connected) and now - self._since > BRIEF_SECONDS

    def open(self) -> None:
        """Begin to connect, in the background."""
        self._connection.open()

    def too_large(self, topic: str, payload: int) -> str:
        """Say why so many bytes cannot be sent, empty if they can: a broker hangs up on who sends more."""
        size = len(topic.encode()) + payload + HEAD_BYTES
        return f"too large: it takes {self._largest} bytes" if size > self._largest else ""

    def publish(self, topic: str, payload: bytes, manner: Manner) -> paho.MQTTMessageInfo:
        """Send; returns paho's word for it: `mid` is what Acknowledged will name, but not with QoS 0."""
        said = self._connection.publish(topic, payload, manner)
        if manner.qos:
            self._expect(said.mid)
        return said

    def mark(self, unlisten: str = NOWHERE) -> int | None:
        """Have Reached tell when the broker has read all that was sent so far; returns its packet; None: no link.

        Until the next connection it takes nothing more for us of a topic that is to be heard no longer.
        """
        if (packet := self._connection.mark(unlisten)) is not None:
            self._expect(packet)
        return packet

    def take(self, heard: Heard) -> News | None:
        """Take in what a connection said; returns it, or None if that connection is over."""
        if heard.number != self._number:
            return None
        match heard.news:
            case Opened(deadline):
                self._due = deadline
            case Connected(largest=largest):
                self._largest = largest
                self.connected, self._due = True, None
                self._since = time.monotonic()
            case Acknowledged(packet) | Reached(packet):
                if self._unanswered.pop(packet, None) is None:  # With QoS 0 paho says that the socket has it.
                    return None
                self._works = True
            case Asked():
                self._connection.considered += 1
            case Away(rival=rival):
                brief = self.connected and not self.lasts(time.monotonic())
                self._brief = self._brief + 1 if brief else 0
                self._end(RIVAL_SECONDS if rival else 0.0)
        return heard.news

    def tick(self, now: float) -> Away | None:
        """Do what is due; returns Away if the broker was silent for too long."""
        if self.deadline is None or now < self.deadline:
            return None
        if self._unanswered:
            self._end(0.0)
            return Away(unanswering(self._mqtt, ANSWER_SECONDS))
        self._due = None
        if not self._opening:
            return self._begin()
        self._end(0.0)
        return Away(silent(self._mqtt))

    def _begin(self) -> Away | None:
        try:
            self._connection = self._prepare()
        except ConfigError as error:  # Of a certificate that is being renewed one file may be there before the other.
            self._end(0.0)
            return Away(str(error))
        self._opening = True
        self._connection.open()
        return None

    def _expect(self, packet: int) -> None:
        self._unanswered.pop(packet, None)
        self._unanswered[packet] = time.monotonic()

    def renew(self, timeout: float) -> None:
        """Disconnect in order, waiting this long at most, and connect anew."""
        self._connection.close(timeout)
        self._works = True  # It is not the broker who ends it.
        self._end(0.0)

    def close(self, timeout: float, *, will_speaks: bool = False) -> None:
        """Disconnect, waiting this long at most, in order, or so that the last will speaks. No use afterwards."""
        self._connection.close(timeout, will_speaks=will_speaks)
        del self._connection  # paho closes its last sockets when nothing refers to it: now, not at some collection.

    def _prepare(self) -> Connection:
        number = self._number
        return Connection(self._mqtt, self._identify(), lambda news: self._tell(Heard(number, news)))

    def _end(self, least: float) -> None:
        now, chance = time.monotonic(), random.random()  # noqa: S311 - spreads load, hides nothing
        self._connection.drop()
        self._number += 1
        self.failed += not self.connected
        self._opening = False
        self.lasted = self.lasts(now)
        worked = self._works or self.lasted
        if self.lasted:
            self._brief = 0
        if worked:
            self._failures = 0
        if worked and now - self._since > LASTED_SECONDS:
            self._due = now + least + chance * AT_ONCE_SECONDS
        else:
            if self.connected:
                self._failures = min(self._failures, LET_IN_FAILURES)
            self._due = now + least + backoff(self._failures, chance)
            self._failures += 1
        self.connected = self._works = False
        self._unanswered.clear()


def backoff(failures: int, chance: float) -> float:
    """Return the seconds before the next attempt, after so many that failed; `chance` is from 0 to 1."""
    first, longest = RECONNECT_SECONDS
    return min(longest, first * 2.0 ** min(failures, 10)) * (1 - _JITTER * chance)
