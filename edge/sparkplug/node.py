"""An edge node of Sparkplug B 3.0: this device, as a SCADA host sees it, on an MQTT connection of its own.

Verdicts go out in the order of the ledger, one NDATA each. Those that were there before the birth certificate, which
shows the newest of them, are marked historical. NDATA is QoS 0 by the specification, so no broker acknowledges it:
behind each batch goes a packet that has to be answered, and what is not known to be read by the broker on the same
connection is sent again on the next. A verdict may so arrive twice (its event id tells); it is lost where the broker
had read it and a subscriber did not get it, longer than SETTLED_SECONDS before this node heard that something was
wrong: QoS 0 ends there. Verdicts of a ledger whose file opened late follow when it has, historical, and with them once
more those that were judged meanwhile.

One thread owns all state, as in the publisher. Nothing here can block the judging.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from edge.mqtt.broker import not_heard
from edge.mqtt.connection import Asked, Away, Connected, Identity, Opened, Reached, Subscribed, Will
from edge.mqtt.link import Heard, Link
from edge.record import Record
from edge.sparkplug import payload
from edge.sparkplug.host import Host
from edge.sparkplug.memory import BIRTHS, FILE, Memory, Progress
from edge.sparkplug.reader import Reader
from edge.sparkplug.session import LEAVING_SECONDS, Session, Topics
from edge.threads import fatal

if TYPE_CHECKING:
    from pathlib import Path

    from edge.config import Config
    from edge.ledger.ledger import Ledger
    from edge.mqtt.connection import News

log = logging.getLogger(__name__)

BATCH = 100
"""Verdicts between two questions whether the broker has read them."""
KEEP_SECONDS = 10.0
"""Between two times that the cursor is written; after a kill, verdicts of this time go twice."""
RETRY_SECONDS = 1.0
"""Before a ledger that could not be read is asked again."""
PATIENCE_SECONDS = 5.0
"""A connection that is away, or a host, for no longer than this is no trouble yet."""
_MUTE = "Sparkplug: the broker does not answer any more; check the network"


class _Written(Record, frozen=True):
    """The ledger holds verdicts up to this number."""

    last: int


class _Stop(Record, frozen=True):
    deadline: float


class _Mark(Record, frozen=True):
    """A packet that the broker has to answer when it has read the verdicts up to a number, and when it was sent."""

    packet: int
    upto: int
    since: float


_Note: TypeAlias = Heard | _Written | _Stop


class Node:
    """Brings SCADA what the ledger holds. Nothing here blocks the caller except `stop`."""

    def __init__(self, config: Config, ledger: Ledger, folder: Path) -> None:
        """Prepare the client; raises ConfigError for certificate or password files that cannot be used."""
        self._client_id = f"edge-inspect/{config.device.site}/{config.device.id}/sparkplug"
        self._topics = Topics.by(config)
        self._host = Host(config.sparkplug.primary_host_id)
        self._reader = Reader(ledger)
        self._memory = Memory(folder / FILE)
        self._bd_seq_used = True
        """Whether the present bdSeq went into a CONNECT."""
        self._kept_at = 0.0
        self._progress: Progress | None = None
        """None: the ledger is not open yet."""
        self._mark: _Mark | None = None
        self._problem = "", 0.0
        """What keeps verdicts from going out, and since when."""
        self._said = ""
        """What of that the log says."""
        self._stop: _Stop | None = None
        self._error: Exception | None = None
        self._inbox: SimpleQueue[_Note] = SimpleQueue()
        self._link = Link(config.mqtt, self._identify, self._inbox.put)
        self._session = Session(config, ledger, self._reader, self._link)
        self._thread = threading.Thread(target=self._run, name="sparkplug", daemon=True)

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._thread.start()
        self._link.open()

    def written(self, last: int) -> None:
        """Hear that the ledger holds verdicts up to this number."""
        self._inbox.put(_Written(last))

    def trouble(self) -> str:
        """Return what keeps verdicts from going out, empty if nothing does; raises what ended the thread."""
        if self._error is not None:
            raise self._error
        problem, since = self._problem
        lasting = problem if time.monotonic() - since >= PATIENCE_SECONDS else ""
        return lasting or self._memory.trouble

    def leave(self, timeout: float) -> None:
        """Have it deliver what it can, say goodbye and end, within this time; returns at once."""
        self._inbox.put(_Stop(time.monotonic() + timeout))

    def stop(self, timeout: float) -> None:
        """Leave, and wait for that; what did not arrive in time waits in the ledger."""
        self.leave(timeout)
        if self._thread.is_alive():  # It is not, where a signal came before `start`.
            self._thread.join(timeout + LEAVING_SECONDS)
        self._link.close(LEAVING_SECONDS)

    # --- the thread's side: the only one that changes state

    def _run(self) -> None:
        try:
            while not self._finished():
                with contextlib.suppress(Empty):
                    self._take(self._inbox.get(timeout=self._patience()))
                now = time.monotonic()
                if self._inbox.empty() and (away := self._link.tick(now)) is not None:
                    self._lose(away, now)
                if self._link.connected and self._progress is not None:
                    self._work(now)
                else:
                    self._note(self._problem[0], now)
                self._keep(now)
            if self._session.born:
                self._session.die(self._memory.kept.bd_seq)
            self._keep(None)
        except BaseException as error:  # noqa: BLE001 - whatever it is, `trouble` raises it in the judging thread
            self._error = fatal(error)

    def _take(self, note: _Note) -> None:
        match note:
            case Heard():
                self._hear(self._link.take(note), time.monotonic())
            case _Written(last):
                self._open_ledger(last)
            case _Stop():
                self._stop = note

    def _hear(self, news: News | None, now: float) -> None:
        match news:
            case Opened():
                self._bd_seq_used = True
            case Connected():
                self._host.begin()
            case Away():
                self._lose(news, now)
            case Reached(packet):
                self._reach(packet, now)
            case Subscribed(where, refused) if refused:
                self._session.deaf = not_heard(where, refused)
            case Asked() as asked:
                self._consider(asked)

    def _consider(self, asked: Asked) -> None:
        if asked.topic == self._topics.of("NCMD"):
            if not asked.retained and payload.asks_rebirth(asked.payload):
                self._session.ask_rebirth()
        elif asked.topic == self._topics.of("NBIRTH"):
            self._session.hear_birth(asked.payload)
        elif asked.topic == self._topics.state(self._host.name):
            self._host.hear(asked.payload)

    def _open_ledger(self, last: int) -> None:
        self._reader.upto = last
        if self._progress is None:
            kept = self._memory.kept
            self._reader.after = last if kept.cursor is None else min(kept.cursor, last)
            self._progress = Progress(self._reader.after)
            if kept.cursor is None:
                self._memory.keep(msgspec.structs.replace(kept, cursor=last))

    def _reach(self, packet: int, now: float) -> None:
        if self._mark is not None and self._mark.packet == packet and self._progress is not None:
            self._progress.reach(self._mark.upto, now)
            self._mark = None

    def _work(self, now: float) -> None:
        """Do what may be done on a connection."""
        if not self._host.wanted:
            self._wait_for_host(now)
            return
        session = self._session
        if not session.born or (session.rebirth_at is not None and now >= session.rebirth_at):
            session.begin(self._memory.kept.bd_seq, now)
        is_mute = self._mark is not None and now - self._mark.since > PATIENCE_SECONDS
        self._note(session.trouble or (_MUTE if is_mute else ""), now)
        if session.rebirth_at is not None or self._mark is not None:
            return
        if self._reader.turn_back():
            self._progress = Progress(self._reader.after)
            session.look_back()
        if entries := self._reader.read(BATCH):
            session.send(entries)
            if (packet := self._link.mark()) is not None:
                self._mark = _Mark(packet, self._reader.after, now)

    def _wait_for_host(self, now: float) -> None:
        if self._session.born:  # The host's end ends the session (...-edge-node-birth-publish-phid-offline).
            self._session.die(self._memory.kept.bd_seq)
            self._rewind(now)
            self._link.renew(LEAVING_SECONDS)
        missing = f"the Sparkplug host {self._host.name} is not online"
        self._note(f"{self._session.deaf or missing}; verdicts wait in the ledger", now)

    def _lose(self, away: Away, now: float) -> None:
        # Some brokers hang up on who says what their rules forbid: the hint to the rules is the better one then.
        forbidden = self._session.trouble if self._session.born else ""
        self._rewind(now)
        self._note(forbidden or f"Sparkplug: {away.reason}; verdicts wait in the ledger", now)

    def _rewind(self, now: float) -> None:
        """End the session: the next one begins where all has surely arrived."""
        self._session.end()
        self._mark = None
        if self._progress is not None:
            # Not further than it was: what is to go again does not settle while there is no connection.
            self._reader.after = min(self._reader.after, self._progress.settled(now))
            self._keep(None)

    def _note(self, problem: str, now: float) -> None:
        """Note what keeps verdicts from going out, empty: nothing, and say it when it lasts."""
        known, since = self._problem
        self._problem = problem, since if known and problem else now
        if not problem:
            self._said = ""
        elif now - self._problem[1] >= PATIENCE_SECONDS and problem != self._said:
            log.warning("%s", problem)
            self._said = problem

    def _keep(self, now: float | None) -> None:
        """Remember how far it went, now and then; None: at once."""
        if self._progress is None or (now is not None and now < self._kept_at + KEEP_SECONDS):
            return
        cursor = min(self._progress.last, self._reader.after)
        if self._reader.skipped is not None:
            cursor = min(cursor, self._reader.skipped)
        if cursor != self._memory.kept.cursor:
            self._memory.keep(msgspec.structs.replace(self._memory.kept, cursor=cursor))
            self._kept_at = time.monotonic()

    def _patience(self) -> float | None:
        now = time.monotonic()
        deadlines = [self._link.deadline, self._session.rebirth_at, self._stop.deadline if self._stop else None]
        if self._progress is not None and self._progress.last != self._memory.kept.cursor:
            deadlines.append(now + KEEP_SECONDS)
        if self._session.born and self._mark is None and self._reader.waiting:
            deadlines.append(now + RETRY_SECONDS)
        problem, since = self._problem
        if problem != self._said:
            deadlines.append(since + PATIENCE_SECONDS)
        due = [deadline for deadline in deadlines if deadline is not None]
        return max(0.0, min(due) - now) if due else None

    def _finished(self) -> bool:
        if self._stop is None:
            return False
        idle = self._session.born and self._mark is None and not self._reader.waiting and self._inbox.empty()
        hopeless = self._link.connected is False or self._host.online is False
        return idle or hopeless or time.monotonic() >= self._stop.deadline

    def _identify(self) -> Identity:
        """Return who connects next: each CONNECT has the next bdSeq in its will, and that is kept before it is sent."""
        if self._bd_seq_used:
            kept = self._memory.kept
            self._memory.keep(msgspec.structs.replace(kept, bd_seq=(kept.bd_seq + 1) % BIRTHS))
            self._bd_seq_used = False
        death = payload.death(self._memory.kept.bd_seq)
        will = Will(self._topics.of("NDEATH"), death, retain=False, always=True)
        state = ((self._topics.state(self._host.name), 1),) if self._host.name else ()
        listens = (self._topics.of("NCMD"), 1), (self._topics.of("NBIRTH"), 0), *state
        return Identity(self._client_id, will, listens, payload.LARGEST)
