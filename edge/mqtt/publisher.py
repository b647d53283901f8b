"""Delivers the ledger's verdicts in order, and keeps the retained messages current.

One thread, the sender, owns all state. Everybody else, paho's callbacks included, only puts notes into its inbox.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from edge.condition import Condition
from edge.contract.messages import Message, encode, topic
from edge.mqtt.broker import CONTESTED, FORBIDDEN, RIVAL, address, not_heard, not_taken
from edge.mqtt.connection import (
    UPTIME,
    Acknowledged,
    Asked,
    Away,
    Connected,
    Identity,
    News,
    Reached,
    Subscribed,
    Uptime,
    Will,
)
from edge.mqtt.discovery import STARTED, Discovery
from edge.mqtt.goodbye import Goodbye
from edge.mqtt.intake import Intake
from edge.mqtt.link import Heard, Link
from edge.mqtt.manner import PICTURE, Manner
from edge.mqtt.notes import Answer, Note, Pictured, Retain, Stop, Trouble, Written
from edge.mqtt.outbox import Outbox
from edge.mqtt.pictures import Pictures
from edge.stopping import QUICK_SECONDS
from edge.threads import Pulse, fatal

if TYPE_CHECKING:
    from edge.album import Album, Picture
    from edge.config import Config
    from edge.contract.commands import Reply
    from edge.ledger.ledger import Ledger

log = logging.getLogger(__name__)

_SLACK = 0.1
_GOODBYE_SECONDS = 0.5
"""Of a stop's time, or a third of it, for the broker to acknowledge the goodbye."""
_SIZE = "size"
"""Stands among the parts of a device for messages that the broker does not take."""


class Publisher:
    """Brings the broker what the ledger holds. Nothing here blocks the caller except `stop`."""

    def __init__(
        self, config: Config, boot_id: str, ledger: Ledger, album: Album, discovery: Discovery | None = None
    ) -> None:
        """Prepare the client; raises ConfigError for certificate or password files that cannot be used."""
        self.boot_id = boot_id
        self._device = config.device
        self._discovery = discovery
        self._elsewhere = discovery.messages if discovery else {}  # Retained; their names are whole topics.
        self._broker = address(config.mqtt)
        self._inbox: SimpleQueue[Note] = SimpleQueue()
        self.condition = Condition(boot_id)
        self._reported: dict[str, str] = {}  # What `report` has passed on.
        will = Will(self._topic("status"), encode(self.condition.gone("connection lost")))
        commands = ((self._topic("cmd/+"), 1),) if config.commands.allow else ()
        births = ((discovery.births, 1),) if discovery and discovery.births else ()
        listens = ((UPTIME, 0), *commands, *births)
        who = Identity(f"edge-inspect/{config.device.site}/{config.device.id}", will, listens)
        self.link = Link(config.mqtt, lambda: who, self._inbox.put)
        pictures = Pictures(album, self._takes, shows_defect=config.homeassistant.enabled)
        self._outbox = Outbox(ledger, pictures, self._publish, self.link.mark)
        self.intake = Intake(config.commands.allow, boot_id, ledger, self._outbox)
        """What is asked of the device; of its `requests` each wants a `reply`."""
        for name, payload in self._elsewhere.items():
            self._outbox.retain(name, payload)
        if discovery:
            self.condition.note("homeassistant", discovery.trouble)
        self._requests = commands[0][0] if commands else ""
        self._stop: Stop | None = None
        self._told: set[str] = set()  # Since a connection stood for a while: a broker refuses, or hangs up, often.
        self._is_said_offline = False  # Else the last will must say so.
        self._error: Exception | None = None
        self._pulse = Pulse()
        self._sender = threading.Thread(target=self._run_sender, name="mqtt-sender", daemon=True)

    @property
    def unheard(self) -> int:
        """How many notes to the sender it has not heard yet."""
        return self._inbox.qsize()

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._sender.start()
        self.link.open()

    def written(self, last: int) -> None:
        """Hear that the ledger holds verdicts up to this number."""
        self._inbox.put(Written(last))

    def retain(self, name: str, message: Message) -> None:
        """Make this the retained message `name`, now and after every reconnect; it overtakes waiting verdicts."""
        self._inbox.put(Retain(name, message))

    def pictured(self, picture: Picture) -> None:
        """Hear that the album holds one more picture."""
        self._inbox.put(Pictured(picture))

    def reply(self, name: str, reply: Reply) -> None:
        """Answer a request."""
        self._inbox.put(Answer(name, reply))

    def report(self, part: str, problem: str) -> None:
        """Have the status say what is wrong with a part, empty: nothing; raises what ended the sender or holds it."""
        if self._error is not None:
            raise self._error  # A daemon that cannot publish must end, and be started anew.
        self._pulse.check(self._sender.name, is_idle=self._inbox.empty())
        if self._reported.get(part, "") != problem:
            self._reported[part] = problem
            self._inbox.put(Trouble(part, problem))

    def stop(self, reason: str, timeout: float, hurry: threading.Event) -> None:
        """Deliver what is waiting, say offline, disconnect; what does not arrive in time waits in the ledger.

        Takes `timeout` seconds at most, and QUICK_SECONDS from when `hurry` is set.
        """
        hurried, deadline = False, self._begin_to_stop(reason, timeout)
        while self._sender.is_alive() and time.monotonic() < deadline + _SLACK:
            self._sender.join(_SLACK)
            if hurry.is_set() and not hurried:
                left = max(0.0, deadline - time.monotonic())
                hurried, deadline = True, self._begin_to_stop(reason, min(left, QUICK_SECONDS))
        self.link.close(max(_SLACK, deadline - time.monotonic()), will_speaks=not self._is_said_offline)

    def _begin_to_stop(self, reason: str, timeout: float) -> float:
        now = time.monotonic()
        self._inbox.put(Stop(reason, now + timeout - min(_GOODBYE_SECONDS, timeout / 3), now + timeout))
        return now + timeout

    # --- the sender's side: the only one that changes state

    def _run_sender(self) -> None:
        try:
            self._send_until_stopped()
        except BaseException as error:  # noqa: BLE001 - whatever it is, `report` raises it in the judging thread
            self._error = fatal(error)

    def _send_until_stopped(self) -> None:
        while not self._finished():
            with contextlib.suppress(Empty):
                self._take(self._inbox.get(timeout=self._patience()))
            self._pulse.beat()
            now = time.monotonic()
            # What the broker has answered while something held us up is not to be held against it.
            if self._inbox.empty() and (away := self.link.tick(now)) is not None:
                self._lose(away)
            self.intake.step()
            if self.link.connected:
                self._outbox.send(now)
            self._outbox.note_delivered()
        self._outbox.note_delivered()
        self._say_goodbye()

    def _take(self, note: Note) -> None:
        match note:
            case Heard():
                self._hear(self.link.take(note))
            case Written(last):
                self._outbox.written(last, time.monotonic())
            case Retain(name, message):
                self._outbox.retain(name, encode(message))
                if name == "health" and self._discovery and self._discovery.trouble:  # Now and then.
                    self._take(Trouble("homeassistant", self._discovery.try_again()))
            case Pictured(picture):
                self._outbox.picture(picture)
            case Answer(name, reply):
                self.intake.answer(name, reply)
            case Trouble(part, problem):
                if self.condition.note(part, problem):
                    self._outbox.retain("status", encode(self.condition.present()))
            case Stop():
                self._stop = note
                self.intake.close()

    def _hear(self, news: News | None) -> None:
        now = time.monotonic()
        match news:
            case Connected(allowed):
                log.info("connected to broker %s; %d attempts failed since the start", self._broker, self.link.failed)
                self.condition.note(_SIZE, "")  # Each connection has its own limit.
                self._outbox.retain("status", encode(self.condition.present()))
                self._outbox.begin(allowed, now)
            case Away():
                self._lose(news)
            case Acknowledged(packet, refused):
                self._settle(packet, refused)
            case Reached(packet):
                self._outbox.reached(packet)
            case Asked(topic=where, payload=said) if self._discovery and where == self._discovery.births:
                if said == STARTED:
                    self._introduce_again()
            case Asked() as asked:
                self.intake.consider(asked)
            case Subscribed(where, refused) if where != UPTIME:  # Which only mosquitto has: others may refuse it.
                self._note_answer(where, not_heard(where, refused) if refused else "")
            case Uptime(seconds):
                self._outbox.hear_uptime(seconds, now)

    def _introduce_again(self) -> None:
        for name, payload in self._elsewhere.items():
            if payload:  # What is taken back may be answered any moment, and forgotten then.
                self._outbox.retain(name, payload)

    def _lose(self, away: Away) -> None:
        self._outbox.lose(time.monotonic())
        if self.link.lasted:
            self._told.clear()
        self._tell(f"{away.reason}; judging goes on, verdicts wait in the ledger", logging.WARNING)
        if problem := RIVAL if away.rival else CONTESTED if self.link.contested else "":
            self._take(Trouble("identity", problem))

    def _settle(self, packet: int, refused: str) -> None:
        if not (name := self._outbox.settle(packet, time.monotonic(), refused=refused)):
            return
        where = self._topic(name)  # Before the discovery hears of it: what was taken back is forgotten.
        if self._discovery and name in self._elsewhere and refused in {"", FORBIDDEN}:  # noqa: SIM102 - shorter so
            if (then := self._discovery.landed(name)) is not None:
                self._outbox.retain(name, then)
        if self.link.lasts(time.monotonic()):
            self._take(Trouble("identity", ""))
        problem = not_taken(where, refused) if refused else ""
        if not name.startswith("reply/"):
            self._note_answer(name, problem)
        elif problem:  # Nobody says it again: no later answer would end a trouble.
            self._tell(problem, logging.ERROR)

    def _note_answer(self, part: str, problem: str) -> None:
        if problem:
            self._tell(problem, logging.ERROR)
        self._take(Trouble(part, problem))

    def _publish(self, name: str, payload: bytes, manner: Manner) -> int | None:
        if not self._takes(name, len(payload), manner):
            return None
        return int(self.link.publish(self._topic(name), payload, manner).mid)

    def _takes(self, name: str, size: int, manner: Manner) -> bool:
        """Return whether the broker takes a message of so many bytes; if not, log and status say so."""
        if refused := self.link.too_large(self._topic(name), size):
            self._note_answer(_SIZE, not_taken(self._topic("image" if manner is PICTURE else name), refused))
        return not refused

    def _tell(self, problem: str, level: int) -> None:
        if problem not in self._told:
            log.log(level, "%s", problem)
        self._told.add(problem)

    def _finished(self) -> bool:
        if self._stop is None:
            return False
        # A start that fails at once still waits for the broker's first answer: its reason must be heard.
        done = self.link.connected is not None and self._outbox.is_empty and self._inbox.empty()
        return (done and not self.intake.busy) or time.monotonic() >= self._stop.deadline

    def _patience(self) -> float | None:
        now = time.monotonic()
        deadlines = [self.link.deadline, self._outbox.deadline(now), self._stop.deadline if self._stop else None]
        due = [deadline for deadline in deadlines if deadline is not None] + [now] * self.intake.busy
        return max(0.0, min(due) - now) if due else None

    def _say_goodbye(self) -> None:
        if not self.link.connected or self._stop is None:
            return
        goodbye = Goodbye(self.link, self._inbox, self._listen, self._stop.last)
        answer = goodbye.say(self._topic("status"), encode(self.condition.gone(self._stop.reason)), self._requests)
        if isinstance(answer, Acknowledged):  # Then it went on behind all that it had acknowledged.
            self._outbox.note_delivered(at_end=True)
        if problem := answer.refused if isinstance(answer, Acknowledged) else answer:
            log.warning("could not say offline (%s): the broker does, by the last will", problem)
        self._is_said_offline = not problem
        goodbye.wait_while(lambda: self._outbox.owes)

    def _listen(self, note: Note) -> Note | News | None:
        said = self.link.take(note) if isinstance(note, Heard) else note
        if isinstance(said, Asked):
            self._hear(said)
        if isinstance(said, Acknowledged):
            self._outbox.answers.landed(said.packet)  # For verdicts it is too late: the goodbye was no proof of that.
        self._outbox.send_answers(time.monotonic(), kept=1)
        return said

    def _topic(self, name: str) -> str:
        return name if name in self._elsewhere else topic(self._device.site, self._device.id, name)
