"""Clocks that jump ten years ahead or back, or begin before 1970: verdicts keep their order, and nothing waits."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import make_broker
from device import end, inspect_command, run_inspect, write_config
from ledger_samples import event
from recorder import Recorder
from test_commands import Boss
from test_publisher import Line

from edge import clock
from edge.contract import ulid
from edge.contract.messages import Verdict
from edge.ledger.ledger import FILE

if TYPE_CHECKING:
    from conftest import Broker

DECADE = 10 * 365 * 86_400


@pytest.mark.parametrize("nanoseconds", [-DECADE * 10**9, -1, 0, 1, 1 << 60, (1 << 63) - 1, 1 << 80])
def test_an_id_is_valid_at_any_time(nanoseconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 1970 and beyond what its 48 bits can hold, an id has its form, and no two are the same."""
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds)
    ids = {ulid.new_ulid() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(re.fullmatch(ulid.PATTERN, each) for each in ids)
    if not 0 < nanoseconds < 1 << 68:
        assert {each[:10] for each in ids} == {"7ZZZZZZZZZ" if nanoseconds > 0 else "0000000000"}


class Clock:
    """A wall clock that can be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.off = 0.0
        monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(seconds=self.off))
        now = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: now() + round(self.off * 1e9))


def test_delivery_follows_numbers_not_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the clock jumps by decades between verdicts and over starts, all arrive in order of `seq`, at once."""
    wall = Clock(monkeypatch)
    broker = make_broker(tmp_path)
    jumps = [0.0, DECADE, -DECADE, -time.time() - DECADE, 3 * DECADE, 0.0]
    broker.start()
    started = time.monotonic()
    with Recorder(broker.port) as recorder:
        for number, off in enumerate(jumps):
            line = Line(tmp_path, broker.port)
            for later in (off, -off, off):
                wall.off = later
                line.judge(20)
            line.ledger.append(event(verdict=Verdict.DEFECT))
            recorder.wait_for("event", (number + 1) * 61)
            assert line.stop(10) == 0
        events = recorder.named("event")
    broker.stop()
    assert [each["seq"] for each in events] == list(range(1, len(jumps) * 61 + 1))
    assert len({each["id"] for each in events}) == len(events)
    assert not any(each["historical"] for each in events)
    assert len({each["time"][:3] for each in events}) > 3, "the clock did not jump"
    assert time.monotonic() - started < 30
    listed = run_inspect("ledger", "list", "--ledger", tmp_path / "state" / FILE, "--json", "-n", 1_000)
    assert [json.loads(each)["seq"] for each in listed.stdout.splitlines()] == [each["seq"] for each in events]


def test_a_backlog_does_not_look_at_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited while the clock went back is delivered first and marked historical; what follows is live."""
    wall = Clock(monkeypatch)
    broker = make_broker(tmp_path)
    wall.off = DECADE
    away = Line(tmp_path, broker.port)
    away.judge(50)
    assert away.stop(0.1) == 50
    wall.off = -time.time() - DECADE
    broker.start()
    with Recorder(broker.port) as recorder:
        there = Line(tmp_path, broker.port)
        there.judge(1)
        events = recorder.wait_for("event", 51)
        assert there.stop(10) == 0
    broker.stop()
    assert [(each["seq"], each["historical"]) for each in events] == [(n, n < 51) for n in range(1, 52)]
    assert events[0]["time"] > events[-1]["time"]


_JUMPING = """
import sys, time
from datetime import UTC, datetime, timedelta

began, real = time.monotonic(), time.time()
OFF = (-real - {decade}, {decade}, -{decade}, -real - 1.0)

def wall():
    return time.monotonic() - began + real + OFF[int((time.monotonic() - began) / 0.4) % len(OFF)]

time.time = wall
time.time_ns = lambda: int(wall() * 1e9)
from edge import clock
clock.now = lambda: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=wall())
from edge.__main__ import main
sys.exit(main())
"""


def test_a_daemon_without_a_clock_judges_obeys_and_ends(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Booted before 1970, jumping all the while: verdicts arrive in order, commands are answered, it ends."""
    config = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera={"kind": "synthetic", "rate": 40, "width": 64, "height": 64},
        mqtt={"host": "127.0.0.1", "port": broker.port},
        commands={"allow": ["history", "threshold"]},
        health_every_s=0.5,
    )
    _, _, _, *arguments = inspect_command("run", "--config", config)
    command = [sys.executable, "-c", _JUMPING.format(decade=DECADE), *arguments]
    with Recorder(broker.port) as recorder, subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        recorder.wait_for("event", 60)
        boss = Boss(broker, recorder)
        assert boss.ask("history", limit=5)["status"] == "ok"
        assert boss.ask("threshold", value=0.5)["status"] == "ok"
        recorder.wait_for("health", 4)
        boss.stop()
        events = recorder.named("event")
        asked = time.monotonic()
        daemon.terminate()
        said = end(daemon, 20)
        assert time.monotonic() - asked < 5
    assert daemon.returncode == 0, said
    numbers = [each["seq"] for each in events]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {each["time"][:2] for each in events} >= {"19", "20"}
    found = run_inspect("ledger", "audit", "--config", config, "--json")
    assert [json.loads(line)["outcome"] for line in found.stdout.splitlines()] == ["ok", "ok"]
    assert run_inspect("ledger", "verify", "--config", config).returncode == 0
    assert run_inspect("ledger", "list", "--config", config).returncode == 0


def test_timeouts_count_on_the_monotonic_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes back ten years while a stop, a group and a flush are waited for holds none of them up."""
    wall = Clock(monkeypatch)
    broker = make_broker(tmp_path)
    line = Line(tmp_path, broker.port)
    stepper = threading.Event()

    def step() -> None:
        while not stepper.wait(0.01):
            wall.off = -DECADE if wall.off >= 0 else DECADE

    thread = threading.Thread(target=step)
    thread.start()
    try:
        started = time.monotonic()
        line.judge(30)
        assert time.monotonic() - started < 2
        started = time.monotonic()
        assert line.stop(1.0) == 30
        assert time.monotonic() - started < 4
    finally:
        stepper.set()
        thread.join()


def test_nothing_else_reads_the_wall_clock() -> None:
    """What decides, waits or orders has no wall clock: only times for people and ids are made of it."""
    reads = re.compile(r"\btime\.time(_ns)?\(|datetime\.(now|today|utcnow)\(|\blocaltime\(")
    folder = Path(clock.__file__).parent
    found = {f"{path.relative_to(folder)}" for path in folder.rglob("*.py") if reads.search(path.read_text("utf-8"))}
    assert found == {"clock.py", "contract/ulid.py", "ledger_command.py"}
