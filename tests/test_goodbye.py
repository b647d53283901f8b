"""The end of a device at its broker: its retained status says offline, whatever became of the last message."""

from __future__ import annotations

import contextlib
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
from test_commands import Boss
from test_publisher import Line

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker

QUOTA_EXCEEDED = 0x97
"""MQTT 5, 3.4.2.1."""
HEARD, NOBODY_HEARD = 0, 0x10
"""What a broker says of a message, by whether anybody had subscribed to it (MQTT 5, 3.4.2.1)."""
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


class Hesitant(Puppet):
    """Acknowledges a verdict with the goodbye."""

    held = b""

    def _hear(self, head: int, body: bytes) -> bytes | None:
        answer = super()._hear(head, body) or b""
        if self.messages[-1].name == "event":
            self.held = answer
            return b""
        return self.held + answer if b'"offline"' in self.messages[-1].payload else answer


def test_what_is_acknowledged_with_the_goodbye_is_not_proved_by_it(tmp_path: Path) -> None:
    """A broker that dies at once may have written neither: the next one gets the verdict."""
    with Hesitant() as broker:
        line = Line(tmp_path, broker.port)
        line.judge(1)
        broker.wait(lambda b: b.named("event"))
        assert line.stop(1) == 1
    with Puppet() as broker:
        line = Line(tmp_path, broker.port)
        broker.wait(lambda b: b.named("event"))
        assert line.stop(10) == 0


def triggers_until_offline(port: int, stop: threading.Event, pace: float) -> tuple[dict[int, list[str]], list[str]]:
    """Ask until the device is offline; return the transactions by what the broker said, and those answered.

    `pace` is in seconds; `stop` is set behind the first.
    """
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
    sent, was_over = [], False
    while not was_over:
        was_over = offline.wait(pace)
        body = json.dumps({"transaction": f"t{len(sent)}"})
        sent.append(client.publish("inspect/v1/test/dut/cmd/trigger", body, qos=1))
        sent[-1].wait_for_publish(10)
        stop.set()
    until(lambda: len(codes) == len(sent))
    said = defaultdict(list)
    for number, each in enumerate(sent):
        said[codes[each.mid]].append(f"t{number}")
    with contextlib.suppress(AssertionError):  # Whoever calls sees what is missing.
        until(lambda: len(answered) >= len(said[HEARD]), 5)
    hang_up(client)
    return said, answered


@pytest.mark.parametrize(("delay", "pace", "patience"), [(0.1, 0.02, 0.6), (0.2, 0.004, 10)])
def test_each_request_to_a_device_that_says_goodbye_is_answered_or_heard_by_nobody(
    tmp_path: Path, broker: Broker, delay: float, pace: float, patience: float
) -> None:
    """Over a long way none comes to nothing: the broker says that nobody heard it, or the device that it stops.

    Neither of few, in the time that a stop has, nor of more than the broker hands over at a time.
    """
    begun, found = threading.Event(), []
    with Proxy(broker.port, delay=delay) as way:
        line = Line(tmp_path, way.port, allow=["trigger"])
        line.publisher.intake.end()
        line.judge(1)
        asking = threading.Thread(target=lambda: found.append(triggers_until_offline(broker.port, begun, pace)))
        asking.start()
        assert begun.wait(20)
        assert line.stop(patience) == 0
        asking.join(20)
    ((said, answered),) = found
    assert said.keys() == {HEARD, NOBODY_HEARD}
    assert answered == said[HEARD]


def test_what_nobody_will_obey_any_more_is_refused(tmp_path: Path, broker: Broker) -> None:
    """A device whose start is broken off answers what waits to be obeyed, and a question that comes while it ends."""
    with Recorder(broker.port) as recorder:
        boss = Boss(broker, recorder)
        line = Line(tmp_path, broker.port, allow=["pause", "history"])
        recorder.wait_for_status("online")
        boss.say("pause", b'{"transaction": "early"}')
        until(lambda: not line.publisher.intake.requests.empty())
        line.publisher.intake.end()
        boss.say("history", b'{"transaction": "late"}')
        recorder.wait_for("reply")
        line.stop(5)
        recorder.wait_for("reply", 2)
        boss.stop()
    replies = recorder.named("reply")
    assert [(each["transaction"], each["status"]) for each in replies] == [("late", "refused"), ("early", "refused")]
