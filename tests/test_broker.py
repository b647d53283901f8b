"""The broker that `edge-deploy broker` sets up: it keeps what it acknowledged, and everybody to what is his."""

from __future__ import annotations

import random
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from rigs import deploy
from shipped import client, credentials, listen, log_in, operator, say, shipped_broker
from test_publisher import Line

from edge.mqtt import link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Broker


@pytest.fixture
def shipped(tmp_path: Path) -> Iterator[Broker]:
    """A broker as it is shipped."""
    with shipped_broker(tmp_path / "broker") as broker:
        yield broker


def test_a_killed_broker_keeps_what_it_acknowledged(
    tmp_path: Path, shipped: Broker, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None], *, soak: bool
) -> None:
    """A broker that is killed while verdicts pass loses none that it acknowledged, for a subscriber that was there."""
    monkeypatch.setattr(link, "RECONNECT_SECONDS", (0.3, 0.5))
    runs = 100 if soak else 8
    dice = random.Random(5)  # noqa: S311 - moments, not secrets
    stop = threading.Event()
    with operator(shipped) as recorder:
        line = Line(tmp_path, shipped.port, **credentials(shipped, "test.dut"))

        def judge() -> None:
            while not stop.wait(0.1):
                line.judge(2)

        judging = threading.Thread(target=judge)
        judging.start()
        for _ in range(runs):
            # Until both sides have caught up: kills that come faster only let what waits for the subscriber grow.
            given = line.ledger.waiting + line.ledger.delivered
            recorder.wait(
                lambda r, given=given: r.named("event")[-1:] != [] and r.named("event")[-1]["seq"] > given, 60
            )
            time.sleep(dice.uniform(0, 0.5))
            shipped.kill()
            shipped.start()
        stop.set()
        judging.join()
        assert line.stop(60) == 0
        last = line.ledger.delivered
        recorder.wait(lambda r: r.named("event")[-1]["seq"] == last)
    seqs = [event["seq"] for event in recorder.named("event")]
    missing = set(range(1, last + 1)) - set(seqs)
    again = len(seqs) - len(set(seqs))
    figure(f"{runs} kills, {last} verdicts: {len(missing)} lost, {again} twice")
    assert not missing


def test_a_device_is_confined_to_its_own(shipped: Broker) -> None:
    """A device can neither write below another one's name, nor command it, nor hear it; its own it can."""
    folder = shipped.settings.parent
    assert deploy("certify", folder, "test/other").returncode == 0
    heard: SimpleQueue[str] = SimpleQueue()
    overheard: SimpleQueue[str] = SimpleQueue()
    theirs, own = "inspect/v1/test/dut", "inspect/v1/test/other"
    with (
        operator(shipped) as recorder,
        client(shipped, folder / "test.other.crt") as other,
        client(shipped, folder / "test.other.crt") as spy,
    ):
        for each in (other, spy):
            log_in(each, shipped)
        listen(other, heard, f"{own}/cmd/#")
        listen(spy, overheard, "inspect/v1/#", f"{theirs}/event", f"{theirs}/cmd/#")
        for topic in (f"{theirs}/event", f"{theirs}/cmd/pause", f"{theirs}/status", f"{own}/event"):
            say(shipped, "test.other.crt", topic)
        for topic in (f"{theirs}/event", f"{theirs}/cmd/pause", f"{own}/cmd/pause"):
            say(shipped, "operator.crt", topic)
        recorder.wait_for("cmd", 2)
        assert heard.get(timeout=10) == f"{own}/cmd/pause"
    assert [message.topic for message in recorder.messages] == [
        *(f"{own}/event", f"{theirs}/event", f"{theirs}/cmd/pause", f"{own}/cmd/pause")
    ]
    while not overheard.empty():
        assert overheard.get() == f"{own}/cmd/pause"


def test_a_device_introduces_itself_to_home_assistant_only_as_itself(shipped: Broker) -> None:
    """A device writes its own introduction and hears Home Assistant's start; it can neither pretend that, nor more."""
    heard: SimpleQueue[str] = SimpleQueue()
    device_heard: SimpleQueue[str] = SimpleQueue()
    own, status = "homeassistant/device/test/dut/config", "homeassistant/status"
    folder = shipped.settings.parent
    with client(shipped, folder / "operator.crt") as home, client(shipped, folder / "test.dut.crt") as device:
        for each in (home, device):
            log_in(each, shipped)
        listen(home, heard, "homeassistant/#")
        listen(device, device_heard, status, "homeassistant/device/#")
        for topic in ("homeassistant/device/test/other/config", "homeassistant/sensor/x/config", status, own):
            say(shipped, "test.dut.crt", topic)
        assert heard.get(timeout=10) == own
        say(shipped, "operator.crt", status)
        assert device_heard.get(timeout=10) == status
    assert heard.get(timeout=10) == status
    assert heard.empty()
