"""Watches one device over MQTT: whether it comes online, and whether it judges."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Self

import msgspec

from edge.contract.json import NOT_JSON
from edge.contract.messages import Event, Status, topic
from edge.contract.ulid import new_ulid
from edge.errors import BrokerError
from edge.mqtt.broker import CONNECT_SECONDS, log_in, log_out, make_client, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.sections.mqtt import Mqtt


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen until a wait ended: the verdict waited for, or why there is none."""

    event: Event | None
    reason: str = ""


class Watch:
    """A connection to the broker, listening to one device's status and verdicts; a context manager.

    paho's callbacks only put notes into a queue: all thinking happens in the caller's thread.
    """

    def __init__(self, mqtt: Mqtt, *, site: str, device: str) -> None:
        """Prepare; raises ConfigError for a password file or certificates that cannot be used here."""
        self.event_topic = topic(site, device, "event")
        self._kinds: dict[str, type[Status | Event]] = {
            topic(site, device, "status"): Status,
            self.event_topic: Event,
        }
        self._mqtt = mqtt
        self._notes: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        self._subscribed = threading.Event()
        self._client = make_client(mqtt, f"edge-deploy-{new_ulid()}")
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._notes.put(
            (message.topic, bytes(message.payload))
        )

    def __enter__(self) -> Self:
        """Connect and subscribe, again after every reconnect; raises BrokerError if the broker is away or refuses."""
        try:
            log_in(self._client, self._mqtt)
        except BrokerError as error:
            raise BrokerError(
                f"{error}, or name the broker as this machine reaches it with --broker; the device was not touched"
            ) from error
        self._client.on_connect = lambda *_: self._subscribe()
        self._subscribe()
        if not self._subscribed.wait(CONNECT_SECONDS):
            log_out(self._client)
            raise BrokerError(f"{silent(self._mqtt)}; the device was not touched")
        return self

    def __exit__(self, *_: object) -> None:
        log_out(self._client)

    def boots(self) -> frozenset[str]:
        """Return the boot ids heard of until now."""
        return frozenset(message.boot_id for message in self._heard(0))

    def verdict(self, *, model: str | None, earlier: frozenset[str], seconds: float) -> Sight:
        """Wait for `status: online` and a verdict of one start of the daemon that is not in `earlier`.

        The verdict must come from the model with this SHA-256 and from scores, not from the lack of them. A start that
        judges with another model than this one, which it could not use, ends the wait. None: any model, and a device
        that is degraded will do, as it may have been before.
        """
        online: set[str] = set()
        present: set[str] = set()
        judged: dict[str, Event] = {}
        strange: set[str] = set()
        reason = "it said nothing"
        for message in self._heard(seconds):
            if message.boot_id in earlier:
                continue
            if isinstance(message, Status):
                reason = f"it said {message.state}" + (f" ({message.reason})" if message.reason else "")
                (online.add if message.state == "online" else online.discard)(message.boot_id)
                (present.discard if message.state == "offline" else present.add)(message.boot_id)
            elif message.label is not None and model in (None, message.model):
                judged[message.boot_id] = message
            elif message.label is not None:
                strange.add(message.boot_id)
            for boot in (present if model is None else online) & judged.keys():
                return Sight(event=judged[boot])
            if present & strange:
                return Sight(event=None, reason=f"it judges with another model; on MQTT {reason}")
        remedy = "; did no part come? give it longer with --timeout" if online else ""
        return Sight(event=None, reason=f"no verdict came within {seconds:g} s; on MQTT {reason}{remedy}")

    def _heard(self, seconds: float) -> Iterator[Status | Event]:
        """Yield messages as they come, for so many seconds (0: only what is already here)."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                where, payload = self._notes.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return
            message = _decode(payload, self._kinds[where])
            if message is not None:
                yield message

    def _subscribe(self) -> None:
        self._client.subscribe([(name, 1) for name in self._kinds])


def _decode(payload: bytes, kind: type[Status | Event]) -> Status | Event | None:
    """Read a message; None for one of another version, which is not what anybody here waits for."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except NOT_JSON:
        return None
