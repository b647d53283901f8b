"""What goes to the broker, and in which order: retained states at once, verdicts in turn, old ones again at last.

Used by one thread. Times are seconds on the monotonic clock.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge.contract.messages import Gap, encode
from edge.ledger.rows import Row, first_of, last_of
from edge.mqtt.answers import Answers
from edge.mqtt.delivery import Delivery, Lateness, historical
from edge.mqtt.manner import HEALTH, STATE, VERDICT, Manner
from edge.mqtt.outage import Doubt, Proof
from edge.mqtt.replay import Replays
from edge.mqtt.retained import REFUSED_SECONDS, Retained

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.album import Picture
    from edge.contract.commands import Reply
    from edge.ledger.ledger import Ledger
    from edge.ledger.store import Span
    from edge.mqtt.pictures import Pictures

_BATCH = 100
"""Entries read from the ledger at once."""
_ALARM = "alarm/"
"""Which states an end waits for: who sees the one before believes it."""
_KEPT_FREE = 4
"""Of what the broker takes without an answer, at most."""
_AGAIN_SECONDS = 1.0
"""Before a ledger that did not give what it holds is asked again."""


class Outbox:
    """Between ledger, album and link."""

    def __init__(
        self,
        ledger: Ledger,
        pictures: Pictures,
        publish: Callable[[str, bytes, Manner], int | None],
        mark: Callable[[], int | None],
    ) -> None:
        """Deliver by `publish`: of a message's name, payload and manner it returns the packet; None: it cannot be sent.

        Whoever publishes says why it cannot. `mark` sends what the broker only has to answer, and returns its packet.
        """
        self.replays = Replays()
        self._ledger = ledger
        self._pictures = pictures
        self._publish = publish
        self._mark = mark
        self._delivery = Delivery()
        self._proof, self._doubt = Proof(), Doubt()
        self._lateness: Lateness | None = None
        """None: the ledger is not open yet."""
        self._retained, self.answers = Retained(), Answers()
        self._allowed = 0
        """How many messages without an answer the broker takes."""
        self._written = 0
        self._connected = False
        self._refused_until = 0.0
        self._replays_until = 0.0
        """Before the broker is offered again what it refused of a range."""

    @property
    def is_empty(self) -> bool:
        """Whether the broker has all verdicts and alarms, as far as can be told: not while the ledger is opening."""
        # Of replies those that wait alone: for those on their way whoever goes on asking would hold up a stop.
        lacks = self._connected and (self._retained.lacks(_ALARM) or self.answers.wait)
        delivered = self._delivery.delivered
        if self._lateness is None or not self._ledger.idle or lacks:
            return False
        if self._doubt.is_open and (self._connected or self._doubt.limit(delivered) < delivered):
            return False
        return self._delivery.idle and self._delivery.read >= self._written

    @property
    def owes(self) -> bool:
        """Whether the broker has not every reply yet."""
        return self._connected and (self.answers.wait or self.answers.flying > 0)

    def deadline(self, now: float) -> float | None:
        """Return when `send` has something to do, though nothing happens; None: it has not."""
        if not self._connected:
            return None
        due = [self._retained.again_at]
        if self._doubt.is_open:
            due.append(self._doubt.deadline)
        else:
            due += [self._refused_until or None, (self._replays_until or None) if self._is_live else None]
            due.append(self._proof.deadline(self._delivery.delivered, self._delivery.settled))
        if self._lacks or (self.replays.wanted is not None and self.replays.idle):
            due.append(now + _AGAIN_SECONDS)
        return min((each for each in due if each is not None), default=None)

    @property
    def _lacks(self) -> bool:
        """Whether the ledger holds something that it did not give, and no answer will come to ask it again."""
        return self._delivery.idle and self._delivery.read < self._written

    def note_delivered(self, *, at_end: bool = False) -> None:
        """Tell the ledger how far the broker surely has everything; `at_end`: how far it says so, for an end in order.

        What was unsure when a connection ended stays so until the next one tells: no time that passes settles it.
        """
        if self._lateness is not None:
            sure = self._delivery.delivered if at_end else self._delivery.settled
            self._ledger.delivered = self._doubt.limit(sure)

    def written(self, last: int, now: float) -> None:
        """Note that the ledger, which is open, holds verdicts up to this number."""
        if self._lateness is None:
            self._delivery.rewind(self._ledger.delivered)
            self._doubt.know(self._ledger.delivered)  # It began before anything was known of an earlier life's.
            self._lateness = Lateness(last)
        else:
            self._lateness.written(last, now)
        if (backlog := self._ledger.take_backlog()) is not None:
            self._delivery.rewind(backlog)
            self._doubt.know(backlog)
            self._proof.begin()
        self._written = last

    def retain(self, name: str, message: bytes) -> None:
        """Make this the retained message of its name; an empty one takes it back."""
        self._retained.put(name, message)

    def reply(self, name: str, reply: Reply) -> None:
        """Send a reply; where there is no connection nobody waits for it."""
        if self._connected:
            self.answers.put(name, reply)

    def picture(self, picture: Picture) -> None:
        """Note that the album holds one more."""
        self._pictures.put(picture)

    def begin(self, allowed: int, now: float) -> None:
        """Begin on a connection that takes so many messages that are not acknowledged."""
        self._connected = True
        self._proof.begin()
        self._retained.begin()
        self.replays.begin()
        self.answers.begin()
        self._pictures.begin()
        self._allowed = allowed
        self._delivery.begin()
        self._doubt.begin(now, self._delivery.delivered)

    def lose(self, now: float) -> None:
        """Note that the connection ended, or that there is none."""
        self._connected = False
        self._pictures.lose()
        self._proof.begin()
        self._doubt.lose(now, self._delivery.settled)

    def hear_uptime(self, seconds: int, now: float) -> None:
        """Note how long the broker says that it has been running."""
        was_settled = self._doubt.is_settled
        if (lost := self._doubt.hear(seconds, now)) is not None:
            self._delivery.rewind(lost)
            self._proof.begin()
        elif was_settled:
            self._delivery.settle(self._proof.spoke(self._delivery.delivered))

    def reached(self, packet: int) -> None:
        """Note that the broker has answered a packet, a mark for example."""
        self._pictures.landed(packet)
        number = self._proof.answered(packet)
        if self._doubt.is_settled:  # Else it may be another life of the broker's that answers.
            self._delivery.settle(number)

    def settle(self, packet: int, now: float, *, refused: str = "") -> str:
        """Note the broker's answer to a packet, and return the name of what that was; empty: nothing any more."""
        self.reached(packet)
        if name := self._retained.landed(packet, now, refused) or self.answers.landed(packet):
            return name
        if self.replays.landed(packet, refused=bool(refused)):
            if refused:
                self._replays_until = now + REFUSED_SECONDS
            return "event"
        entry = self._delivery.refused(packet) if refused else self._delivery.landed(packet, now)
        if entry is None:
            return ""
        if refused:
            self._refused_until = now + REFUSED_SECONDS
        return "gap" if isinstance(entry, Gap) else "event"

    def send(self, now: float) -> None:
        """Send what may be sent."""
        for name, message in self._retained.due(self._room, now):
            packet = self._say(now, name, message, HEALTH if name == "health" else STATE)
            if packet is not None:
                self._retained.sent(packet, name)
        self.send_answers(now)
        self._doubt.wait(now)
        if not self._doubt.is_open:
            if now >= self._refused_until:
                self._refused_until = 0.0
                self._send_verdicts(now)
            self._ask(now)
            if self._is_live:
                self._pictures.send(partial(self._show, now))
                self._send_ranges(now)

    def send_answers(self, now: float, kept: int = 0) -> None:
        """Send the replies alone, as far as there is room; `kept`: for so many that others send."""
        self.answers.send(self._room - kept, partial(self._say, now))

    @property
    def _room(self) -> int:
        """How many more messages the broker takes: it drops who has more without an answer (MQTT 5, 3.3.4)."""
        flying = self._retained.flying + self.answers.flying + self.replays.flying + self._delivery.flying
        return max(0, self._allowed - flying)

    @property
    def _room_for_verdicts(self) -> int:
        """How many more verdicts may go: a new alarm, or an answer, goes at once past them."""
        return max(0, self._room - min(_KEPT_FREE, self._allowed // 2))

    @property
    def _is_live(self) -> bool:
        """Whether the broker has all but the newest: on a long way one is always under way."""
        return self._delivery.read >= self._written and self._delivery.is_light

    def _send_verdicts(self, now: float) -> None:
        while self._delivery.hungry and self._delivery.read < self._written:
            if not (entries := self._ledger.take(self._delivery.read, _BATCH)):
                break
            self._delivery.put(entries)
        while self._room_for_verdicts and not self._refused_until and (entry := self._delivery.next(now)) is not None:
            packet = self._say(now, *self._message(entry, now), VERDICT)
            if packet is None:
                self._delivery.put_back(entry)
                self._refused_until = now + REFUSED_SECONDS
            else:
                self._delivery.sent(packet, entry, now)

    def _ask(self, now: float) -> None:
        due = self._proof.deadline(self._delivery.delivered, self._delivery.settled)
        if due is not None and now >= due:
            self._proof.wait(now)
            self._inquire(now)

    def _inquire(self, now: float) -> int | None:
        """Send what the broker only has to answer."""
        packet = self._mark()
        if packet is not None:
            self._proof.sent(packet, self._delivery.delivered, now)
        return packet

    def _show(self, now: float, name: str, payload: bytes, manner: Manner) -> int | None:
        """Publish what the broker does not answer, and behind it what it has to."""
        return None if self._publish(name, payload, manner) is None else self._inquire(now)

    def _say(self, now: float, name: str, payload: bytes, manner: Manner) -> int | None:
        """Publish what the broker has to answer."""
        packet = self._publish(name, payload, manner)
        if packet is not None:
            self._proof.sent(packet, self._delivery.delivered, now)
        return packet

    def _send_ranges(self, now: float) -> None:
        if now < self._replays_until:
            return
        self._replays_until = 0.0
        while self._room_for_verdicts and (span := self.replays.wanted) is not None and self._send_again(span, now):
            pass

    def _send_again(self, span: Span, now: float) -> bool:
        """Send more of what is asked for again; False if the ledger cannot be read up to there."""
        limit = min(self.replays.room, self._room_for_verdicts)
        # What is empty is asked twice: the file may just have been mended.
        entries = self._ledger.look(span, limit) or self._ledger.look(span, limit)
        hole = not entries or first_of(entries[0]) > span.after + 1
        if hole and self._ledger.doubt:
            return False
        for entry in entries:
            if isinstance(entry, Row):
                packet = self._say(now, "event", historical(entry), VERDICT)
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
        return "event", historical(entry) if late else entry.json
