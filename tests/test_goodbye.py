"""The end of a device at its broker: its retained status says offline, whatever became of the last message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from proxy import Proxy
from puppet import HANG_UP, Puppet, Said
from recorder import Recorder
from spark_host import until
from test_publisher import Line

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker

QUOTA_EXCEEDED = 0x97
"""MQTT 5, 3.4.2.1."""
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
