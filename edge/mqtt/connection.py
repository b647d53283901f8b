"""One connection to the broker, from its first packet to its end. What paho calls back becomes a note in an inbox.

No lock is shared with paho, and no callback can block or kill its network thread: it takes notes and nothing else. A
broken connection is not taken up again: what paho would send by itself, out of turn, the ledger knows better.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.contract.commands import LARGEST
from edge.mqtt.broker import CONNECT_SECONDS, address, closed, hung_up, is_rival, make_client, refusal, unreachable
from edge.mqtt.delivery import IN_FLIGHT
from edge.record import Record
from edge.threads import RENEWED

if TYPE_CHECKING:
    from collections.abc import Callable

    import paho.mqtt.client as paho

    from edge.mqtt.manner import Manner
    from edge.sections.mqtt import Mqtt

_LOOK_SECONDS = 1.0
"""Between two looks whether paho's thread is still there."""
_MOST_ASKED = 50
"""Requests in the inbox."""
_LARGEST_PACKET = 128 << 10
"""Bytes of a message that the broker is to send on at all (MQTT 5, 3.1.2.11.4): above what is passed on, so that who
asks too much is told so. With MQTT 3.1.1 no client can say that: the broker's own limit counts."""
LARGEST_OF_ALL = 268_435_460
"""Bytes of a packet that no broker limits: MQTT's own limit (MQTT 5, 2.1.4)."""
HEAD_BYTES = 16
"""Of a message's packet, beside its topic and its payload, at most: MQTT 5, 2.1.1 (5 bytes), 3.3.2 (two lengths, packet
identifier and expiry: 10)."""
UPTIME = "$SYS/broker/uptime"
"""mosquitto's, retained: "123 seconds"."""
NOWHERE = "edge-inspect/mark"
"""Nobody subscribes to this."""
_WITH_WILL = "Disconnect with will message"


class Opened(Record, frozen=True):
    """A connection without MQTT on it yet: by `deadline` the broker should have answered."""

    deadline: float


class Connected(Record, frozen=True):
    """The broker let us in, and takes so many messages that it has not acknowledged, each of so many bytes."""

    allowed: int
    largest: int = LARGEST_OF_ALL


class Away(Record, frozen=True):
    """The broker is out of reach, or another device of this name took our place: this connection is over."""

    reason: str
    rival: bool = False


class Acknowledged(Record, frozen=True):
    """The broker took a message, or says why not."""

    packet: int
    refused: str


class Subscribed(Record, frozen=True):
    """The broker answered a wish to hear a topic: it will be told, or why not."""

    topic: str
    refused: str


class Uptime(Record, frozen=True):
    """For so many seconds the broker has been running."""

    seconds: int


class Asked(Record, frozen=True):
    """A message on one of the topics that the identity listens to."""

    topic: str
    payload: bytes
    """Its beginning: one byte more than the identity takes, if there are more."""
    retained: bool
    """Whether it was published to be kept. With MQTT 3.1.1 a broker says so only of what it had before we came."""
    unheard: int = 0
    """So many others before it were let go by: there were too many."""
    came: float = 0.0
    """When, in time.monotonic() seconds."""

    @property
    def name(self) -> str:
        """The topic's last level."""
        return self.topic.rpartition("/")[2]


class Reached(Record, frozen=True):
    """The broker has read all that was sent before the mark of this packet identifier."""

    packet: int


class Will(Record, frozen=True):
    """What the broker publishes for a client that is lost, with QoS 1."""

    topic: str
    payload: bytes
    retain: bool = True
    always: bool = False
    """Whether also for one that disconnects in order, where the protocol knows that: MQTT 5 (3.14.2.1, 0x04)."""


class Identity(Record, frozen=True):
    """Who connects, and what for."""

    name: str
    """The client identifier: a broker has one client of a name."""
    will: Will
    listens: tuple[tuple[str, int], ...]
    """Topic filters, each with its quality of service; subscribed to in this order before anything is sent."""
    longest: int = LARGEST
    """Bytes of a message to it: of a longer one the rest is not kept."""


News: TypeAlias = Opened | Connected | Away | Acknowledged | Reached | Subscribed | Uptime | Asked


class Connection:
    """The client's side of MQTT: publishes, and tells an inbox what became of it. Nothing here blocks."""

    def __init__(self, mqtt: Mqtt, who: Identity, tell: Callable[[News], None]) -> None:
        """Prepare the client; raises ConfigError for certificate or password files that cannot be used."""
        self.considered = 0
        """Requests that were dealt with: counted by who does that, and by no other thread."""
        self._asked = self._unheard = 0
        """Requests that were told, and that were not: counted by paho's thread."""
        self._mqtt = mqtt
        self._who = who
        self._tell = tell
        self._refused = self._dropped = False
        """Whether this connection's end has been explained already."""
        self._over = threading.Event()
        self._client = client = make_client(mqtt, who.name)
        client.max_inflight_messages_set(2 * IN_FLIGHT)  # The window is ours; paho's must never reorder within it.
        client.will_set(who.will.topic, who.will.payload, qos=1, retain=who.will.retain)
        client.on_socket_open = self._on_socket_open
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_message = self._on_message
        self._connected = False
        self._wishes: dict[int | None, str] = {}
        """Topics to hear, by the packet that asked for it."""

    def open(self) -> None:
        """Begin to connect, in the background."""
        threading.Thread(target=self._run, name="mqtt-connection", daemon=True).start()

    def publish(self, topic: str, payload: bytes, manner: Manner) -> paho.MQTTMessageInfo:
        """Send; returns paho's word for it: `mid` is what Acknowledged will name, with QoS 0 once the socket has it."""
        properties = None
        if manner.expiry is not None and self._mqtt.protocol == "5":
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = manner.expiry
        return self._client.publish(topic, payload, qos=manner.qos, retain=manner.retain, properties=properties)

    def mark(self, unlisten: str) -> int | None:
        """Have Reached tell when the broker has read all that was sent so far; returns its packet; None: no link.

        For QoS 0, of which no broker says that it arrived: it reads in order, and has to answer this (MQTT 5, 3.10.4).
        From its answer on it takes nothing more for us of the topic that is to be heard no longer, and sends what it
        had already; NOWHERE changes nothing.
        """
        return self._client.unsubscribe(unlisten)[1]

    def drop(self) -> None:
        """End it without a word: a broker that is silent would not take one."""
        self._dropped = True
        link: Any = self._client.socket()
        if link is not None:
            with contextlib.suppress(OSError):  # It is over already.
                link.shutdown(socket.SHUT_RDWR)

    def close(self, timeout: float, *, will_speaks: bool = False) -> None:
        """Disconnect in order where a broker listens, waiting this long at most.

        `will_speaks`: end it without a word instead. Who says DISCONNECT has his will thrown away (MQTT 5, 3.14.4).
        """
        if will_speaks or not self._connected:
            self.drop()
            return
        self._dropped = True
        with_will = self._who.will.always and self._mqtt.protocol == "5"
        self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, _WITH_WILL) if with_will else None)
        self._over.wait(timeout)

    def _run(self) -> None:
        client, mqtt = self._client, self._mqtt
        limits = None
        if mqtt.protocol == "5":
            limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            limits.MaximumPacketSize = _LARGEST_PACKET
        try:
            client.connect(mqtt.host, mqtt.port, keepalive=mqtt.keepalive_s, properties=limits)
        except Exception as error:  # noqa: BLE001 - ValueError, by a resolver, or worse: a later attempt may succeed
            self._tell(Away(unreachable(mqtt, error)))
        else:
            # paho's own thread, not this one in loop_forever: only then it alone writes to the socket.
            client.loop_start()
            if self._dropped:
                self.drop()
            self._wait_until_over()
            client.loop_stop()
        # Without these nothing points back here: the client goes with this, and its sockets with it.
        client.on_socket_open = client.on_connect = client.on_disconnect = None
        client.on_publish = client.on_subscribe = client.on_unsubscribe = client.on_message = None

    def _wait_until_over(self) -> None:
        """Return when the connection is; tells of one that nobody serves: paho would go on taking what it is given."""
        name = f"{RENEWED}-{self._who.name}"
        while not self._over.wait(_LOOK_SECONDS):
            if not any(thread.name == name for thread in threading.enumerate()) and not self._over.is_set():
                self._tell(Away(f"broker {address(self._mqtt)}: the connection's thread ended, a new one is made"))
                self._over.set()

    def _on_socket_open(self, _client: Any, _data: Any, link: Any) -> None:
        # A second small packet would wait 40 ms for the other side's delayed acknowledgement of the first.
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tell(Opened(time.monotonic() + CONNECT_SECONDS))

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        self._refused = reason.is_failure
        if self._refused:
            self._tell(Away(refusal(self._mqtt, reason)))
            return
        self._connected = True
        client.on_log = None  # It was for the handshake; from here on it would cost each message a line of text.
        for wanted, qos in self._who.listens:
            # Else the broker says of nothing that comes from now on whether it was published to be kept.
            options = SubscribeOptions(qos, retainAsPublished=True) if self._mqtt.protocol == "5" else None
            _, packet = client.subscribe(wanted, 0 if options else qos, options)
            self._wishes[packet] = wanted
        allowed = getattr(properties, "ReceiveMaximum", 2 * IN_FLIGHT)
        self._tell(Connected(allowed, getattr(properties, "MaximumPacketSize", LARGEST_OF_ALL)))

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if message.topic == UPTIME:
            if found := re.match(rb"\d{1,10}", message.payload):
                self._tell(Uptime(int(found[0])))
        elif self._asked - self.considered < _MOST_ASKED:
            self._asked += 1
            beginning = message.payload[: self._who.longest + 1]
            self._tell(Asked(message.topic, beginning, message.retain, self._unheard, time.monotonic()))
            self._unheard = 0
        else:  # Somebody floods the device.
            self._unheard += 1

    def _on_disconnect(self, _client: Any, alerts: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._over.set()
        if not self._refused and not self._dropped:
            why = closed(self._mqtt, reason) if self._connected else hung_up(self._mqtt, reason, alerts)
            self._tell(Away(why, is_rival(reason)))

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._tell(Acknowledged(mid, str(reason) if reason.is_failure else ""))

    def _on_subscribe(self, _client: Any, _data: Any, mid: int, reasons: Any, _properties: Any) -> None:
        refused = ", ".join(str(each) for each in reasons if each.is_failure)
        if wanted := self._wishes.pop(mid, ""):
            self._tell(Subscribed(wanted, refused))

    def _on_unsubscribe(self, _client: Any, _data: Any, mid: int, _reasons: Any, _properties: Any) -> None:
        self._tell(Reached(mid))
