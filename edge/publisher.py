"""The only file that knows paho: delivers events in order, and keeps the retained messages current.

One thread, the sender, owns all state. Everybody else, paho's callbacks included, only puts notes into its
inbox: no lock is shared with paho, no callback can block or kill paho's network thread.
"""

from __future__ import annotations

import logging
import ssl
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge import clock
from edge.contract.messages import Status, encode, topic
from edge.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from edge.config import Config, Mqtt
    from edge.contract.messages import Event, Message

log = logging.getLogger(__name__)

IN_FLIGHT = 20
"""Events handed to paho and not yet acknowledged, at most."""
MAX_WAITING = 50_000
"""Events kept in memory while the broker is away: about 50 MB. What comes beyond is refused and counted."""
RECONNECT_SECONDS = (1, 30)
CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Connected:
    pass


@dataclass(frozen=True, slots=True)
class _Away:
    reason: str


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    mid: int
    refused: str


@dataclass(frozen=True, slots=True)
class _Send:
    event: Event


@dataclass(frozen=True, slots=True)
class _Retain:
    name: str
    message: Message


@dataclass(frozen=True, slots=True)
class _Stop:
    reason: str
    deadline: float


_Note: TypeAlias = _Connected | _Away | _Acknowledged | _Send | _Retain | _Stop


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
        self._in_flight: set[int] = set()
        self._resent: set[int] = set()
        """In flight when the link broke: paho sends these again first, so newer ones wait for them."""
        self._retained: dict[str, Message] = {}
        self._connected = False
        self._stop: _Stop | None = None
        self._client = self._prepare()
        self._network = threading.Thread(target=self._run_network, name="mqtt-network", daemon=True)
        self._sender = threading.Thread(target=self._run_sender, name="mqtt-sender", daemon=True)

    @property
    def waiting(self) -> int:
        """Events that the broker has not acknowledged yet."""
        return len(self._backlog) + len(self._in_flight)

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._sender.start()
        self._network.start()

    def send(self, event: Event) -> None:
        """Queue one event: delivered at least once, in order."""
        self._inbox.put(_Send(event))

    def retain(self, name: str, message: Message) -> None:
        """Make this the retained message `name`, now and after every reconnect."""
        self._inbox.put(_Retain(name, message))

    def stop(self, reason: str, timeout: float) -> int:
        """Deliver what is waiting, say offline, disconnect; returns how many events are left undelivered."""
        deadline = time.monotonic() + timeout
        self._inbox.put(_Stop(reason, deadline))
        self._sender.join(timeout + 0.2)
        self._client.disconnect()
        self._network.join(max(0.1, deadline - time.monotonic()))
        return self.waiting

    # --- paho's side: its callbacks only write notes

    def _prepare(self) -> paho.Client:
        device = self._config.device
        client = make_client(self._config.mqtt, f"edge-inspect-{device.site}-{device.id}")
        client.max_inflight_messages_set(2 * IN_FLIGHT)  # The window is ours; paho's must never reorder within it.
        client.reconnect_delay_set(*RECONNECT_SECONDS)
        client.will_set(self._topic("status"), encode(self._status("offline", "connection lost")), qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _run_network(self) -> None:
        mqtt = self._config.mqtt
        self._client.connect_async(mqtt.host, mqtt.port, keepalive=mqtt.keepalive_s)
        self._client.loop_forever(retry_first_connection=True)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._inbox.put(_Away(refusal(self._config.mqtt, reason)) if reason.is_failure else _Connected())

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        # paho calls this while it handles the exception that says why.
        self._inbox.put(_Away(unreachable(self._config.mqtt, sys.exc_info()[1])))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._inbox.put(_Away(f"broker {address(self._config.mqtt)} closed the connection: {reason}"))

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._inbox.put(_Acknowledged(mid, str(reason) if reason.is_failure else ""))

    # --- the sender's side: the only one that changes state

    def _run_sender(self) -> None:
        last_problem = ""
        while not self._finished():
            try:
                note = self._inbox.get(timeout=self._patience())
            except Empty:
                continue
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
            case _Connected():
                self._connected = True
                self._publish_retained()
            case _Away():
                self._connected = False
                self._resent = set(self._in_flight)
            case _Acknowledged(mid, refused):
                self._settle(mid, refused)
            case _Send(event):
                self._accept(event)
            case _Retain(name, message):
                self._retained[name] = message
                if self._connected:
                    self._publish(name, message, retain=True)
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
        if mid not in self._in_flight:
            return
        self._in_flight.discard(mid)
        if refused:
            self.lost += 1
            log.error("the broker refused a verdict: %s; check its access rules", refused)

    def _fill_window(self) -> None:
        while self._connected and self._backlog and not self._resent and len(self._in_flight) < IN_FLIGHT:
            self._in_flight.add(self._publish("event", self._backlog.popleft(), retain=False))

    def _publish_retained(self) -> None:
        self._publish("status", self._status("online", ""), retain=True)
        for name, message in self._retained.items():
            self._publish(name, message, retain=True)

    def _publish(self, name: str, message: Message, *, retain: bool) -> int:
        return self._client.publish(self._topic(name), encode(message), qos=1, retain=retain).mid

    def _finished(self) -> bool:
        if self._stop is None:
            return False
        delivered = self._inbox.empty() and not self.waiting
        return delivered or time.monotonic() >= self._stop.deadline

    def _patience(self) -> float | None:
        return None if self._stop is None else max(0.0, self._stop.deadline - time.monotonic())

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


def make_client(mqtt: Mqtt, client_id: str) -> paho.Client:
    """Return a client with protocol, login and TLS as configured; raises ConfigError for unusable files."""
    protocol = paho.MQTTv5 if mqtt.protocol == "5" else paho.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    client.suppress_exceptions = True  # An exception in a callback would end paho's thread; it is logged instead.
    client.enable_logger(logging.getLogger("paho"))
    client.connect_timeout = CONNECT_SECONDS
    if mqtt.username:
        client.username_pw_set(mqtt.username, _password(mqtt))
    if mqtt.tls:
        client.tls_set_context(_tls_context(mqtt))
    return client


def check_broker(config: Config) -> None:
    """Log in once and leave again; raises BrokerError with what the broker or the network said."""
    mqtt = config.mqtt
    client = make_client(mqtt, f"edge-inspect-check-{config.device.id}")
    answer: SimpleQueue[str] = SimpleQueue()

    def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        answer.put(refusal(mqtt, reason) if reason.is_failure else "")

    def on_disconnect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        answer.put(f"broker {address(mqtt)} hangs up before a login ({reason}); check cert_file and the broker's log")

    client.on_connect, client.on_disconnect = on_connect, on_disconnect
    try:
        client.connect(mqtt.host, mqtt.port, keepalive=mqtt.keepalive_s)
    except OSError as error:
        raise BrokerError(unreachable(mqtt, error)) from error
    client.loop_start()
    try:
        problem = answer.get(timeout=CONNECT_SECONDS)
    except Empty:
        problem = f"broker {address(mqtt)} accepts the connection but does not answer; is it an MQTT broker?"
    finally:
        client.disconnect()
        client.loop_stop()
    if problem:
        raise BrokerError(problem)


def address(mqtt: Mqtt) -> str:
    """Name a broker as host:port."""
    return f"{mqtt.host}:{mqtt.port}"


def unreachable(mqtt: Mqtt, error: BaseException | None) -> str:
    """Say in one line that the broker cannot be reached, why, and what to check."""
    return f"broker {address(mqtt)} cannot be reached ({error}); check mqtt.host, mqtt.port and the network"


def refusal(mqtt: Mqtt, reason: Any) -> str:
    """Say in one line that the broker refuses this client, why, and what to check."""
    who = f"user {mqtt.username!r}" if mqtt.username else "a client without a login"
    return f"broker {address(mqtt)} refuses {who} ({reason}); check mqtt.username and the password"


def _password(mqtt: Mqtt) -> str:
    if mqtt.password_file is None:
        return mqtt.password
    try:
        return mqtt.password_file.read_text("utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"mqtt.password_file {mqtt.password_file} cannot be read ({error})") from error


def _tls_context(mqtt: Mqtt) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=mqtt.ca_file)
        if mqtt.cert_file:
            context.load_cert_chain(mqtt.cert_file, mqtt.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (mqtt.ca_file, mqtt.cert_file, mqtt.key_file) if path)
        raise ConfigError(f"mqtt: the TLS files {files} cannot be used ({error})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
