"""The end of a device at its broker: its retained status says offline, whatever became of the last message."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from proxy import Proxy
from puppet import HANG_UP, Puppet, Said
from recorder import Recorder, hang_up
from spark_host import until
from test_publisher import Line

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker

QUOTA_EXCEEDED = 0x97
"""MQTT 5, 3.4.2.1."""
HEARD, NOBODY_HEARD = 0, 0x10
"""What a broker says of a message, by whether anybody had subscribed to it (MQTT 5, 3.4.2.1)."""
PACE = 0.025
"""Seconds between two triggers: no more are admitted."""
NORMAL = 0
"""After which a broker throws the last will away (MQTT 5, 3.14.2.1)."""


def end(folder: Path, answer: int | None) -> list[int]:
    """Have a device end whose goodbye is answered like this; return how it disconnected."""

    def reply(message: Said) -> int | None:
        is_goodbye = message.name == "status" and json.loads(message.payload)["state"] == "offline"
        return answer if is_goodbye else 0

    with Puppet(reply) as broker:
        line = Line(folder, broker.port)
        line.judge(1)
        broker.wait(lambda b: b.named("event"))
        assert line.stop(2) == 0 or answer in {None, HANG_UP}  # Then the next start asks whether it has all.
        assert json.loads(broker.named("status")[-1])["state"] == "offline"
        broker.wait(lambda b: b.ended == len(b.connected) == 1)
        return broker.farewells


@pytest.mark.parametrize("answer", [None, QUOTA_EXCEEDED, HANG_UP])
def test_the_last_will_speaks_where_the_goodbye_did_not_arrive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: int | None
) -> None:
    """A device whose offline was not acknowledged, or was refused, leaves so that the broker publishes its will."""
    assert end(tmp_path, answer) == []
    assert len([record for record in caplog.records if "could not say offline" in record.getMessage()]) == 1


def test_mosquitto_publishes_the_will_of_a_device_that_could_not_say_offline(tmp_path: Path, broker: Broker) -> None:
    """Over a way on which no answer comes back a device ends as one whose connection was lost."""
    with Recorder(broker.port) as recorder, Proxy(broker.port) as network:
        line = Line(tmp_path, network.port)
        recorder.wait_for_status("online")
        network.hang(up=False)
        line.stop(1)
        recorder.wait(lambda r: r.named("status")[-1]["reason"] == "connection lost")
    assert recorder.named("status")[-1]["state"] == "offline"


def test_the_last_will_is_silent_where_the_goodbye_arrived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A device whose offline was acknowledged disconnects in order, and nothing is logged of it."""
    assert end(tmp_path, 0) == [NORMAL]
    assert "offline" not in caplog.text


def test_a_broker_that_died_unnoticed_gets_what_it_had_acknowledged_from_the_next_start(tmp_path: Path) -> None:
    """Its acknowledgement was its last act before it could write: no goodbye is answered, so nothing counts as kept."""
    is_dead = False

    def answer(message: Said) -> int | None:
        nonlocal is_dead
        answered = None if is_dead else 0
        is_dead |= message.name == "event"
        return answered

    with Puppet(answer) as broker:
        line = Line(tmp_path, broker.port)
        line.judge(1)
        broker.wait(lambda b: b.named("event"))
        until(lambda: line.publisher._outbox._delivery.delivered)
        line.stop(1)
    with Puppet() as broker:
        line = Line(tmp_path, broker.port)
        broker.wait(lambda b: b.named("event"))
        assert line.stop(10) == 0


def triggers_until_offline(port: int, stop: threading.Event) -> tuple[dict[int, list[str]], list[str]]:
    """Ask until the device is offline, at PACE; return the transactions by what the broker said, and those answered."""
    online, offline, answered = threading.Event(), threading.Event(), []
    codes: dict[int, int] = {}

    def hear(_client: Any, _data: Any, message: Any) -> None:
        body = json.loads(message.payload)
        if message.topic.endswith("/status"):
            {"online": online, "offline": offline}[body["state"]].set()
        else:
            answered.append(body["transaction"])

    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = hear
    client.on_publish = lambda _client, _data, mid, reason, _properties: codes.update({mid: reason.value})
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe([("inspect/v1/test/dut/status", 1), ("inspect/v1/test/dut/reply/+", 1)])
    assert online.wait(20)
    stop.set()
    sent = []
    while True:
        was_over = offline.wait(PACE)
        body = json.dumps({"transaction": f"t{len(sent)}"})
        sent.append(client.publish("inspect/v1/test/dut/cmd/trigger", body, qos=1))
        sent[-1].wait_for_publish(10)
        if was_over:
            break
    until(lambda: len(codes) == len(sent))
    hang_up(client)
    said = defaultdict(list)
    for number, each in enumerate(sent):
        said[codes[each.mid]].append(f"t{number}")
    return said, answered


def test_each_request_to_a_device_that_says_goodbye_is_answered_or_heard_by_nobody(
    tmp_path: Path, broker: Broker
) -> None:
    """Over a long way none comes to nothing: the broker says that nobody heard it, or the device that it stops."""
    begun, found = threading.Event(), []
    with Proxy(broker.port, delay=0.1) as way:
        line = Line(tmp_path, way.port, allow=["trigger"])
        line.publisher.intake.end()
        asking = threading.Thread(target=lambda: found.append(triggers_until_offline(broker.port, begun)))
        asking.start()
        assert begun.wait(20)
        line.stop(5)
        asking.join(20)
    ((said, answered),) = found
    assert said.keys() == {HEARD, NOBODY_HEARD}
    assert answered == said[HEARD]
