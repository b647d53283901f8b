"""What goes to the broker, and in which order: retained states at once, verdicts in turn, old ones again at last.

Used by one thread. Times are seconds on the monotonic clock.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from edge.contract.commands import Reply
from edge.contract.messages import Gap, encode
from edge.ledger.rows import Row, first_of, last_of
from edge.mqtt.delivery import Delivery, Lateness
from edge.mqtt.manner import HEALTH, STATE, VERDICT, Manner
from edge.mqtt.outage import Outage
from edge.mqtt.replay import Replays
from edge.mqtt.retained import Retained

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.album import Picture
    from edge.ledger.ledger import Ledger
    from edge.ledger.store import Span
    from edge.mqtt.pictures import Pictures

REFUSED_SECONDS = 5.0
"""Before what the broker refused is offered again."""
_BATCH = 100
"""Entries read from the ledger at once."""
_KEPT_FREE = 4
"""Of what the broker takes without an answer, at most."""
_SETTLING_SECONDS = 0.1
"""How often the ledger hears what is settled by now."""
_AGAIN_SECONDS = 1.0
"""Before a ledger that did not give what it holds is asked again."""
_RARELY_SECONDS = 2.0
"""Without a word on how long it has been running: a broker that is set up by us says it each second."""
_LIVE, _HISTORICAL = b'"historical":false}', b'"historical":true}'
"""How a verdict's JSON ends."""


class Outbox:
    """Between ledger, album and link."""

    def __init__(self, ledger: Ledger, pictures: Pictures, publish: Callable[[str, bytes, Manner], int | None]) -> None:
        """Deliver by `publish`: of a message's name, payload and manner it returns the packet; None: it cannot be sent.

        Whoever publishes says why it cannot.
        """
        self.replays = Replays()
        self._ledger = ledger
        self._pictures = pictures
        self._publish = publish
        self._delivery = Delivery()
        self._lateness: Lateness | None = None
        """None: the ledger is not open yet."""
        self._retained = Retained()
        self._answers: deque[tuple[str, Reply]] = deque()
        """Replies that are not sent yet, with their names."""
        self._replies: dict[int, str] = {}
        """Names of replies in flight, by packet identifier."""
        self._allowed = 0
        """How many messages without an answer the broker takes."""
        self._written = 0
        self._outage: Outage | None = None
        """How the last connection left things, until the present one has begun where that was."""
        self._connected = False
        self._uptime = 0
        """The broker's last word on how long it has been running, in seconds."""
        self._uptime_at = 0.0
        self._rarely = False
        """Whether it says so less than each second."""
        self._refused_until = 0.0
        self._replays_until = 0.0
        """Before the broker is offered again what it refused of a range."""

    @property
    def is_empty(self) -> bool:
        """Whether the broker has every verdict, as far as can be told now: not while the ledger is opening."""
        if self._lateness is None or not self._ledger.idle:
            return False
        if self._outage is not None and (self._connected or self._outage.settled < self._delivery.delivered):
            return False
        return self._delivery.idle and self._delivery.read >= self._written

    def deadline(self, now: float) -> float | None:
        """Return when `send` or `note_delivered` has something to do, though nothing happens; None: it has not."""
        due = [self._refused_until or None, self._replays_until or None]
        due.append(self._outage.hold_until if self._outage else None)
        deadlines = [each for each in due if each is not None and self._connected]
        if self._delivery.settled(now) < self._delivery.delivered:
            deadlines.append(now + _SETTLING_SECONDS)
        if self._connected and (self._lacks or (self.replays.wanted is not None and self.replays.idle)):
            deadlines.append(now + _AGAIN_SECONDS)
        return min(deadlines, default=None)

    @property
    def _lacks(self) -> bool:
        """Whether the ledger holds something that it did not give, and no answer will come to ask it again."""
        return self._delivery.idle and self._delivery.read < self._written

    def note_delivered(self, now: float | None) -> None:
        """Tell the ledger how far the broker surely has everything; None: how far it says so, for an end in order.

        What was unsure when a connection ended stays so until the next one tells: no time that passes settles it.
        """
        if self._lateness is not None:
            sure = self._delivery.delivered if now is None else self._delivery.settled(now)
            self._ledger.delivered = sure if self._outage is None else min(sure, self._outage.settled)

    def written(self, last: int, now: float) -> None:
        """Note that the ledger, which is open, holds verdicts up to this number."""
        if self._lateness is None:
            self._delivery.rewind(self._ledger.delivered)
            if self._outage is not None:  # It began before anything was known of an earlier life's deliveries.
                self._outage = self._outage.knowing(self._ledger.delivered)
            self._lateness = Lateness(last)
        else:
            self._lateness.written(last, now)
        if (backlog := self._ledger.take_backlog()) is not None:
            self._delivery.rewind(backlog)
            self._outage = self._outage.knowing(backlog) if self._outage else None
        self._written = last

    def retain(self, name: str, message: bytes) -> None:
        """Make this the retained message of its name; an empty one takes it back."""
        self._retained.put(name, message)

    def reply(self, name: str, reply: Reply) -> None:
        """Send a reply; where there is no connection nobody waits for it."""
        if self._connected:
            self._answers.append((name, reply))

    def picture(self, picture: Picture) -> None:
        """Note that the album holds one more."""
        self._pictures.put(picture)

    def begin(self, allowed: int, now: float) -> None:
        """Begin on a connection that takes so many messages that are not acknowledged."""
        self._connected = True
        self._uptime_at = now
        self._retained.begin()
        self.replays.begin()
        self._answers.clear()
        self._replies.clear()
        self._pictures.begin()
        self._allowed = allowed
        self._delivery.begin()
        if self._outage is not None:
            unsure = self._outage.settled < self._delivery.delivered
            self._outage = self._outage.over(now) if unsure else None

    def lose(self, now: float) -> None:
        """Note that the connection ended, or that there is none."""
        self._rarely = self._rarely or (self._connected and now - self._uptime_at > _RARELY_SECONDS)
        self._connected = False
        self._pictures.lose()
        if self._outage is None:
            self._outage = Outage(began=now, settled=self._delivery.settled(now))

    def hear_uptime(self, seconds: int, now: float) -> None:
        """Note how long the broker says that it has been running."""
        if self._outage is not None:
            restarted = self._outage.was_restart(now, self._uptime, seconds, rarely=self._rarely)
            self._resume(restarted=restarted)
        self._uptime, self._uptime_at = seconds, now

    def settle(self, packet: int, now: float, *, refused: bool) -> str:
        """Note the broker's answer to a packet, and return the name of what that was."""
        if name := self._retained.landed(packet) or self._replies.pop(packet, ""):
            return name
        if self.replays.landed(packet, refused=refused):
            if refused:
                self._replays_until = now + REFUSED_SECONDS
            return "event"
        if self._pictures.landed(packet):
            return "image"
        if refused:
            self._delivery.refused(packet)
            self._refused_until = now + REFUSED_SECONDS
        else:
            self._delivery.landed(packet, now)
        return "event"

    def send(self, now: float) -> None:
        """Send what may be sent."""
        for name, message in self._retained.due(self._room):
            packet = self._publish(name, message, HEALTH if name == "health" else STATE)
            if packet is not None:
                self._retained.sent(packet, name)
        while self._answers and self._room:
            name, reply = self._answers.popleft()
            packet = self._publish(name, encode(reply), VERDICT)
            if packet is None:
                packet = self._publish(name, encode(_too_large(reply)), VERDICT)
            if packet is not None:
                self._replies[packet] = name
        if self._outage is not None and now >= self._outage.hold_until:
            self._resume(restarted=False)
        if self._outage is None and now >= self._refused_until:
            self._refused_until = 0.0
            self._send_verdicts(now)
        if self._outage is None and self._is_live:
            self._pictures.send(self._publish)
            self._send_ranges(now)

    @property
    def _room(self) -> int:
        """How many more messages the broker takes: it drops who has more without an answer (MQTT 5, 3.3.4)."""
        flying = self._retained.flying + len(self._replies) + self.replays.flying + self._delivery.flying
        return max(0, self._allowed - flying)

    @property
    def _room_for_verdicts(self) -> int:
        """How many more verdicts may go: a new alarm, or an answer, goes at once past them."""
        return max(0, self._room - min(_KEPT_FREE, self._allowed // 2))

    @property
    def _is_live(self) -> bool:
        """Whether the broker has all but the newest: on a long way one is always under way."""
        return self._delivery.read >= self._written and self._delivery.is_light

    def _resume(self, *, restarted: bool) -> None:
        """Go on where it broke; what a broker had acknowledged just before it died may not be on its disk."""
        if restarted and self._outage is not None:
            self._delivery.rewind(self._outage.settled)
        self._outage = None

    def _send_verdicts(self, now: float) -> None:
        while self._delivery.hungry and self._delivery.read < self._written:
            if not (entries := self._ledger.take(self._delivery.read, _BATCH)):
                break
            self._delivery.put(entries)
        while self._room_for_verdicts and not self._refused_until and (entry := self._delivery.next(now)) is not None:
            packet = self._publish(*self._message(entry, now), VERDICT)
            if packet is None:
                self._delivery.put_back(entry)
                self._refused_until = now + REFUSED_SECONDS
            else:
                self._delivery.sent(packet, entry, now)

    def _send_ranges(self, now: float) -> None:
        if now < self._replays_until:
            return
        self._replays_until = 0.0
        while self._room_for_verdicts and (span := self.replays.wanted) is not None and self._send_again(span):
            pass

    def _send_again(self, span: Span) -> bool:
        """Send more of what is asked for again; False if the ledger cannot be read up to there."""
        limit = min(self.replays.room, self._room_for_verdicts)
        # What is empty is asked twice: the file may just have been mended.
        entries = self._ledger.look(span, limit) or self._ledger.look(span, limit)
        hole = not entries or first_of(entries[0]) > span.after + 1
        if hole and self._ledger.doubt:
            return False
        for entry in entries:
            if isinstance(entry, Row):
                packet = self._publish("event", _historical(entry), VERDICT)
                if packet is None:  # Whoever asks again will get no other answer.
                    self.replays.passed(entry.seq)
                else:
                    self.replays.sent(packet, entry)
            else:
                self.replays.passed(min(last_of(entry), span.upto))
        if not entries:
            self.replays.passed(span.upto)
        return True

    def _message(self, entry: Row | Gap, now: float) -> tuple[str, bytes]:
        if isinstance(entry, Gap):
            return "gap", encode(entry)
        late = self._lateness is not None and self._lateness.is_late(entry.seq, now)
        return "event", _historical(entry) if late else entry.json


def _too_large(reply: Reply) -> Reply:
    error = "the answer is larger than the broker takes; ask for less"
    return Reply(transaction=reply.transaction, status="failed", error=error)


def _historical(row: Row) -> bytes:
    return row.json.removesuffix(_LIVE) + _HISTORICAL
