"""All of where verdicts go at once: what the disk kept from one is kept from none."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from conftest import make_broker
from ledger_samples import event
from recorder import Recorder
from spark_host import GROUP, SparkHost, until

from edge import config as configs
from edge.ledger.ledger import FILE
from edge.sinks import open_sinks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Broker

    from edge.sinks import Sinks


pytestmark = pytest.mark.usefixtures("killed")


@contextmanager
def life(folder: Path, broker: Broker, patience: float = 5) -> Iterator[Sinks]:
    """The sinks of one start, with a broker and a Sparkplug node."""
    table: dict[str, Any] = {
        "bundle": "b",
        "camera": {"kind": "synthetic"},
        "device": {"site": "test", "id": "dut"},
        "mqtt": {"host": "127.0.0.1", "port": broker.port},
        "sparkplug": {"group_id": GROUP},
        "state_dir": str(folder),
    }
    sinks = open_sinks(configs.parse(table, folder / "device.toml"))
    sinks.start()
    yield sinks
    sinks.close("stopped", patience, threading.Event())


def judge(sinks: Sinks, count: int) -> None:
    """Append so many verdicts and have them written."""
    for _ in range(count):
        sinks.ledger.append(event())
    sinks.ledger.flush(10)


@pytest.mark.parametrize("mended", ["while it runs", "before the next start"])
def test_verdicts_of_a_ledger_that_opens_late_reach_broker_and_scada(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mended: str
) -> None:
    """What waited in a file that cannot be opened at first is delivered to both when it can, and told as no gap.

    To SCADA it is historical, as is what was judged meanwhile, which follows once more in its turn.
    """
    monkeypatch.setattr("edge.ledger.stores.RETRY_SECONDS", 0.2)
    folder, aside = tmp_path / "state", tmp_path / "aside"
    folder.mkdir()
    broker = make_broker(tmp_path)
    broker.start()
    with SparkHost(broker.port) as host, Recorder(broker.port) as recorder:

        def numbers() -> list[int]:
            return [each["seq"] for each in recorder.named("event")]

        with life(folder, broker) as sinks:
            judge(sinks, 3)
            host.wait(lambda h: h.numbers() == [1, 2, 3])
        broker.stop()
        with life(folder, broker, patience=0.1) as sinks:
            judge(sinks, 4)
        (folder / FILE).rename(aside)
        (folder / FILE).mkdir()
        broker.start()
        until(lambda: broker.log().count("as host") == broker.log().count("as recorder") == 2)
        with life(folder, broker) as sinks:
            judge(sinks, 2)
            host.wait(lambda h: len(h.numbers()) == 5)
            recorder.wait(lambda _: len(numbers()) >= 5)
            young = host.numbers()[3:]
            assert young[0] > 7
            assert "ledger.db" in sinks.ledger.trouble
            if mended == "while it runs":
                (folder / FILE).rmdir()
                aside.rename(folder / FILE)
                host.wait(lambda h: h.numbers()[5:] == [4, 5, 6, 7, *young])
                judge(sinks, 1)
                host.wait(lambda h: h.numbers()[-1] > young[-1])
        if mended == "before the next start":
            assert json.loads((folder / "sparkplug.json").read_bytes())["cursor"] == 3
            (folder / FILE).rmdir()
            aside.rename(folder / FILE)
            with life(folder, broker) as sinks:
                judge(sinks, 1)
                host.wait(lambda h: {4, 5, 6, 7} <= set(h.numbers()))
                recorder.wait(lambda _: {4, 5, 6, 7} <= set(numbers()))
        recorder.wait(lambda _: {*range(1, 8), host.numbers()[-1]} <= set(numbers()))
        host.check_session()
        late = [number for number, each in zip(host.numbers(), host.verdicts(), strict=True) if each.historical]
        assert [number for number in host.numbers() if number in range(4, 8)] == [4, 5, 6, 7]
        assert {4, 5, 6, 7} <= set(late)
        assert all(each.values.get("Gap/First", 8) > 7 for each in host.of("NDATA"))
    broker.stop()
