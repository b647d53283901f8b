"""A device that is too hot: the real daemon judges less, counts what it leaves out, and answers everybody."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from device import running_daemon, stop, write_config
from recorder import Recorder
from test_commands import Boss
from test_heat import write

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Broker

DAEMON = """
import sys
from pathlib import Path
from edge import config, daemon
sys.exit(daemon.run(config.load(Path(sys.argv[1])), Path(sys.argv[2])))
"""
CPU = "sys/class/thermal/thermal_zone0/temp"
CHIP = "sys/class/apex/apex_0/temp"
CAMERA = {"kind": "synthetic", "rate": 100, "width": 64, "height": 64}


@contextmanager
def heated(
    tmp_path: Path, broker: Broker, bundle: Path, **more: Any
) -> Iterator[tuple[Recorder, Boss, subprocess.Popen[str]]]:
    """Run a daemon whose sensors are below tmp_path/root."""
    config = write_config(
        tmp_path / "device.toml",
        bundle=bundle,
        camera=CAMERA,
        mqtt={"host": "127.0.0.1", "port": broker.port},
        health_every_s=0.5,
        **more,
    )
    command = [sys.executable, "-c", DAEMON, str(config), str(tmp_path / "root")]
    with Recorder(broker.port) as recorder, running_daemon(config, command=command) as daemon:
        recorder.wait_for("model")
        boss = Boss(broker, recorder)
        try:
            yield recorder, boss, daemon
        finally:
            boss.stop()


def last_share(recorder: Recorder) -> float:
    found = recorder.named("health")
    return float(found[-1]["judging_share"]) if found else 0.0


def test_a_hot_device_judges_less_and_says_so(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """An eighth of the time, every frame it leaves out is counted, questions are answered; cooled down it goes on."""
    write(tmp_path / "root", CPU, "61000\n")
    write(tmp_path / "root", CHIP, "96000\n")
    with heated(tmp_path, broker, demo_bundle, commands={"allow": ["health"]}) as (recorder, boss, daemon):
        status = recorder.wait_for_status("degraded")
        assert status["reason"] == "too hot: it judges 0.125 of the time"
        recorder.wait(lambda r: last_share(r) == 0.125)
        seen = recorder.named("health")[-1]
        assert seen["machine"]["cpu_c"] == 61.0
        recorder.wait(lambda r: r.named("health")[-1]["frames_dropped"] > seen["frames_dropped"] + 20)
        assert recorder.named("health")[-1]["frames_judged"] > seen["frames_judged"]
        assert boss.ask("health")["data"]["judging_share"] == 0.125
        write(tmp_path / "root", CHIP, "61000\n")
        assert recorder.wait_for_status("online", 40)["reason"] == ""
        recorder.wait(lambda r: last_share(r) == 1)
        stop(daemon)
        recorder.wait_for_status("offline")
        health = recorder.named("health")[-1]
    assert health["frames_captured"] - health["frames_dropped"] - health["frames_judged"] in (0, 1)
    assert health["frames_judged"] == len(recorder.named("event"))


def test_no_trigger_is_silently_left_out_for_heat(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Each of many at once has one verdict: those in time are judged, the others are UNKNOWN for their deadline."""
    write(tmp_path / "root", CHIP, "96000\n")
    more: dict[str, Any] = {"trigger": {"kind": "mqtt", "deadline_s": 1.0}, "commands": {"allow": ["trigger"]}}
    with heated(tmp_path, broker, demo_bundle, **more) as (recorder, boss, daemon):
        recorder.wait(lambda r: last_share(r) == 0.125)
        names = [f"heat-{number}" for number in range(15)]
        for name in names:
            boss.say("trigger", json.dumps({"transaction": name}).encode())
        recorder.wait_for("reply", len(names))
        stop(daemon)
        recorder.wait_for_status("offline")
    events = recorder.named("event")
    assert [event["trigger"] for event in events] == [f"mqtt-{name}" for name in names]
    replies = {reply["transaction"]: reply["data"]["event"] for reply in recorder.named("reply")}
    assert [replies[name] for name in names] == [event["id"] for event in events]
    assert {event["verdict"] for event in events} != {"UNKNOWN"}
    late = [event["reason"] for event in events if event["verdict"] == "UNKNOWN"]
    assert all("deadline" in reason or "within" in reason for reason in late), late
