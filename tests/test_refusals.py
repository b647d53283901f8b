"""A broker that is at its limit for a while: what it refused then, it is offered again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from ledger_samples import BOOT
from puppet import Puppet, Said
from spark_host import until
from test_discovery import configured
from test_publisher import Line

from edge.mqtt import outbox
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
    monkeypatch.setattr(outbox, "REFUSED_SECONDS", 0.1)


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
