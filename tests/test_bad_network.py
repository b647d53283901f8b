"""Verdicts over a bad network: none is lost, few arrive twice, none out of order."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from ledger_samples import event
from proxy import Proxy
from recorder import Recorder
from test_publisher import Line

from edge import link

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from conftest import Broker

RATE = 50
"""Verdicts a second."""


def judge_on(line: Line, stop: threading.Event) -> int:
    """Give verdicts at RATE until told to stop; returns how many."""
    count = 0
    while not stop.wait(1 / RATE):
        line.ledger.append(event())
        count += 1
    return count


def test_cuts_lose_nothing(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch, *, soak: bool, figure: Callable[[str], None]
) -> None:
    """Over links that are cut or hang half-open at random moments all arrive, in order, hardly any twice."""
    monkeypatch.setattr(link, "RECONNECT_SECONDS", (0.05, 0.2))
    cuts = 1_000 if soak else 15
    dice = random.Random(1)  # noqa: S311 - weather, not a secret
    with Recorder(broker.port) as recorder, Proxy(broker.port) as network:
        line = Line(tmp_path, network.port, keepalive_s=5)
        stop = threading.Event()
        given: list[int] = []
        judging = threading.Thread(target=lambda: given.append(judge_on(line, stop)))
        judging.start()
        for number in range(cuts):
            time.sleep(dice.uniform(1, 3))
            if number % 25 == 10:
                up, down = dice.choice([(True, True), (True, False), (False, True)])
                network.hang(up=up, down=down)
                wait_for_more(network, network.links)
            else:
                network.cut()
        stop.set()
        judging.join()
        recorder.wait(lambda r: {e["seq"] for e in r.named("event")} >= set(range(1, given[0] + 1)), 60)
        assert line.stop(10) == 0
    events = recorder.named("event")
    seqs = [each["seq"] for each in events]
    first_time = list(dict.fromkeys(seqs))
    assert first_time == list(range(1, given[0] + 1)), "lost or out of order"
    assert len({each["id"] for each in events}) == given[0]
    again = len(seqs) - given[0]
    figure(f"{cuts} cuts, {given[0]} verdicts: 0 lost, 0 out of order, {again} twice ({again / given[0]:.3%})")
    assert again <= (given[0] // 1_000 if soak else cuts)


def wait_for_more(network: Proxy, links: int, seconds: float = 20) -> None:
    """Wait until there were more links than these."""
    deadline = time.monotonic() + seconds
    while network.links <= links:
        assert time.monotonic() < deadline, "the client does not notice that its link is dead"
        time.sleep(0.02)
