"""The Node-RED flow, in Node-RED: each verdict once, what is missing, messages for people, a bit for the PLC."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import paho.mqtt.client as paho
import pytest
from conftest import Broker, free_port, make_broker
from device import running_daemon, write_config
from npm import installed
from pages import FOLDER
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.publish import single
from recorder import hang_up
from test_integrations import shipped_broker
from test_messages import EVENT, NOW

from edge.contract.messages import Alarm, Event, Gap, Message, Status, Verdict, encode
from edge.contract.ulid import new_ulid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NODE_RED = "node-red@4.1.15"
FLOW: list[dict[str, Any]] = json.loads((FOLDER / "node-red-flow.json").read_text("utf-8"))
OUTPUTS = {"verdicts", "late verdicts", "not there", "message", "stop", "trouble"}
OTHER = "inspect/v1/test/other"


def test_the_flow_is_whole() -> None:
    """By checks of our own: ids are unique, wires lead to nodes, and all nodes are Node-RED's own."""
    ids = [node["id"] for node in FLOW]
    assert len(set(ids)) == len(ids)
    (tab,) = [node["id"] for node in FLOW if node["type"] == "tab"]
    for node in FLOW:
        assert {target for wires in node.get("wires", []) for target in wires} <= set(ids)
        assert node["type"] in {"tab", "mqtt-broker"} or node["z"] == tab
        assert len(node.get("wires", [])) == node.get("outputs", len(node.get("wires", [])))
        assert node.get("broker", "inspectbroker") in {"inspectbroker", "localhost"}
    own = {"tab", "mqtt-broker", "mqtt in", "function", "debug", "comment", "status", "catch"}
    assert {node["type"] for node in FLOW} == own
    assert {node["name"] for node in FLOW if node["type"] == "debug"} == OUTPUTS


class Sink:
    """Hears what leaves the flow, on a broker of its own that stays when the hall's goes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = self._on_message
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("seen/#", qos=1)
        assert subscribed.wait(10)

    def named(self, name: str, device: str = "other") -> list[Any]:
        """Return what left one output for a device, in order."""
        payloads = [message["payload"] for output, message in self.seen if output == name and device in str(message)]
        return [each["seq"] if isinstance(each, dict) and "seq" in each else each for each in payloads]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until what left the flow satisfies a condition."""
        with self._changed:
            assert self._changed.wait_for(condition, 30), self.seen

    def stop(self) -> None:
        """Disconnect."""
        hang_up(self._client)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        with self._changed:
            self.seen.append((message.topic.removeprefix("seen/"), json.loads(message.payload)))
            self._changed.notify_all()


@dataclass(frozen=True)
class Hall:
    """The hall's broker, what [mqtt] of a device says of it, and the operator's files for it."""

    broker: Broker
    mqtt: dict[str, Any]
    files: dict[str, str]

    def say(self, name: str, message: Message, *, retain: bool = False) -> None:
        """Publish as the device test/other."""
        words = {"ca": "ca_certs", "cert": "certfile", "key": "keyfile"}
        tls = {words[kind]: path for kind, path in self.files.items()} or None
        payload, port = encode(message), self.broker.port
        single(f"{OTHER}/{name}", payload, qos=1, retain=retain, hostname="127.0.0.1", port=port, tls=tls)


@pytest.fixture(params=["plain", "tls"])
def hall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hall]:
    """A broker for a bench, and the one that is shipped."""
    if request.param == "tls":
        with shipped_broker(tmp_path) as (broker, mqtt):
            files = {"ca": "ca.crt", "cert": "operator.crt", "key": "operator.key"}
            folder = broker.settings.parent
            yield Hall(broker, mqtt, {kind: str(folder / name) for kind, name in files.items()})
        return
    broker = make_broker(tmp_path)
    broker.start()
    yield Hall(broker, {}, {})
    broker.stop()


def wired(hall: Hall, sink: int) -> list[dict[str, Any]]:
    """Return the flow with the hall's broker put in, and with MQTT to the sink in the place of each debug node."""
    flow: list[dict[str, Any]] = []
    if hall.files:
        flow.append({"id": "tls", "type": "tls-config", "verifyservercert": True, **hall.files})
    for node in FLOW:
        if node["type"] == "mqtt-broker":
            secure = {"usetls": True, "tls": "tls"} if hall.files else {}
            flow.append({**node, "broker": "127.0.0.1", "port": str(hall.broker.port), **secure})
            flow.append({**node, "broker": "127.0.0.1", "port": str(sink), "id": "sink", "clientid": "listener"})
        elif node["type"] == "debug":
            code = f"return {{topic: 'seen/{node['name']}', payload: {{topic: msg.topic, payload: msg.payload}}}};"
            place = {"z": node["z"], "x": node["x"], "y": node["y"]}
            out = f"{node['id']}-out"
            made = {"id": node["id"], "type": "function", "func": code, "outputs": 1, "libs": [], "wires": [[out]]}
            flow.append({**place, **made})
            flow.append(
                {**place, "id": out, "type": "mqtt out", "topic": "", "qos": "1", "broker": "sink", "wires": []}
            )
        else:
            flow.append(node)
    return flow


@contextmanager
def node_red(folder: Path, flow: list[dict[str, Any]]) -> Iterator[None]:
    """Run Node-RED with a flow; it is gone afterwards."""
    program = installed(NODE_RED) / "node_modules" / ".bin" / "node-red"
    (folder / "flow.json").write_text(json.dumps(flow))
    (folder / "settings.js").write_text("module.exports = {uiHost: '127.0.0.1', telemetry: {enabled: false}}")
    command = [program, "-s", folder / "settings.js", "-u", folder, "-p", str(free_port()), folder / "flow.json"]
    with (folder / "node-red.log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
        try:
            yield
        finally:
            running.terminate()
            running.wait(20)


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    """A listener on a broker of its own."""
    (tmp_path / "sink").mkdir()
    broker = make_broker(tmp_path / "sink")
    broker.start()
    made = Sink(broker.port)
    yield made
    made.stop()
    broker.stop()


def event(seq: int, *, historical: bool = False) -> Event:
    """Make a verdict of the device test/other."""
    return msgspec.structs.replace(EVENT, id=new_ulid(), seq=seq, historical=historical)


@pytest.mark.rig
def test_the_flow_in_node_red(tmp_path: Path, hall: Hall, sink: Sink, demo_bundle: Path) -> None:
    """Verdicts leave once and in order, gaps and left-out numbers show, people are told, and the bit fails safe."""
    boot = new_ulid()
    hall.say("status", Status(state="online", reason="", boot_id=boot, time=NOW), retain=True)
    with node_red(tmp_path, wired(hall, sink.port)):
        sink.wait(lambda: sink.named("stop") == [False])
        first, late, astray = event(1), event(9, historical=True), event(7)
        gap = Gap(first=3, last=7, reason="shed", verdicts={Verdict.PASS: 5})
        for message in (first, first, event(2), gap, gap, event(8), event(10), late, late, astray, event(11)):
            hall.say("gap" if message is gap else "event", message)
        sink.wait(lambda: sink.named("verdicts") == [1, 2, 8, 10, 11])
        assert sink.named("late verdicts") == [9, 7]
        ranges = [(each["first"], each["last"], each["reason"]) for each in sink.named("not there")]
        assert ranges == [(3, 7, "shed"), (9, 9, "missing")]
        alarm = Alarm(active=True, event=first.id, label="crack", score=0.75, boot_id=boot, time=NOW)
        for message in (alarm, alarm, msgspec.structs.replace(alarm, active=False)):
            hall.say("alarm/camera", message, retain=True)
        sink.wait(lambda: sink.named("stop") == [False, True, False])
        assert [each[:9] for each in sink.named("message")] == ["crack 75%"]
        a_device_that_dies(tmp_path, hall, sink, demo_bundle)
        hall.broker.stop()
        sink.wait(lambda: sink.named("stop") == [False, True, False, True])
        hall.broker.start()
        sink.wait(lambda: sink.named("stop") == [False, True, False, True, False])
        assert sink.named("trouble") == []


def a_device_that_dies(folder: Path, hall: Hall, sink: Sink, bundle: Path) -> None:
    """Run a real device on the hall's broker until its verdicts have left the flow, and kill it."""
    config = write_config(
        folder / "device.toml",
        bundle=bundle,
        camera={"kind": "synthetic", "rate": 20, "width": 64, "height": 64},
        mqtt={"host": "127.0.0.1", "port": hall.broker.port, **hall.mqtt},
    )
    with running_daemon(config) as daemon:
        sink.wait(lambda: len(sink.named("verdicts", "dut")) > 20)
        daemon.kill()
        sink.wait(lambda: ("message", "test/dut is offline") in [(name, each.get("topic")) for name, each in sink.seen])
    sink.wait(lambda: sink.named("stop", "dut")[-1] is True)
    seqs = sink.named("verdicts", "dut")
    assert seqs == list(range(1, len(seqs) + 1))
