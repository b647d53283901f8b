"""Verdicts over a bad network: none is lost, few arrive twice, none out of order.

What a broker took and did not get to acknowledge before a link broke arrives twice: of all verdicts the share that a
cut finds on the way back. That is the time an acknowledgement takes, divided by the time between two cuts, whatever the
rate is and however many are in flight: 0.1% with 1 ms and a cut a second, or with 100 ms and a cut in 100 s.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest
from conftest import Broker, make_broker
from ledger_samples import event
from paho.mqtt.enums import CallbackAPIVersion
from proxy import Proxy
from recorder import Recorder, hang_up
from test_commands import Boss
from test_publisher import Line
from test_too_large import add_pictures

from edge.mqtt import link
from edge.mqtt.connection import UPTIME
from edge.mqtt.delivery import IN_FLIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GROWN_SECONDS = 3
"""A broker that has been running for less is taken for one that was killed, and gets some verdicts twice."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that has been running for a while, and says so each second, as ours does."""
    running = make_broker(tmp_path_factory.mktemp("broker"), "allow_anonymous true", "sys_interval 1")
    running.start()
    grown = threading.Event()
    watcher = paho.Client(CallbackAPIVersion.VERSION2)
    watcher.on_connect = lambda client, *_: client.subscribe(UPTIME)

    def on_message(_client: Any, _data: Any, message: Any) -> None:
        if int(message.payload.split()[0]) >= GROWN_SECONDS:
            grown.set()

    watcher.on_message = on_message
    watcher.connect("127.0.0.1", running.port)
    watcher.loop_start()
    assert grown.wait(10)
    hang_up(watcher)
    yield running
    running.stop()


@contextmanager
def judging(line: Line, rate: float) -> Iterator[list[int]]:
    """Give verdicts at a rate; afterwards the list holds how many."""
    stop, given = threading.Event(), [0]

    def judge() -> None:
        while not stop.wait(1 / rate):
            line.ledger.append(event())
            given[0] += 1

    thread = threading.Thread(target=judge)
    thread.start()
    try:
        yield given
    finally:
        stop.set()
        thread.join()


def arrived_twice(recorder: Recorder, count: int, seconds: float = 60) -> int:
    """Wait until all have arrived, check that none is lost or out of order, and return how many came twice."""
    recorder.wait(lambda r: r.named("event")[-1]["seq"] == count, seconds)
    events = recorder.named("event")
    seqs = [each["seq"] for each in events]
    assert list(dict.fromkeys(seqs)) == list(range(1, count + 1)), "lost or out of order"
    assert len({each["id"] for each in events}) == count
    return len(seqs) - count


def wait_for_more(network: Proxy, links: int, seconds: float = 20) -> None:
    """Wait until there were more links than these."""
    deadline = time.monotonic() + seconds
    while network.links <= links:
        assert time.monotonic() < deadline, "the client does not notice that its link is dead"
        time.sleep(0.02)


def test_cuts_lose_nothing(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch, *, soak: bool, figure: Callable[[str], None]
) -> None:
    """Over links that are cut or hang half-open at random moments all arrive, in order, hardly any twice."""
    monkeypatch.setattr(link, "RECONNECT_SECONDS", (0.05, 0.2))
    cuts = 1_000 if soak else 8
    half_open_each = 25 if soak else 8
    dice = random.Random(1)  # noqa: S311 - weather, not a secret
    with Recorder(broker.port) as recorder, Proxy(broker.port) as network:
        line = Line(tmp_path, network.port, keepalive_s=5)
        with judging(line, rate=50) as given:
            for number in range(cuts):
                time.sleep(dice.uniform(1, 3) if soak else dice.uniform(0.2, 1))
                if number % half_open_each == half_open_each - 1:
                    up, down = dice.choice([(True, True), (True, False), (False, True)])
                    network.hang(up=up, down=down)
                    wait_for_more(network, network.links)
                else:
                    network.cut()
        again = arrived_twice(recorder, given[0])
        assert line.stop(10) == 0
    figure(f"{cuts} cuts, {given[0]} verdicts: 0 lost, 0 out of order, {again} twice ({again / given[0]:.3%})")
    assert again <= (given[0] // 1_000 if soak else cuts)


def test_cuts_of_a_backlog_cost_a_window_at_most(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch, *, soak: bool, figure: Callable[[str], None]
) -> None:
    """While a backlog drains as fast as it can, a cut makes no more arrive twice than were in flight."""
    monkeypatch.setattr(link, "RECONNECT_SECONDS", (0.05, 0.2))
    cuts, most = (50, 200_000) if soak else (4, 8_000)
    dice = random.Random(2)  # noqa: S311 - weather, not a secret
    with Recorder(broker.port) as recorder, Proxy(broker.port) as network:
        line = Line(tmp_path, network.port)
        count = 0
        for _ in range(cuts):
            line.judge(most // cuts)
            count += most // cuts
            time.sleep(dice.uniform(0.1, 0.5))
            assert line.ledger.waiting, "nothing was left to drain"
            network.cut()
        again = arrived_twice(recorder, count, 60 + count / 500)
        assert line.stop(10) == 0
    figure(f"{cuts} cuts while {count} verdicts drain: {again} twice, {again / cuts:.1f} a cut")
    assert again <= cuts * IN_FLIGHT


@pytest.mark.parametrize(("delay", "rate"), [(0.1, 10), (0.5, 10)])
def test_a_long_way_holds_up_nothing(tmp_path: Path, broker: Broker, delay: float, rate: int) -> None:
    """Over a link on which one verdict is always under way pictures and replays pass, and few verdicts wait."""
    with Recorder(broker.port) as recorder, Proxy(broker.port, delay=delay) as network:
        line = Line(tmp_path, network.port, allow=["replay"])
        boss = Boss(broker, recorder)
        with judging(line, rate=rate):
            recorder.wait_for("event", 20)
            for picture in add_pictures(line.album, 1_000, 1_000, 1_000):
                line.publisher.pictured(picture)
            recorder.wait(lambda r: len([each for each in r.messages if each.name == "image"]) == 3)
            assert boss.ask("replay", first=1, last=5)["status"] == "ok"
            recorder.wait(lambda r: sum(each["seq"] <= 5 for each in r.named("event")) == 10)
            assert line.ledger.waiting <= 3 * rate * 2 * delay + 5
            assert not any(each["historical"] for each in recorder.named("event") if each["seq"] > 5)
        boss.stop()
        assert line.stop(10) == 0


def test_a_long_and_lossy_way(tmp_path: Path, broker: Broker, figure: Callable[[str], None], *, soak: bool) -> None:
    """With 200 ms there and back, jitter, and each twentieth packet late as if lost, live verdicts keep their order."""
    seconds = 600 if soak else 5
    with Recorder(broker.port) as recorder, Proxy(broker.port, delay=0.1, jitter=0.03, loss=0.05) as network:
        line = Line(tmp_path, network.port)
        waiting = []
        with judging(line, rate=10) as given:
            for _ in range(seconds * 10):
                time.sleep(0.1)
                waiting.append(line.ledger.waiting)
        again = arrived_twice(recorder, given[0])
        assert line.stop(10) == 0
    usual, most, last = round(median(waiting)), max(waiting), min(waiting[-20:])
    figure(f"{given[0]} verdicts over 200 ms and 5% loss: 0 lost, 0 out of order, {again} twice")
    figure(f"on the way: {usual} as a rule, {most} at most, {last} at least in the last two seconds")
    assert again == 0
    assert usual <= 15
    assert last <= 15, "they pile up"
