"""A SCADA host for tests: hears a Sparkplug node, checks what it hears as a host must, and asks it for things."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from recorder import await_arrival, hang_up

from edge.sparkplug.sparkplug_b_pb2 import Payload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GROUP, NODE, HOST = "Line 1", "dut", "scada"
REBIRTH = "Node Control/Rebirth"


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for what nobody announces."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


@dataclass(frozen=True)
class Heard:
    """One message of the node: its kind, flags, payload, and its metrics' values by name, None for null."""

    kind: str
    qos: int
    retained: bool
    payload: Payload
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def historical(self) -> bool:
        """Whether its verdict is marked so."""
        return self.payload.metrics[0].is_historical

    @property
    def bd_seq(self) -> int:
        """Which connection it belongs to."""
        return int(self.values["bdSeq"])


class SparkHost:
    """Subscribes to all of Sparkplug, resolves aliases, and keeps everything in order."""

    def __init__(self, port: int, certificate: Path | None = None) -> None:
        """Connect and subscribe; a `certificate` has its key and its CA, ca.crt, beside it."""
        self.heard: list[Heard] = []
        self._verdicts: list[Heard] = []
        self._numbers: list[int] = []
        self._kinds: dict[str, list[Heard]] = {}
        self._aliases: dict[int, str] = {}
        self._changed = threading.Condition()
        subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="host", protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("spBv1.0/#", qos=1)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        if certificate:
            self._client.tls_set(certificate.with_name("ca.crt"), certificate, certificate.with_suffix(".key"))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(10), "the host could not subscribe"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        hang_up(self._client)

    def of(self, kind: str) -> list[Heard]:
        """Return all messages of a kind."""
        return self._kinds.get(kind, [])

    def verdicts(self) -> list[Heard]:
        """Return the NDATA that tell of a verdict."""
        return self._verdicts

    def numbers(self) -> list[int]:
        """Return the numbers of the verdicts that were heard."""
        return self._numbers

    def wait(self, condition: Callable[[SparkHost], bool], seconds: float = 20) -> None:
        """Wait until what was heard satisfies a condition."""
        with self._changed:
            met = self._changed.wait_for(lambda: condition(self), seconds)
        assert met, f"not within {seconds} s; heard {len(self.heard)}: ... {[each.kind for each in self.heard[-9:]]}"

    def wait_for(self, kind: str, count: int = 1, seconds: float = 20) -> Heard:
        """Wait until so many messages of a kind are here, and return the last of them."""
        self.wait(lambda host: len(host.of(kind)) >= count, seconds)
        return self.of(kind)[-1]

    def say(self, *, online: bool, timestamp: float | None = None) -> None:
        """Say as the primary host whether it is there."""
        state = {"online": online, "timestamp": round(time.time() * 1000) if timestamp is None else timestamp}
        self.send(f"spBv1.0/STATE/{HOST}", json.dumps(state).encode(), retain=True)

    def ask_rebirth(self) -> None:
        """Ask the node for a rebirth."""
        command = Payload(timestamp=1)
        command.metrics.add(name=REBIRTH, boolean_value=True)
        self.command(command.SerializeToString())

    def command(self, payload: bytes, *, retain: bool = False) -> None:
        """Send any bytes as a command."""
        self.send(f"spBv1.0/{GROUP}/NCMD/{NODE}", payload, retain=retain)

    def send(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Send anything anywhere, and wait until the broker has it."""
        await_arrival(self._client.publish(topic, payload, qos=1, retain=retain))

    def check_session(self) -> None:
        """Check everything heard against what the specification asks of each message and of their order."""
        bd_seq = seq = None
        for each in self.heard:
            assert (each.qos, each.retained) == (1 if each.kind == "NDEATH" else 0, False)
            assert each.payload.HasField("timestamp")
            assert all(metric.HasField("timestamp") for metric in each.payload.metrics)
            match each.kind:
                case "NBIRTH":
                    assert each.payload.seq == 0
                    bd_seq, seq = each.bd_seq, 0
                case "NDATA":
                    assert seq is not None, "data before birth"
                    seq = (seq + 1) % 256
                    assert each.payload.seq == seq
                    assert not any(metric.HasField("name") for metric in each.payload.metrics)
                    assert not any(metric.HasField("datatype") for metric in each.payload.metrics)
                case "NDEATH":
                    assert not each.payload.HasField("seq")
                    assert [metric.name for metric in each.payload.metrics] == ["bdSeq"]
                    if each.bd_seq == bd_seq:
                        seq = None

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        _, group, kind, *node = message.topic.split("/")
        if group == "STATE" or kind == "NCMD":
            return
        assert (group, node) == (GROUP, [NODE])
        payload = Payload.FromString(message.payload)
        with self._changed:
            if kind == "NBIRTH":
                self._aliases = {metric.alias: metric.name for metric in payload.metrics if metric.HasField("alias")}
            values = {metric.name or self._aliases[metric.alias]: _value(metric) for metric in payload.metrics}
            heard = Heard(kind, message.qos, bool(message.retain), payload, values)
            self.heard.append(heard)
            self._kinds.setdefault(kind, []).append(heard)
            if kind == "NDATA" and "Inspection/Sequence" in values:
                self._verdicts.append(heard)
                self._numbers.append(int(values["Inspection/Sequence"]))
            self._changed.notify_all()


def _value(metric: Payload.Metric) -> Any:
    return None if metric.is_null else getattr(metric, metric.WhichOneof("value"))
