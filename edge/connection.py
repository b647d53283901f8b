"""A connection to the broker that is always coming back. What paho calls back becomes a note in an inbox.

No lock is shared with paho, and no callback can block or kill its network thread: it takes notes and nothing else.
"""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from edge.broker import CONNECT_SECONDS, closed, hung_up, is_rival, make_client, refusal, unreachable
from edge.delivery import IN_FLIGHT
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config import Mqtt

RECONNECT_SECONDS = (1.0, 30.0)
"""Before another attempt: doubled by each failure, from the first of these to the second."""
RIVAL_SECONDS = 30.0
"""Before the place at the broker is taken back from another device of this name."""
_JITTER = 0.5
"""The share of a wait that is left to chance: a hall of devices must not come back in one moment."""


class Opened(Record, frozen=True):
    """A connection without MQTT on it yet: by `deadline` the broker should have answered."""

    deadline: float


class Connected(Record, frozen=True):
    """The broker let us in, and takes so many messages that it has not acknowledged."""

    allowed: int


class Away(Record, frozen=True):
    """The broker is out of reach, or another device of this name took our place."""

    reason: str
    rival: bool = False


class Acknowledged(Record, frozen=True):
    """The broker took a message, or says why not."""

    packet: int
    refused: str


class Will(Record, frozen=True):
    """What the broker publishes, retained, for a client that is lost."""

    topic: str
    payload: bytes


class Connection:
    """The client's side of MQTT: publishes, and tells `inbox` what became of it."""

    def __init__(self, mqtt: Mqtt, client_id: str, will: Will, inbox: Callable[[Record], None]) -> None:
        """Prepare the client; raises ConfigError for certificate or password files that cannot be used."""
        self._mqtt = mqtt
        self._tell = inbox
        self._failures = 0
        self._refused = False
        """Whether this connection's end has been explained already; paho's thread alone touches it."""
        self._offline = threading.Event()
        self._offline.set()
        self._client = client = make_client(mqtt, client_id)
        client.max_inflight_messages_set(2 * IN_FLIGHT)  # The window is ours; paho's must never reorder within it.
        client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.on_socket_open = self._on_socket_open
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    def open(self) -> None:
        """Begin to connect, in the background."""
        self._wait_longer()
        self._client.connect_async(self._mqtt.host, self._mqtt.port, keepalive=self._mqtt.keepalive_s)
        # paho's own thread, not one of ours around loop_forever: only then it alone writes to the socket.
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> Any:
        """Send at least once; returns paho's word for it: `mid` is what Acknowledged will name."""
        return self._client.publish(topic, payload, qos=1, retain=retain)

    def close(self, timeout: float) -> None:
        """Disconnect, waiting this long at most."""
        self._client.disconnect()
        # Not loop_stop: it waits without a limit for a thread that may be connecting to a host that is silent.
        self._offline.wait(timeout)

    def _on_socket_open(self, _client: Any, _data: Any, link: Any) -> None:
        # A second small packet would wait 40 ms for the other side's delayed acknowledgement of the first.
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._refused = False
        self._tell(Opened(time.monotonic() + CONNECT_SECONDS))

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        self._refused = reason.is_failure
        if self._refused:
            self._tell(Away(refusal(self._mqtt, reason)))
            return
        self._offline.clear()
        self._failures = 0
        self._tell(Connected(getattr(properties, "ReceiveMaximum", 2 * IN_FLIGHT)))

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        # paho calls this while it handles the exception that says why.
        self._tell(Away(unreachable(self._mqtt, sys.exc_info()[1])))
        self._wait_longer()

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        rival = is_rival(reason)
        if not self._refused:
            explain = hung_up if self._offline.is_set() else closed
            self._tell(Away(explain(self._mqtt, reason), rival))
        self._offline.set()
        self._wait_longer(RIVAL_SECONDS if rival else 0.0)

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._tell(Acknowledged(mid, str(reason) if reason.is_failure else ""))

    def _wait_longer(self, least: float = 0.0) -> None:
        seconds = least + backoff(self._failures, random.random())  # noqa: S311 - spreads load, hides nothing
        self._failures += 1
        self._client.reconnect_delay_set(seconds, seconds)  # type: ignore[arg-type]  # It adds and compares only.


def backoff(failures: int, chance: float) -> float:
    """Return the seconds before the next attempt, after so many that failed; `chance` is from 0 to 1."""
    first, longest = RECONNECT_SECONDS
    return min(longest, first * 2.0 ** min(failures, 10)) * (1 - _JITTER * chance)
