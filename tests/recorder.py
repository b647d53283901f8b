"""A plain paho subscriber that remembers what it received, for tests."""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def await_arrival(sent: paho.MQTTMessageInfo, seconds: float = 10) -> None:
    """Wait until the broker has acknowledged what was published; paho's own wait says nothing where it has not."""
    sent.wait_for_publish(seconds)
    assert sent.is_published(), f"the broker did not acknowledge it within {seconds} s"


def hang_up(client: paho.Client) -> None:
    """Disconnect, and leave no socket behind."""
    client.disconnect()
    client.loop_stop()
    if (link := client.socket()) is not None:  # paho leaves it open where the loop ended first.
        link.close()
    # Nothing refers in a ring then: paho closes its last sockets when it is let go of.
    client.on_connect = client.on_subscribe = client.on_message = None


NAME_LEVEL = 4
"""inspect/v1/<site>/<device>/<name>"""


@dataclass(frozen=True)
class Received:
    """One message: the level of its topic that says which it is, its decoded JSON, and its flags."""

    topic: str
    name: str
    body: dict[str, Any]
    retained: bool
    qos: int
    payload: bytes


class Recorder:
    """Subscribes to everything under inspect/v1 and keeps it in order."""

    def __init__(
        self,
        port: int,
        client_id: str = "recorder",
        *,
        login: tuple[str, str] | None = None,
        certificate: Path | None = None,
        persistent: bool = False,
    ) -> None:
        """Connect and subscribe; a `persistent` session is kept by the broker over its own restart.

        A `certificate` has its key and its CA, ca.crt, beside it.
        """
        self.messages: list[Received] = []
        self._bodies: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        """By name: looking through all messages at each new one would take a soak's time."""
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("inspect/v1/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        if login:
            self._client.username_pw_set(*login)
        if certificate:
            self._client.tls_set(certificate.with_name("ca.crt"), certificate, certificate.with_suffix(".key"))
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600 if persistent else 0
        self._client.connect("127.0.0.1", port, clean_start=not persistent, properties=session)
        self._client.loop_start()
        assert self._subscribed.wait(10), "the recorder could not subscribe"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        hang_up(self._client)

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the bodies of all messages of one kind, in order of arrival."""
        return self._bodies[name].copy()

    def wait(self, condition: Callable[[Recorder], bool], seconds: float = 20) -> None:
        """Wait until the messages so far satisfy a condition."""
        with self._changed:
            met = self._changed.wait_for(lambda: condition(self), seconds)
        names = [message.name for message in self.messages]
        assert met, f"not within {seconds} s; received {dict(Counter(names))}, at last {names[-20:]}"

    def wait_for(self, name: str, count: int = 1, seconds: float = 20) -> list[dict[str, Any]]:
        """Wait until at least `count` messages of one kind are here, and return them."""
        self.wait(lambda recorder: len(recorder.named(name)) >= count, seconds)
        return self.named(name)

    def wait_for_status(self, state: str, seconds: float = 20) -> dict[str, Any]:
        """Wait until the newest status is `state`, and return it; that of a start under way counts as none."""
        self.wait(lambda r: bool(r.statuses()) and r.statuses()[-1]["state"] == state, seconds)
        return self.statuses()[-1]

    def statuses(self) -> list[dict[str, Any]]:
        """Return each status, but for those of starts under way."""
        return [each for each in self.named("status") if not each["reason"].startswith("starting: ")]

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        name = message.topic.split("/")[NAME_LEVEL]
        received = Received(
            message.topic,
            name,
            {} if name in ("image", "last_defect", "cmd") else json.loads(message.payload or b"{}"),
            retained=bool(message.retain),
            qos=int(message.qos),
            payload=bytes(message.payload),
        )
        with self._changed:
            self.messages.append(received)
            self._bodies[name].append(received.body)
            self._changed.notify_all()
