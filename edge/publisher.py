"""Delivers the ledger's verdicts in order, and keeps the retained messages current.

One thread, the sender, owns all state. Everybody else, paho's callbacks and the ledger included, only puts notes into
its inbox.
"""

from __future__ import annotations

import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from edge import clock
from edge.broker import address, silent
from edge.connection import Acknowledged, Away, Connected, Connection, Opened, Will
from edge.contract.messages import Gap, Message, Status, encode, topic
from edge.delivery import Delivery, Lateness
from edge.record import Record
from edge.retained import Retained

if TYPE_CHECKING:
    from edge.config import Config
    from edge.ledger.ledger import Ledger
    from edge.ledger.rows import Row

log = logging.getLogger(__name__)

BATCH = 100
"""Entries read from the ledger at once."""
REFUSED_SECONDS = 5.0
"""Before what the broker refused is offered again."""
QUICK_SECONDS = 0.6
"""For the last verdicts after SIGTERM: with the camera's end, within the 2 s that a stop may take."""
_SLACK = 0.1
_LIVE, _HISTORICAL = b'"historical":false}', b'"historical":true}'
"""How a verdict's JSON ends."""


class _Written(Record, frozen=True):
    """The ledger holds verdicts up to this number."""

    last: int


class _Retain(Record, frozen=True):
    name: str
    message: Message


class _Trouble(Record, frozen=True):
    """What is wrong with a part of the device; empty: nothing."""

    part: str
    problem: str


class _Stop(Record, frozen=True):
    reason: str
    deadline: float


_Note: TypeAlias = Opened | Connected | Away | Acknowledged | _Written | _Retain | _Trouble | _Stop


class Publisher:
    """Brings the broker what the ledger holds. Nothing here blocks the caller except `stop`."""

    def __init__(self, config: Config, boot_id: str, ledger: Ledger) -> None:
        """Prepare the client; raises ConfigError for certificate or password files that cannot be used."""
        self.boot_id = boot_id
        self._config = config
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        device = config.device
        will = Will(self._topic("status"), encode(self._status("offline", "connection lost")))
        self._connection = Connection(config.mqtt, f"edge-inspect/{device.site}/{device.id}", will, self._inbox.put)
        self._ledger = ledger
        self._delivery = Delivery()
        self._lateness: Lateness | None = None
        self._retained = Retained()
        self._written = 0
        self._connected: bool | None = None
        """None: the first attempt is still under way."""
        self._silence: Opened | None = None
        """A connection whose broker has not answered yet."""
        self._refused_until = 0.0
        self._stop: _Stop | None = None
        self._troubles: dict[str, str] = {}
        self._told: set[str] = set()
        """What was said of this connection already: a broker refuses often."""
        self._sender = threading.Thread(target=self._run_sender, name="mqtt-sender", daemon=True)

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._sender.start()
        self._connection.open()

    def written(self, last: int) -> None:
        """Hear that the ledger holds verdicts up to this number."""
        self._inbox.put(_Written(last))

    def retain(self, name: str, message: Message) -> None:
        """Make this the retained message `name`, now and after every reconnect; it overtakes waiting verdicts."""
        self._inbox.put(_Retain(name, message))

    def report(self, part: str, problem: str) -> None:
        """Have the status say what is wrong with a part of the device; empty: nothing any more."""
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
        self._connection.close(max(_SLACK, deadline - time.monotonic()))

    # --- the sender's side: the only one that changes state

    def _run_sender(self) -> None:
        while not self._finished():
            try:
                note = self._inbox.get(timeout=self._patience())
            except Empty:
                note = None
                if self._silence is not None and time.monotonic() >= self._silence.deadline:
                    note = Away(silent(self._config.mqtt))
            if note is not None:
                self._take(note)
            if self._connected:
                self._send()
        self._say_goodbye()

    def _take(self, note: _Note) -> None:
        match note:
            case Opened():
                self._silence = note
            case Connected(allowed):
                self._begin(allowed)
            case Away(reason, rival):
                self._connected, self._silence = False, None
                self._delivery.broken()
                self._tell(f"{reason}; judging goes on, verdicts wait in the ledger", logging.WARNING)
                if rival:
                    self._take(_Trouble("identity", "another device has this device.id"))
            case Acknowledged(packet, refused):
                self._settle(packet, refused)
            case _Written(last):
                self._note_written(last)
            case _Retain(name, message):
                self._retained.put(name, message)
            case _Trouble(part, problem):
                self._troubles = {**self._troubles, part: problem}
                self._retained.put("status", self._present())
            case _Stop():
                self._stop = note

    def _begin(self, allowed: int) -> None:
        log.info("connected to broker %s", address(self._config.mqtt))
        self._connected, self._silence = True, None
        self._told.clear()
        self._retained.put("status", self._present())
        self._retained.begin()
        # A broker drops who has more messages in flight than it allows (MQTT 5, 3.3.4).
        self._delivery.connected(allowed - len(self._retained))

    def _note_written(self, last: int) -> None:
        if self._lateness is None:
            self._delivery.begin(self._ledger.delivered)
            self._lateness = Lateness(last)
        else:
            self._lateness.written(last, time.monotonic())
        self._written = last

    def _settle(self, packet: int, refused: str) -> None:
        name = self._retained.landed(packet)
        if not name:
            name = "event"
            if refused:
                self._delivery.refused(packet)
                self._refused_until = time.monotonic() + REFUSED_SECONDS
            elif self._delivery.landed(packet, time.monotonic()):
                self._ledger.delivered = self._delivery.delivered
        if refused:
            problem = f"the broker refuses {self._topic(name)} ({refused}); check its access rules and its log"
            self._tell(problem, logging.ERROR)
            self._take(_Trouble(name, problem))
        elif self._troubles.get(name):
            self._take(_Trouble(name, ""))

    def _send(self) -> None:
        for name, message in self._retained.due():
            self._retained.sent(self._publish(name, encode(message), retain=True), name)
        now = time.monotonic()
        if now < self._refused_until:
            return
        while self._delivery.hungry and self._delivery.read < self._written:
            if not (entries := self._ledger.take(self._delivery.read, BATCH)):
                break
            self._delivery.put(entries)
        while (entry := self._delivery.next(now)) is not None:
            self._delivery.sent(self._publish(*self._message(entry, now), retain=False), entry, now)

    def _message(self, entry: Row | Gap, now: float) -> tuple[str, bytes]:
        if isinstance(entry, Gap):
            return "gap", encode(entry)
        if self._lateness is not None and self._lateness.is_late(entry.seq, now):
            return "event", entry.json.removesuffix(_LIVE) + _HISTORICAL
        return "event", entry.json

    def _publish(self, name: str, payload: bytes, *, retain: bool) -> int:
        return int(self._connection.publish(self._topic(name), payload, retain=retain).mid)

    def _tell(self, problem: str, level: int) -> None:
        if problem not in self._told:
            log.log(level, "%s", problem)
        self._told.add(problem)

    def _finished(self) -> bool:
        if self._stop is None:
            return False
        # A start that fails at once still waits for the broker's first answer: its reason must be heard.
        all_there = self._delivery.idle and self._delivery.read >= self._written
        delivered = self._inbox.empty() and all_there and self._connected is not None
        return delivered or time.monotonic() >= self._stop.deadline

    def _patience(self) -> float | None:
        deadlines = [due.deadline for due in (self._silence, self._stop) if due is not None]
        if self._connected and self._refused_until > time.monotonic():
            deadlines.append(self._refused_until)
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _say_goodbye(self) -> None:
        if not self._connected or self._stop is None:
            return  # The broker publishes the last will instead.
        status = encode(self._status("offline", self._stop.reason))
        goodbye = self._connection.publish(self._topic("status"), status, retain=True)
        try:
            goodbye.wait_for_publish(max(0.1, self._stop.deadline - time.monotonic()))
        except RuntimeError as error:  # paho's word for a link that broke meanwhile: the last will speaks.
            log.warning("could not say offline: %s", error)

    def _present(self) -> Status:
        troubles = "; ".join(filter(None, self._troubles.values()))
        return self._status("degraded" if troubles else "online", troubles)

    def _status(self, state: Literal["online", "offline", "degraded"], reason: str) -> Status:
        return Status(state=state, reason=reason, boot_id=self.boot_id, time=clock.now())

    def _topic(self, name: str) -> str:
        return topic(self._config.device.site, self._config.device.id, name)
