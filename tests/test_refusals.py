"""A broker that is at its limit for a while: what it refused then, it is offered again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from ledger_samples import BOOT
from puppet import Puppet, Said
from recorder import Recorder
from spark_host import until
from test_commands import Boss
from test_discovery import configured
from test_publisher import Line, refusing

from edge.mqtt import outbox, retained
from edge.mqtt.discovery import ALARMS, Discovery

if TYPE_CHECKING:
    from pathlib import Path

QUOTA_EXCEEDED = 0x97
"""MQTT 5, 3.4.2.1."""
TIMES = 3


class Sparing:
    """Refuses the messages of a name for the first few times."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.refused = 0

    def __call__(self, said: Said) -> int:
        if said.name != self._name or self.refused == TIMES:
            return 0
        self.refused += 1
        return QUOTA_EXCEEDED


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (outbox, retained):
        monkeypatch.setattr(each, "REFUSED_SECONDS", 0.1)


@pytest.mark.parametrize("name", ["status", "event"])
def test_what_was_refused_comes_in_the_end(tmp_path: Path, name: str) -> None:
    """A verdict, or what the broker is to keep, as an alarm, and the status is not degraded by it any more."""
    with Puppet(Sparing(name)) as broker:
        line = Line(tmp_path, broker.port)
        line.judge(1)
        broker.wait(lambda b: len(b.named(name)) > TIMES)
        broker.wait(lambda b: json.loads(b.named("status")[-1])["state"] == "online")
        assert line.stop(10) == 0


def test_an_alarm_is_taken_back_in_the_end(tmp_path: Path) -> None:
    """That of a camera which has another name now, and until then it is remembered."""
    state = tmp_path / "state"
    state.mkdir()
    Discovery(configured(camera={"kind": "synthetic", "name": "old"}), state, BOOT)
    with Puppet(Sparing("old")) as broker:
        line = Line(tmp_path, broker.port, discovery=Discovery(configured(), state, BOOT))
        broker.wait(lambda b: b.named("old") and b.named("old")[-1] == b"")
        said = broker.named("old")
        assert len(said) == TIMES + 2
        assert all(json.loads(each)["active"] is False for each in said[:-1])
        until(lambda: b"old" not in (state / ALARMS).read_bytes())
        assert line.stop(10) == 0


def test_a_reply_that_is_refused_is_no_lasting_trouble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; nobody says it again, so that nothing could end a trouble of the device."""
    own = "topic readwrite inspect/v1/test/dut"
    broker = refusing(tmp_path, "topic read #", *(f"{own}/{name}" for name in ("status", "event", "cmd/#")))
    with Recorder(broker.port) as recorder:
        line = Line(tmp_path, broker.port, allow=["replay"])
        recorder.wait_for_status("online")
        boss = Boss(broker, recorder)
        boss.say("replay", b'{"transaction":"t","first":1,"last":1}')
        until(lambda: "refuses inspect/v1/test/dut/reply/replay" in caplog.text)
        line.judge(1)
        recorder.wait_for("event")
        boss.stop()
        assert line.stop(10) == 0
        recorder.wait_for_status("offline")
    broker.stop()
    assert {each["state"] for each in recorder.statuses()} == {"online", "offline"}
