"""The broker that `edge-deploy broker` sets up: it keeps what it acknowledged, and everybody to what is his."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

import pytest
from conftest import Broker, free_port, need_mosquitto
from recorder import Recorder
from rigs import deploy
from test_publisher import Line

from edge import connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def shipped(tmp_path: Path) -> Iterator[Broker]:
    """Run a broker as it is shipped, with a device test/dut and an operator."""
    need_mosquitto()
    port, folder = free_port(), tmp_path / "broker"
    for command in (
        ("broker", folder, "--host", "127.0.0.1", "--port", port),
        ("certify", folder, "test/dut"),
        ("certify", folder, "operator"),
    ):
        done = deploy(*command)
        assert done.returncode == 0, done.stderr
    settings = folder / "mosquitto.conf"
    settings.write_text(settings.read_text() + "user root\n")  # Ordinary users may not look into root's folders here.
    broker = Broker(port, settings)
    broker.start()
    yield broker
    broker.stop()


def credentials(broker: Broker, name: str) -> dict[str, object]:
    """Return what [mqtt] says of a client's certificate."""
    folder = broker.settings.parent
    files = {"ca_file": folder / "ca.crt", "cert_file": folder / f"{name}.crt", "key_file": folder / f"{name}.key"}
    return {"tls": True, **{key: str(path) for key, path in files.items()}}


def operator(broker: Broker) -> Recorder:
    """Subscribe to everything, with a session that survives the broker's end."""
    return Recorder(broker.port, persistent=True, certificate=broker.settings.parent / "operator.crt")


def test_a_killed_broker_keeps_what_it_acknowledged(
    tmp_path: Path, shipped: Broker, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None], *, soak: bool
) -> None:
    """A broker that is killed while verdicts pass loses none that it acknowledged, for a subscriber that was there."""
    monkeypatch.setattr(connection, "RECONNECT_SECONDS", (0.05, 0.2))
    runs = 100 if soak else 8
    dice = random.Random(5)  # noqa: S311 - moments, not secrets
    stop = threading.Event()
    with operator(shipped) as recorder:
        line = Line(tmp_path, shipped.port, **credentials(shipped, "test.dut"))

        def judge() -> None:
            while not stop.wait(0.1):
                line.judge(10)

        judging = threading.Thread(target=judge)
        judging.start()
        for _ in range(runs):
            before = len(recorder.named("event"))
            recorder.wait(lambda r, seen=before: len(r.named("event")) > seen)
            time.sleep(dice.uniform(0, 0.5))
            shipped.kill()
            shipped.start()
        stop.set()
        judging.join()
        assert line.stop(20) == 0
        last = line.ledger.delivered
        recorder.wait(lambda r: r.named("event")[-1]["seq"] == last)
    seqs = [event["seq"] for event in recorder.named("event")]
    missing = set(range(1, last + 1)) - set(seqs)
    again = len(seqs) - len(set(seqs))
    figure(f"{runs} kills, {last} verdicts: {len(missing)} lost, {again} twice")
    assert not missing
