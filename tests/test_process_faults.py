"""What becomes of the real daemon when it is stopped, hangs, finds a full disk, or has two troubles at once."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from device import run_inspect, write_config
from recorder import Recorder
from remote_pi import RemotePi
from seeing import sees
from service import Service
from spark_host import until
from test_commands import Boss

from edge.supervision import HANGS, LATE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker

WATCHDOG_SECONDS = 4.0
"""Instead of the unit's 30; the daemon feeds it each second."""


def config_for(folder: Path, bundle: Path, port: int, camera: dict[str, Any], **more: Any) -> Path:
    """Write the configuration of a device under test; what it keeps lies in `folder`."""
    settings = folder.parent / "device.toml"
    return write_config(
        settings, bundle=bundle, camera=camera, mqtt={"port": port}, state_dir=str(folder / "state"), **more
    )


def fill(disk: Path) -> Path:
    """Leave not a byte of a disk."""
    hog = disk / "hog"
    with hog.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return hog


def test_a_process_that_is_stopped_for_a_while_goes_on(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Meanwhile its watchdog is not fed; then it is, and each trigger of that time has its one verdict."""
    pi = RemotePi(tmp_path)
    own = {"trigger": {"kind": "mqtt"}, "commands": {"allow": ["trigger"]}}
    config = config_for(tmp_path / "disk", demo_bundle, broker.port, pi.camera, **own)
    with Recorder(broker.port) as recorder, Service(config, pi.environment) as service:
        boss = Boss(broker, recorder)
        recorder.wait_for("model")
        assert boss.ask("trigger")["data"]["verdict"] != "UNKNOWN"
        service.send(signal.SIGSTOP)
        names = [f"p{number}" for number in range(5)]
        for name in names:
            boss.say("trigger", json.dumps({"transaction": name}).encode())
        fed = service.fed
        threading.Event().wait(4.0)
        assert service.fed <= fed + 1, "it was, though one may have been on its way"
        fed = service.fed
        service.send(signal.SIGCONT)
        until(lambda: service.fed > fed)
        recorder.wait_for("reply", 1 + len(names))
        assert boss.ask("trigger", transaction="last")["data"]["verdict"] != "UNKNOWN"
        boss.stop()
        assert service.stop() == 0
        assert service.codes == []
        recorder.wait_for_status("offline")
    fired = [event["trigger"] for event in recorder.named("event")]
    assert fired[1:] == [f"mqtt-{name}" for name in [*names, "last"]]


def test_a_process_that_stays_stopped_is_started_anew(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Its watchdog sees to that."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path / "disk", demo_bundle, broker.port, pi.camera)
    with Recorder(broker.port) as recorder, Service(config, pi.environment, WATCHDOG_SECONDS) as service:
        recorder.wait(lambda r: sees(r, 0))
        service.send(signal.SIGSTOP)
        until(lambda: service.codes == [-signal.SIGABRT], 30)
        before = len(recorder.named("event"))
        recorder.wait(lambda r: sees(r, before), 30)
        assert service.stop() == 0


def test_a_judging_thread_that_hangs_is_started_anew(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Before the watchdog bites the status says why; who triggers meanwhile has a verdict too, by the next life.

    Threads that go on, and messages, do not feed the watchdog in its place.
    """
    pi = RemotePi(tmp_path)
    own = {"trigger": {"kind": "mqtt"}, "commands": {"allow": ["trigger"]}}
    config = config_for(tmp_path / "disk", demo_bundle, broker.port, pi.camera, **own)
    with Recorder(broker.port) as recorder, Service(config, pi.environment, LATE_SECONDS + WATCHDOG_SECONDS) as service:
        boss = Boss(broker, recorder)
        recorder.wait_for("model")
        boss.ask("trigger")
        pi.do("hang")
        boss.say("trigger", b'{"transaction":"hung"}')
        told = recorder.wait_for_status("degraded")["reason"]
        assert told == HANGS
        for name in "ab":
            boss.say("trigger", b'{"transaction":"%s"}' % name.encode())
        until(lambda: service.codes == [-signal.SIGABRT], 30)
        recorder.wait(lambda r: len(r.named("event")) == 4, 30)
        assert boss.ask("trigger")["data"]["verdict"] != "UNKNOWN"
        boss.stop()
        assert service.stop() == 0
        recorder.wait_for_status("offline")
    late = [each["trigger"] for each in recorder.named("event")[1:4] if each["verdict"] == "UNKNOWN"]
    assert late == ["mqtt-hung", "mqtt-a", "mqtt-b"]


def test_a_camera_whose_driver_hangs_is_told(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Within seconds, and long before a new start may free it: also where nothing triggers, so that none is UNKNOWN."""
    pi = RemotePi(tmp_path)
    own = {"trigger": {"kind": "mqtt"}, "commands": {"allow": ["trigger"]}}
    config = config_for(tmp_path / "disk", demo_bundle, broker.port, pi.camera, **own)
    with Recorder(broker.port) as recorder, Service(config, pi.environment):
        recorder.wait_for("model")
        recorder.wait_for_status("online")
        pi.do("stick")
        assert "the camera's driver has not come back for 1.5 s" in recorder.wait_for_status("degraded")["reason"]


def test_a_start_on_a_full_disk(tmp_path: Path, broker: Broker, demo_bundle: Path, little: Path) -> None:
    """Parts are judged and verdicts arrive; `status` names the disk; with room all is kept, and it is well again."""
    pi = RemotePi(tmp_path)
    config = config_for(little, demo_bundle, broker.port, pi.camera)
    (little / "state").mkdir()
    hog = fill(little)
    with Recorder(broker.port) as recorder, Service(config, pi.environment) as service:
        recorder.wait(lambda r: sees(r, 0), 30)
        assert "verdicts are kept in memory" in recorder.wait_for_status("degraded")["reason"]
        hog.unlink()
        recorder.wait_for_status("online", 30)
        before = len(recorder.named("event"))
        recorder.wait(lambda r: sees(r, before))
        assert service.stop() == 0
        assert service.codes == []
        recorder.wait_for_status("offline")
    check_kept(config, recorder)


def test_a_camera_unplugged_while_the_disk_is_full(
    tmp_path: Path, broker: Broker, demo_bundle: Path, little: Path
) -> None:
    """Both are named at once, whichever ends first, and neither holds up the other's mending."""
    pi = RemotePi(tmp_path)
    config = config_for(little, demo_bundle, broker.port, pi.camera)
    with Recorder(broker.port) as recorder, Service(config, pi.environment) as service:
        recorder.wait(lambda r: sees(r, 0), 30)
        hog = fill(little)
        recorder.wait(lambda r: "kept in memory" in r.named("status")[-1]["reason"], 30)
        pi.do("unplug")
        recorder.wait(lambda r: {"check its cable", "kept in memory"} <= troubles(r))
        before = len(recorder.named("event"))
        pi.do("plug")
        recorder.wait(lambda r: sees(r, before), 30)
        assert "kept in memory" in recorder.named("status")[-1]["reason"]
        hog.unlink()
        assert recorder.wait_for_status("online", 30)["reason"] == ""
        assert service.stop() == 0
        recorder.wait_for_status("offline")
    check_kept(config, recorder)


def troubles(recorder: Recorder) -> set[str]:
    """Return which of the two the status names."""
    reason = recorder.named("status")[-1]["reason"]
    return {words for words in ("check its cable", "kept in memory") if words in reason}


def check_kept(config: Path, recorder: Recorder) -> None:
    """Check that the disk has every verdict that arrived, and each number once."""
    found = run_inspect("ledger", "list", "--config", config, "--json", "-n", 100_000)
    kept = [json.loads(line) for line in found.stdout.splitlines()]
    assert [each["seq"] for each in kept] == list(range(1, len(kept) + 1))
    assert {each["id"] for each in kept} == {each["id"] for each in recorder.named("event")}
