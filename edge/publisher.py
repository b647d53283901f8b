"""Delivers the ledger's verdicts in order, and keeps the retained messages current.

One thread, the sender, owns all state. Everybody else, paho's callbacks and the ledger included, only puts notes into
its inbox.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from edge.admission import Admission
from edge.broker import address
from edge.condition import Condition
from edge.connection import Acknowledged, Asked, Away, Connected, Identity, News, Uptime
from edge.contract.commands import COMMANDS, Reply, Request
from edge.contract.messages import Gap, Message, encode, topic
from edge.delivery import Delivery, Lateness
from edge.ledger.rows import Row
from edge.link import Heard, Link
from edge.outage import Outage
from edge.record import Record
from edge.replay import Replays
from edge.retained import Retained

if TYPE_CHECKING:
    from edge.config import Config
    from edge.ledger.ledger import Ledger
    from edge.ledger.store import Span

log = logging.getLogger(__name__)

BATCH = 100
"""Entries read from the ledger at once."""
REFUSED_SECONDS = 5.0
"""Before what the broker refused is offered again."""
QUICK_SECONDS = 0.6
"""For the last verdicts after SIGTERM: with the camera's end, within the 2 s that a stop may take."""
_SLACK = 0.1
_SETTLING_SECONDS = 0.5
"""How often the ledger hears what is settled by now."""
_LIVE, _HISTORICAL = b'"historical":false}', b'"historical":true}'
"""How a verdict's JSON ends."""


class _Written(Record, frozen=True):
    """The ledger holds verdicts up to this number."""

    last: int


class _Retain(Record, frozen=True):
    name: str
    message: Message


class _Replay(Record, frozen=True):
    first: int
    last: int


class _Reply(Record, frozen=True):
    name: str
    reply: Reply


class _Trouble(Record, frozen=True):
    """What is wrong with a part of the device; empty: nothing."""

    part: str
    problem: str


class _Stop(Record, frozen=True):
    reason: str
    deadline: float


_Note: TypeAlias = Heard | _Written | _Retain | _Replay | _Reply | _Trouble | _Stop


class Publisher:
    """Brings the broker what the ledger holds. Nothing here blocks the caller except `stop`."""

    def __init__(self, config: Config, boot_id: str, ledger: Ledger) -> None:
        """Prepare the client; raises ConfigError for certificate or password files that cannot be used."""
        self.boot_id = boot_id
        self.requests: SimpleQueue[tuple[str, Request]] = SimpleQueue()
        """What is asked of the device and may be obeyed: name and request; each wants a `reply`."""
        self._device = config.device
        self._broker = address(config.mqtt)
        self._ledger = ledger
        self._inbox: SimpleQueue[_Note] = SimpleQueue()
        self._condition = Condition(boot_id)
        self._reported: dict[str, str] = {}
        """What `report` has passed on."""
        self._admission = Admission(config.commands.allow)
        will = self._topic("status"), encode(self._condition.gone("connection lost"))
        commands = self._topic("cmd") if config.commands.allow else ""
        who = Identity(f"edge-inspect/{config.device.site}/{config.device.id}", will, commands)
        self._link = Link(config.mqtt, who, self._inbox.put)
        self._delivery = Delivery()
        self._lateness: Lateness | None = None
        """None: the ledger is not open yet."""
        self._replays = Replays()
        self._replies: dict[int, str] = {}
        """Names of replies in flight, by packet identifier."""
        self._retained = Retained()
        self._written = 0
        self._outage: Outage | None = None
        """How the last connection left things, until the present one has begun where that was."""
        self._uptime = 0
        """The broker's last word on how long it has been running, in seconds."""
        self._refused_until = 0.0
        self._stop: _Stop | None = None
        self._told: set[str] = set()
        """What was said of this connection already: a broker refuses often."""
        self._sender = threading.Thread(target=self._run_sender, name="mqtt-sender", daemon=True)

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._sender.start()
        self._link.open()

    def written(self, last: int) -> None:
        """Hear that the ledger holds verdicts up to this number."""
        self._inbox.put(_Written(last))

    def retain(self, name: str, message: Message) -> None:
        """Make this the retained message `name`, now and after every reconnect; it overtakes waiting verdicts."""
        self._inbox.put(_Retain(name, message))

    def replay(self, first: int, last: int) -> None:
        """Publish what the ledger holds of a range of verdicts again, marked historical, behind what waits."""
        self._inbox.put(_Replay(first, last))

    def reply(self, name: str, reply: Reply) -> None:
        """Answer a request."""
        self._inbox.put(_Reply(name, reply))

    def report(self, part: str, problem: str) -> None:
        """Have the status say what is wrong with a part of the device; empty: nothing any more."""
        if self._reported.get(part, "") != problem:
            self._reported[part] = problem
            self._inbox.put(_Trouble(part, problem))

    def stop(self, reason: str, timeout: float, hurry: threading.Event) -> None:
        """Deliver what is waiting, say offline, disconnect; what does not arrive in time waits in the ledger.

        Takes `timeout` seconds at most, and QUICK_SECONDS from when `hurry` is set.
        """
        deadline = time.monotonic() + timeout
        self._inbox.put(_Stop(reason, deadline))
        hurried = False
        while self._sender.is_alive() and time.monotonic() < deadline + _SLACK:
            self._sender.join(_SLACK)
            if hurry.is_set() and not hurried:
                hurried, deadline = True, min(deadline, time.monotonic() + QUICK_SECONDS)
                self._inbox.put(_Stop(reason, deadline))
        self._link.close(max(_SLACK, deadline - time.monotonic()))

    # --- the sender's side: the only one that changes state

    def _run_sender(self) -> None:
        while not self._finished():
            with contextlib.suppress(Empty):
                self._take(self._inbox.get(timeout=self._patience()))
            if (away := self._link.tick(time.monotonic())) is not None:
                self._lose(away)
            if self._link.connected:
                self._send(time.monotonic())
            self._ledger.delivered = self._delivery.settled(time.monotonic())
        self._ledger.delivered = self._delivery.delivered
        self._say_goodbye()

    def _take(self, note: _Note) -> None:
        match note:
            case Heard():
                self._hear(self._link.take(note))
            case _Written(last):
                self._note_written(last)
            case _Retain(name, message):
                self._retained.put(name, message)
            case _Replay(first, last):
                self._replays.put(first, last)
            case _Reply(name, reply):
                self._admission.remember(name, reply)
                self._answer(name, reply)
            case _Trouble(part, problem):
                if self._condition.note(part, problem):
                    self._retained.put("status", self._condition.present())
            case _Stop():
                self._stop = note

    def _hear(self, news: News | None) -> None:
        match news:
            case Connected(allowed):
                self._begin(allowed)
            case Away():
                self._lose(news)
            case Acknowledged(packet, refused):
                self._settle(packet, refused)
            case Asked() as asked:
                self._consider(asked)
            case Uptime(seconds):
                if self._outage is not None:
                    self._resume(restarted=self._outage.was_restart(time.monotonic(), self._uptime, seconds))
                self._uptime = seconds

    def _consider(self, asked: Asked) -> None:
        found = self._admission.look(asked, time.monotonic())
        if isinstance(found, Request):
            self.requests.put((asked.name, found))
        elif found is not None:
            log.warning("command %.60r refused: %s", asked.name, found.error)
            self._answer(asked.name, found)

    def _answer(self, name: str, reply: Reply) -> None:
        if self._link.connected and name in COMMANDS:
            self._replies[self._publish(f"reply/{name}", encode(reply), retain=False)] = f"reply/{name}"

    def _begin(self, allowed: int) -> None:
        log.info("connected to broker %s", self._broker)
        self._told.clear()
        self._retained.put("status", self._condition.present())
        self._retained.begin()
        self._replays.begin()
        self._replies.clear()
        # A broker drops who has more messages in flight than it allows (MQTT 5, 3.3.4).
        self._delivery.begin(allowed - len(self._retained))
        if self._outage is not None:
            unsure = self._outage.settled < self._delivery.delivered
            self._outage = self._outage.over(time.monotonic()) if unsure else None

    def _lose(self, away: Away) -> None:
        now = time.monotonic()
        if self._outage is None:
            self._outage = Outage(began=now, settled=self._delivery.settled(now))
        self._tell(f"{away.reason}; judging goes on, verdicts wait in the ledger", logging.WARNING)
        if away.rival:
            self._take(_Trouble("identity", "another device has this device.id"))

    def _resume(self, *, restarted: bool) -> None:
        """Go on where it broke; what a broker had acknowledged just before it died may not be on its disk."""
        if restarted and self._outage is not None:
            self._delivery.rewind(self._outage.settled)
        self._outage = None

    def _note_written(self, last: int) -> None:
        if self._lateness is None:
            self._delivery.rewind(self._ledger.delivered)
            self._lateness = Lateness(last)
        else:
            self._lateness.written(last, time.monotonic())
        self._written = last

    def _settle(self, packet: int, refused: str) -> None:
        now = time.monotonic()
        name = self._retained.landed(packet) or self._replies.pop(packet, "")
        if not name and not self._replays.landed(packet):
            name = "event"
            if refused:
                self._delivery.refused(packet)
                self._refused_until = now + REFUSED_SECONDS
            else:
                self._delivery.landed(packet, now)
        problem = f"the broker refuses {self._topic(name)} ({refused}); check its access rules and its log"
        if refused:
            self._tell(problem, logging.ERROR)
        self._take(_Trouble(name, problem if refused else ""))

    def _send(self, now: float) -> None:
        for name, message in self._retained.due():
            self._retained.sent(self._publish(name, encode(message), retain=True), name)
        if self._outage is not None and now >= self._outage.hold_until:
            self._resume(restarted=False)
        if self._outage is not None or now < self._refused_until:
            return
        self._refused_until = 0.0
        while self._delivery.hungry and self._delivery.read < self._written:
            if not (entries := self._ledger.take(self._delivery.read, BATCH)):
                break
            self._delivery.put(entries)
        while (entry := self._delivery.next(now)) is not None:
            self._delivery.sent(self._publish(*self._message(entry, now), retain=False), entry, now)
        if self._delivery.idle and (span := self._replays.wanted) is not None:
            self._send_again(span)

    def _send_again(self, span: Span) -> None:
        rows = [entry for entry in self._ledger.look(span, self._replays.room) if isinstance(entry, Row)]
        for row in rows:
            self._replays.sent(self._publish("event", _historical(row), retain=False), row)
        if not rows:
            self._replays.ended()

    def _message(self, entry: Row | Gap, now: float) -> tuple[str, bytes]:
        if isinstance(entry, Gap):
            return "gap", encode(entry)
        if self._lateness is not None and self._lateness.is_late(entry.seq, now):
            return "event", _historical(entry)
        return "event", entry.json

    def _publish(self, name: str, payload: bytes, *, retain: bool) -> int:
        return int(self._link.publish(self._topic(name), payload, retain=retain).mid)

    def _tell(self, problem: str, level: int) -> None:
        if problem not in self._told:
            log.log(level, "%s", problem)
        self._told.add(problem)

    def _finished(self) -> bool:
        if self._stop is None:
            return False
        # A start that fails at once still waits for the broker's first answer: its reason must be heard.
        answered = self._link.connected is not None
        holding = self._link.connected and self._outage is not None
        all_there = self._delivery.idle and self._delivery.read >= self._written and not holding
        return (answered and all_there and self._inbox.empty()) or time.monotonic() >= self._stop.deadline

    def _patience(self) -> float | None:
        now = time.monotonic()
        deadlines = [self._link.deadline]
        if self._stop is not None:
            deadlines.append(self._stop.deadline)
        if self._link.connected:
            deadlines.append(self._refused_until or None)
            deadlines.append(self._outage.hold_until if self._outage is not None else None)
        if self._delivery.settled(now) < self._delivery.delivered:
            deadlines.append(now + _SETTLING_SECONDS)
        due = [deadline for deadline in deadlines if deadline is not None]
        return max(0.0, min(due) - now) if due else None

    def _say_goodbye(self) -> None:
        if not self._link.connected or self._stop is None:
            return  # The broker publishes the last will instead.
        status = encode(self._condition.gone(self._stop.reason))
        goodbye = self._link.publish(self._topic("status"), status, retain=True)
        try:
            goodbye.wait_for_publish(max(0.1, self._stop.deadline - time.monotonic()))
        except RuntimeError as error:  # paho's word for a link that broke meanwhile: the last will speaks.
            log.warning("could not say offline: %s", error)

    def _topic(self, name: str) -> str:
        return topic(self._device.site, self._device.id, name)


def _historical(row: Row) -> bytes:
    return row.json.removesuffix(_LIVE) + _HISTORICAL
