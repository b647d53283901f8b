"""Delivers events in order, and keeps the retained messages current.

One thread, the sender, owns all state. Everybody else, paho's callbacks included, only puts notes into its
inbox: no lock is shared with paho, no callback can block or kill paho's network thread.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from edge import clock
from edge.broker import CONNECT_SECONDS, address, closed, hung_up, make_client, refusal, silent, unreachable
from edge.contract.messages import RETAINED, Event, Message, Status, encode, topic
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    import paho.mqtt.client as paho

    from edge.config import Config

log = logging.getLogger(__name__)

IN_FLIGHT = 20
"""Events handed to paho and not yet acknowledged, at most."""
MAX_WAITING = 50_000
"""Events kept in memory while the broker is away: about 50 MB. What comes beyond is refused and counted."""
RECONNECT_SECONDS = (1, 30)
QUICK_SECONDS = 0.6
"""For the last verdicts after SIGTERM: with the camera's end, within the 2 s that a stop may take."""
_SLACK = 0.1


class _Opened(Record, frozen=True):
    """A connection without MQTT on it yet: by `deadline` the broker should have answered."""

    deadline: float


class _Connected(Record, frozen=True):
    allowed: int


class _Away(Record, frozen=True):
    reason: str


class _Acknowledged(Record, frozen=True):
    mid: int
    refused: str


class _Send(Record, frozen=True):
    event: Event


class _Retain(Record, frozen=True):
    name: str
    message: Message


class _Stop(Record, frozen=True):
    reason: str
    deadline: float


_Note: TypeAlias = _Opened | _Connected | _Away | _Acknowledged | _Send | _Retain | _Stop


class Publisher:
    """A connection that is always coming back. Nothing here blocks the caller except `stop`."""

    def __init__(self, config: Config, boot_id: str) -> None:
        """Prepare the client; raises ConfigError for certificate or password files that cannot be used."""
        self.lost = 0
        """Events refused because MAX_WAITING was reached, or refused by the broker."""
        self._config = config
        self._boot_id = boot_id
        self._inbox: SimpleQueue[_Note] = SimpleQueue()
        self._backlog: deque[Event] = deque()
        self._window = IN_FLIGHT
        self._in_flight: set[int] = set()
        self._retaining: dict[int, str] = {}
        """Retained messages in flight: their names by mid."""
        self._told: set[str] = set()
        """What was said of this connection already: a broker refuses often."""
        self._resent: set[int] = set()
        """In flight when the link broke: paho sends these again first, so newer ones wait for them."""
        self._retained: dict[str, Message] = {}
        self._connected: bool | None = None
        """None: the first attempt is still under way."""
        self._silence: _Opened | None = None
        """A connection whose broker has not answered yet."""
        self._stop: _Stop | None = None
        self._refused = False
        """Whether this connection's end has been explained already; paho's thread alone touches it."""
        self._offline = threading.Event()
        self._offline.set()
        self._client = self._prepare()
        self._sender = threading.Thread(target=self._run_sender, name="mqtt-sender", daemon=True)

    @property
    def waiting(self) -> int:
        """Events that the broker has not acknowledged yet."""
        return len(self._backlog) + len(self._in_flight)

    def start(self) -> None:
        """Begin to connect, in the background."""
        mqtt = self._config.mqtt
        self._sender.start()
        self._client.connect_async(mqtt.host, mqtt.port, keepalive=mqtt.keepalive_s)
        # paho's own thread, not one of ours around loop_forever: only then it alone writes to the socket.
        self._client.loop_start()

    def send(self, event: Event) -> None:
        """Queue one event: delivered at least once, in order."""
        self._inbox.put(_Send(event))

    def retain(self, name: str, message: Message) -> None:
        """Make this the retained message `name`, now and after every reconnect."""
        self._inbox.put(_Retain(name, message))

    def stop(self, reason: str, timeout: float, hurry: threading.Event) -> int:
        """Deliver what is waiting, say offline, disconnect; returns how many events did not arrive.

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
        self._client.disconnect()
        # Not loop_stop: it waits without a limit for a thread that may be connecting to a host that is silent.
        self._offline.wait(max(_SLACK, deadline - time.monotonic()))
        return self.waiting + self.lost

    # --- paho's side: its callbacks only write notes

    def _prepare(self) -> paho.Client:
        device = self._config.device
        client = make_client(self._config.mqtt, f"edge-inspect/{device.site}/{device.id}")
        client.max_inflight_messages_set(2 * IN_FLIGHT)  # The window is ours; paho's must never reorder within it.
        client.reconnect_delay_set(*RECONNECT_SECONDS)
        client.will_set(self._topic("status"), encode(self._status("offline", "connection lost")), qos=1, retain=True)
        client.on_socket_open = self._on_socket_open
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _on_socket_open(self, _client: Any, _data: Any, _socket: Any) -> None:
        self._refused = False
        self._inbox.put(_Opened(time.monotonic() + CONNECT_SECONDS))

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        self._refused = reason.is_failure
        if self._refused:
            self._inbox.put(_Away(refusal(self._config.mqtt, reason)))
        else:
            self._offline.clear()
            self._inbox.put(_Connected(getattr(properties, "ReceiveMaximum", 2 * IN_FLIGHT)))

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        # paho calls this while it handles the exception that says why.
        self._inbox.put(_Away(unreachable(self._config.mqtt, sys.exc_info()[1])))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not self._refused:
            explain = hung_up if self._offline.is_set() else closed
            self._inbox.put(_Away(explain(self._config.mqtt, reason)))
        self._offline.set()

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._inbox.put(_Acknowledged(mid, str(reason) if reason.is_failure else ""))

    # --- the sender's side: the only one that changes state

    def _run_sender(self) -> None:
        last_problem = ""
        while not self._finished():
            try:
                note = self._inbox.get(timeout=self._patience())
            except Empty:
                if self._silence is None or time.monotonic() < self._silence.deadline:
                    continue
                note = _Away(silent(self._config.mqtt))
            if isinstance(note, _Away) and self._stop is None:
                if note.reason != last_problem:
                    log.warning("%s; judging goes on, %d verdicts wait", note.reason, self.waiting)
                last_problem = note.reason
            elif isinstance(note, _Connected):
                log.info("connected to broker %s", address(self._config.mqtt))
                last_problem = ""
            self._take(note)
            self._fill_window()
        self._say_goodbye()

    def _take(self, note: _Note) -> None:
        match note:
            case _Opened():
                self._silence = note
            case _Connected(allowed):
                self._connected, self._silence = True, None
                self._retaining.clear()
                self._told.clear()
                # A broker drops who has more messages in flight than it allows (MQTT 5, 3.3.4).
                self._window = max(1, min(IN_FLIGHT, allowed - len(RETAINED)))
                self._publish_retained({"status": self._status("online", ""), **self._retained})
            case _Away():
                self._connected, self._silence = False, None
                self._resent = set(self._in_flight)
            case _Acknowledged(mid, refused):
                self._settle(mid, refused)
            case _Send(event):
                self._accept(event)
            case _Retain(name, message):
                self._retained[name] = message
                if self._connected:
                    self._publish_retained({name: message})
            case _Stop():
                self._stop = note

    def _accept(self, event: Event) -> None:
        if len(self._backlog) < MAX_WAITING:
            self._backlog.append(event)
            return
        self.lost += 1
        if self.lost == 1:
            log.error("%d verdicts wait for the broker: memory is full, newer ones are lost", MAX_WAITING)

    def _settle(self, mid: int, refused: str) -> None:
        self._resent.discard(mid)
        name = self._retaining.pop(mid, "")
        if mid in self._in_flight:
            self._in_flight.discard(mid)
            self.lost += bool(refused)
            name = "event"
        if refused and name:
            self._tell(f"the broker refuses {self._topic(name)} ({refused}); check its access rules and its log")

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            log.error("%s", problem)
        self._told.add(problem)

    def _fill_window(self) -> None:
        while self._connected and self._backlog and not self._resent and len(self._in_flight) < self._window:
            self._in_flight.add(self._publish("event", self._backlog.popleft(), retain=False))

    def _publish_retained(self, messages: Mapping[str, Message]) -> None:
        for name, message in messages.items():
            self._retaining[self._publish(name, message, retain=True)] = name

    def _publish(self, name: str, message: Message, *, retain: bool) -> int:
        return self._client.publish(self._topic(name), encode(message), qos=1, retain=retain).mid

    def _finished(self) -> bool:
        if self._stop is None:
            return False
        # A start that fails at once still waits for the broker's first answer: its reason must be heard.
        delivered = self._inbox.empty() and not self.waiting and self._connected is not None
        return delivered or time.monotonic() >= self._stop.deadline

    def _patience(self) -> float | None:
        deadlines = [due.deadline for due in (self._silence, self._stop) if due is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _say_goodbye(self) -> None:
        if not self._connected or self._stop is None:
            return  # The broker publishes the last will instead.
        status = encode(self._status("offline", self._stop.reason))
        goodbye = self._client.publish(self._topic("status"), status, qos=1, retain=True)
        try:
            goodbye.wait_for_publish(max(0.1, self._stop.deadline - time.monotonic()))
        except RuntimeError as error:  # paho's word for a link that broke meanwhile: the last will speaks.
            log.warning("could not say offline: %s", error)

    def _status(self, state: Any, reason: str) -> Status:
        return Status(state=state, reason=reason, boot_id=self._boot_id, time=clock.now())

    def _topic(self, name: str) -> str:
        return topic(self._config.device.site, self._config.device.id, name)
