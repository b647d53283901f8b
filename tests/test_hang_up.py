"""Brokers that let a device in and then hang up: none is called each second for ever, and the log says it once."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from puppet import HANG_UP, Puppet, Said
from spark_line import Line as SparkLine
from test_publisher import Line

from edge.mqtt import link

if TYPE_CHECKING:
    from pathlib import Path

    from edge.contract.messages import Gap
    from edge.ledger.rows import Row

FIRST, LONGEST = 0.05, 10.0
"""Seconds between attempts, here."""
CALLS = 7
LEAST = FIRST * 2**link.LET_IN_FAILURES / 2
"""Seconds that an attempt waits after many on which the broker hung up, half of it being left to chance."""


def calls(broker: Puppet, count: int = CALLS) -> list[float]:
    """Wait until a device has come so often; return the seconds between."""
    broker.wait(lambda b: len(b.connected) >= count)
    return [later - earlier for earlier, later in pairwise(broker.connected)]


@pytest.mark.parametrize("patience", [0.0, 0.03])
def test_one_that_hangs_up_on_the_first_word_is_called_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, patience: float
) -> None:
    """The waits grow, also where the broker takes its time to hang up, but not for ever; it is said once."""
    monkeypatch.setattr(link, "RECONNECT_SECONDS", (FIRST, LONGEST))
    monkeypatch.setattr(link, "LASTED_SECONDS", 0.02)

    def answer(_: Said) -> int:
        time.sleep(patience)
        return HANG_UP

    with Puppet(answer) as broker:
        line = Line(tmp_path, broker.port)
        waits = calls(broker)
        line.stop(0.1)
    assert waits[-1] >= LEAST
    assert len([record for record in caplog.records if "judging goes on" in record.getMessage()]) == 1


@pytest.mark.parametrize("kind", [Line, SparkLine])
def test_one_that_answered_is_called_again_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Line | SparkLine]
) -> None:
    """Where a network cuts connections, one after the other, no wait grows: a message, or a birth, was answered."""
    monkeypatch.setattr(link, "RECONNECT_SECONDS", (FIRST, LONGEST))
    monkeypatch.setattr(link, "LET_IN_FAILURES", 10)
    with Puppet() as broker:
        line = kind(tmp_path, broker.port)
        for count in range(1, 12):
            broker.wait(lambda b, count=count: b.acknowledged >= count)
            broker.cut()
        waits = calls(broker, 12)
        line.stop(10) if isinstance(line, Line) else line.node.stop(0.1)
        line.ledger.close(10)
    assert max(waits) < FIRST * 2**5


def test_what_went_into_the_socket_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Sparkplug birth, which no broker acknowledges, does not make a connection one that worked."""
    monkeypatch.setattr(link, "RECONNECT_SECONDS", (FIRST, LONGEST))
    with Puppet(lambda _: HANG_UP) as broker:
        line = SparkLine(tmp_path, broker.port)
        waits = calls(broker)
        line.node.stop(0.1)
        assert line.ledger.close(10) == 0
    assert waits[-1] >= LEAST


def test_one_that_answers_only_pings_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A verdict whose acknowledgement never comes goes again on another connection, and those behind it go too."""
    monkeypatch.setattr(link, "RECONNECT_SECONDS", (FIRST, LONGEST))
    monkeypatch.setattr(link, "ANSWER_SECONDS", 1.0)
    overlooked: list[bytes] = []

    def answer(said: Said) -> int | None:
        if said.name == "event" and b'"seq":5,' in said.payload and not overlooked:
            overlooked.append(said.payload)
            return None
        return 0

    with Puppet(answer) as broker:
        line = Line(tmp_path, broker.port)
        line.judge(30)
        broker.wait(lambda b: len({json.loads(payload)["seq"] for payload in b.named("event")}) == 30)
        line.stop(10)
        assert len(broker.connected) == 2
    assert overlooked
    assert "did not acknowledge a message for 1 s" in caplog.text


def test_what_was_answered_while_we_were_held_up_is_not_held_against_a_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs in a read for longer than a broker may take to answer ends no connection."""
    monkeypatch.setattr(link, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(link, "RECONNECT_SECONDS", (0.5, 0.5))
    with Puppet() as broker:
        line = Line(tmp_path, broker.port)
        broker.wait(lambda b: b.named("status"))
        read = line.ledger.take

        def hang(after: int, limit: int) -> list[Row | Gap]:
            time.sleep(0.7)  # Stands for the disk.
            return read(after, limit)

        monkeypatch.setattr(line.ledger, "take", hang)
        broker.cut()
        line.judge(3)  # So that what is said of the device goes with what has to be read.
        broker.wait(lambda b: len(b.named("event")) == 3)
        line.stop(10)
        assert len(broker.connected) == 2
