"""The daemon killed at any moment: no verdict that it had is lost."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from conftest import Broker, make_broker
from device import end, running_daemon, write_config
from PIL import Image
from recorder import Recorder

from edge.ledger.ledger import FILE
from edge.ledger.store import Span, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that drops nothing of what a slow subscriber has not fetched yet: by itself it does beyond 1,000."""
    running = make_broker(tmp_path)
    running.start()
    yield running
    running.stop()


def test_kills_lose_nothing(
    tmp_path: Path, broker: Broker, demo_bundle: Path, figure: Callable[[str], None], *, soak: bool
) -> None:
    """After kill -9 under load, again and again, all that was in the ledger has arrived, each number once, no gap."""
    kills = 1_000 if soak else 8
    dice = random.Random(3)  # noqa: S311 - moments, not secrets
    camera = {"kind": "synthetic", "rate": 200, "width": 64, "height": 64}
    mqtt = {"host": "127.0.0.1", "port": broker.port}
    ledger = {"pictures_mib": 0}  # A soak's would fill the recorder's memory.
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt=mqtt, ledger=ledger)
    began = time.monotonic()
    said: list[str] = []
    with Recorder(broker.port) as recorder:
        for _ in range(kills):
            with running_daemon(config) as daemon:
                before = len(recorder.messages)
                recorder.wait(lambda r, seen=before: any(m.name == "event" for m in r.messages[seen:]))
                time.sleep(dice.uniform(0, 0.5))
                daemon.kill()
                said += daemon.communicate()[1].splitlines()
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        Image.new("RGB", (64, 64)).save(pictures / "last.png")
        folder = {"kind": "folder", "path": str(pictures)}
        last = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=folder, mqtt=mqtt, ledger=ledger)
        with running_daemon(last) as daemon:  # Its camera ends, so that it ends when all is delivered.
            end(daemon, 60)
            assert daemon.returncode == 0
        store = Store(tmp_path / "state" / FILE, read_only=True)
        rows = store.read(Span(0, store.last), store.last)
        store.close()
        recorder.wait(lambda r: r.named("event")[-1]["seq"] == rows[-1].seq, 60)
    events = {event["seq"]: event["id"] for event in recorder.named("event")}
    arrived = len(recorder.named("event"))
    again = arrived - len({(event["seq"], event["id"]) for event in recorder.named("event")})
    lost = sorted({row.seq for row in rows} - set(events))
    figure(
        f"{kills} kills in {time.monotonic() - began:.0f} s, {len(rows)} verdicts: {len(lost)} lost,"
        f" {again} of {arrived} messages were of verdicts that had arrived before"
    )
    assert [line for line in said if "damaged" in line] == [], "a kill damages nothing"
    assert not lost, f"{lost[0]} to {lost[-1]}"
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert sorted(events) == list(range(1, len(rows) + 1))
    assert len(set(events.values())) == len(rows)
    assert arrived - again == len(rows), "a number was given twice"
