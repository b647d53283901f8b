"""The Sparkplug node against a real broker: certificates, sequence numbers, and that nothing is lost."""

from __future__ import annotations

import random
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from conftest import make_broker
from device import end, running_daemon, write_config
from ledger_samples import event
from PIL import Image
from proxy import Proxy
from spark_host import GROUP, HOST, REBIRTH, SparkHost, until
from spark_line import Line, check_verdicts

from edge.ledger.ledger import FILE
from edge.ledger.rows import Row
from edge.ledger.store import Span, Store
from edge.sparkplug import payload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Broker


def ledger_of(folder: Path) -> list[Row]:
    """Return the verdicts that a daemon's ledger holds."""
    store = Store(folder / FILE, read_only=True)
    rows = [entry for entry in store.read(Span(0, store.last), store.last) if isinstance(entry, Row)]
    store.close()
    return rows


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_certificates(tmp_path: Path, broker: Broker, demo_bundle: Path, protocol: str) -> None:
    """A daemon is born with all its metrics, tells each verdict in turn, and dies with the number it was born with."""
    camera = {"kind": "synthetic", "rate": 0, "frames": 300, "width": 64, "height": 64}
    mqtt = {"host": "127.0.0.1", "port": broker.port, "protocol": protocol}
    sparkplug = {"group_id": GROUP}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt=mqtt, sparkplug=sparkplug)
    with SparkHost(broker.port) as host, running_daemon(config) as daemon:
        end(daemon)
        host.wait_for("NDEATH")
        host.check_session()
        check_verdicts(host, ledger_of(tmp_path / "state"))
        birth, death = host.of("NBIRTH")[0], host.of("NDEATH")[0]
        assert len(host.verdicts()) == 300
        assert host.heard[0] is birth
        assert birth.bd_seq == death.bd_seq == 0
        metrics = {metric.name: metric for metric in birth.payload.metrics}
        assert set(metrics) == {*payload.METRICS, REBIRTH}
        assert birth.values[REBIRTH] is False
        assert not metrics.pop(REBIRTH).HasField("alias")
        assert len({metric.alias for metric in metrics.values()}) == len(metrics)
        assert {name: metric.datatype for name, metric in metrics.items()} == payload.METRICS
        assert all(metric.is_null != (metric.WhichOneof("value") is not None) for metric in metrics.values())


def test_kills_lose_nothing_and_each_life_has_its_number(
    tmp_path: Path, broker: Broker, demo_bundle: Path, figure: Callable[[str], None], *, soak: bool
) -> None:
    """After kill -9 under load, again and again, all verdicts have arrived in order, late ones marked historical.

    The broker publishes each death, and each life has a bdSeq that is by one greater than that of the life before.
    """
    kills = 200 if soak else 4
    dice = random.Random(5)  # noqa: S311 - moments, not secrets
    mqtt = {"host": "127.0.0.1", "port": broker.port}
    camera = {"kind": "synthetic", "rate": 200, "width": 64, "height": 64}
    parts = {"bundle": demo_bundle, "mqtt": mqtt, "sparkplug": {"group_id": GROUP}}
    config = write_config(tmp_path / "device.toml", camera=camera, **parts)
    with SparkHost(broker.port) as host:
        for count in range(1, kills + 1):
            with running_daemon(config) as daemon:
                before = len(host.numbers())
                host.wait(lambda h, seen=before: len(h.numbers()) > seen)
                time.sleep(dice.uniform(0, 0.5))
                daemon.kill()
                host.wait_for("NDEATH", count)
        (tmp_path / "pictures").mkdir()
        Image.new("RGB", (64, 64)).save(tmp_path / "pictures" / "last.png")
        folder = {"kind": "folder", "path": str(tmp_path / "pictures")}
        with running_daemon(write_config(tmp_path / "device.toml", camera=folder, **parts)) as daemon:
            end(daemon)
        rows = ledger_of(tmp_path / "state")
        host.wait(lambda h: h.numbers()[-1] == rows[-1].seq)
        host.check_session()
        check_verdicts(host, rows)
        births = [each.bd_seq for each in host.of("NBIRTH")]
        assert births == [number % 256 for number in range(kills + 1)]
        assert [each.bd_seq for each in host.of("NDEATH")][:kills] == births[:kills]
        again = len(host.numbers()) - len(rows)
        figure(f"{kills} kills, {len(rows)} verdicts: 0 lost, {again} of {len(host.numbers())} twice")
        heard: set[int] = set()
        for each in host.verdicts():
            number = int(each.values["Inspection/Sequence"])
            assert each.historical or number not in heard, "a live verdict came twice"
            heard.add(number)


def test_a_backlog_arrives_complete_in_order_and_historical(tmp_path: Path) -> None:
    """What was judged while the broker was away arrives in order, marked historical, with the times of the verdicts.

    What is judged afterwards is live again. The birth certificate shows the newest verdict as the present one.
    """
    broker = make_broker(tmp_path)
    line = Line(tmp_path, broker.port, primary_host_id=HOST)
    line.judge(450)
    broker.start()
    with SparkHost(broker.port) as host:
        host.say(online=True)
        host.wait(lambda h: len(h.numbers()) == 450)
        line.judge(1)
        host.wait(lambda h: len(h.numbers()) == 451)
        broker.stop()
        line.judge(250)
        broker.start()
        until(lambda: broker.log().count("as host") == 2)
        host.say(online=True)
        host.wait(lambda h: 701 in h.numbers())
        line.judge(20)
        host.wait(lambda h: 721 in h.numbers())
        rows = line.rows()
        line.stop()
        check_verdicts(host, rows)
        host.check_session()
        live = {number for number, each in zip(host.numbers(), host.verdicts(), strict=True) if not each.historical}
        assert live == {451, *range(702, 722)}
        assert host.of("NBIRTH")[1].values["Inspection/Sequence"] == 701
        assert [each.bd_seq for each in host.of("NBIRTH")] == [0, 1], "only what was sent to a broker counts"
        stamps = [each.payload.metrics[0].timestamp for each in host.verdicts()[:450]]
        assert stamps == sorted(stamps)
        assert stamps[0] < stamps[-1] <= host.of("NBIRTH")[0].payload.timestamp
    broker.stop()


def test_cut_links_lose_nothing(tmp_path: Path, broker: Broker, figure: Callable[[str], None], *, soak: bool) -> None:
    """Over links that are cut or hang all the time every verdict arrives, in order, and each connection is numbered."""
    cuts = 500 if soak else 6
    dice = random.Random(9)  # noqa: S311 - weather, not secrets
    with SparkHost(broker.port) as host, Proxy(broker.port, delay=0.005, jitter=0.004) as proxy:
        line = Line(tmp_path, proxy.port)
        for count in range(cuts):
            births = len(host.of("NBIRTH"))
            line.judge(dice.randrange(150))
            time.sleep(dice.uniform(0, 0.1))
            proxy.hang(up=False)
            line.judge(dice.randrange(30))
            proxy.cut()
            host.wait(lambda h, seen=births, first=not count: len(h.of("NBIRTH")) > seen or first)
        rows = line.rows()
        host.wait(lambda h: h.numbers()[-1] == rows[-1].seq, 60)
        line.stop()
        check_verdicts(host, rows)
        host.check_session()
        births = [each.bd_seq for each in host.of("NBIRTH")]
        assert all(0 < (after - before) % 256 <= 2 for before, after in pairwise(births))
        figure(f"{cuts} cuts, {len(rows)} verdicts: 0 lost, {len(host.numbers()) - len(rows)} twice")


def test_what_was_not_settled_goes_again_however_long_the_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verdict that a broker read just before it went is sent once more, after failed attempts and a start too."""
    monkeypatch.setattr("edge.sparkplug.memory.SETTLED_SECONDS", 1.5)
    broker = make_broker(tmp_path)
    broker.start()
    line = Line(tmp_path, broker.port, primary_host_id=HOST)
    with SparkHost(broker.port) as host:
        host.say(online=True)
        line.judge(5)
        host.wait(lambda h: h.numbers() == [1, 2, 3, 4, 5])
        until(lambda: line.node._progress is not None and line.node._progress.last == 5)
        broker.kill()
        until(lambda: line.node._link._failures >= 4)
        line.node.stop(0.1)
        line.ledger.close(10)
        broker.start()
        until(lambda: broker.log().count("as host") == 2)
        line = Line(tmp_path, broker.port, primary_host_id=HOST)
        host.say(online=True)
        host.wait(lambda h: len(h.numbers()) == 10)
        line.stop()
        assert host.numbers() == [1, 2, 3, 4, 5] * 2
        assert [each.historical for each in host.verdicts()[5:]] == [True] * 5
    broker.stop()


def test_bd_seq_goes_on_over_starts_and_wraps(tmp_path: Path, broker: Broker) -> None:
    """Each start has the next bdSeq, and 0 follows 255."""
    (tmp_path / "sparkplug.json").write_text('{"bd_seq": 253, "cursor": 0}')
    with SparkHost(broker.port) as host:
        for count in range(1, 5):
            line = Line(tmp_path, broker.port)
            host.wait_for("NBIRTH", count)
            line.stop()
        assert [each.bd_seq for each in host.of("NBIRTH")] == [254, 255, 0, 1]


def test_what_the_ledger_shed_is_told_as_a_gap(tmp_path: Path) -> None:
    """Verdicts that left the ledger before SCADA had them are a gap in their place, not silence."""
    broker = make_broker(tmp_path)
    line = Line(tmp_path, broker.port, primary_host_id=HOST)
    line.judge(20)
    store = Store(tmp_path / FILE)
    store.remove(Span(4, 9), event().verdict, 10, None)
    store.close()
    broker.start()
    with SparkHost(broker.port) as host:
        host.say(online=True)
        host.wait(lambda h: 20 in h.numbers())
        line.stop()
        host.check_session()
        assert host.numbers() == [*range(1, 5), *range(10, 21)]
        gap = host.of("NDATA")[4].values
        assert (gap["Gap/First"], gap["Gap/Last"], gap["Gap/Reason"]) == (5, 9, "shed")
    broker.stop()
