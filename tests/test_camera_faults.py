"""What becomes of the real daemon when its camera fails: verdicts that say so, and recovery, but never an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from device import running_daemon, stop, write_config
from recorder import Recorder
from remote_pi import RemotePi

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker


def config_for(tmp_path: Path, bundle: Path, port: int, camera: dict[str, Any]) -> Path:
    """Write the configuration of a device under test."""
    return write_config(tmp_path / "device.toml", bundle=bundle, camera=camera, mqtt={"port": port})


def unknowns(recorder: Recorder) -> list[dict[str, Any]]:
    """Return the verdicts that say that no frame came."""
    return [event for event in recorder.named("event") if event["verdict"] == "UNKNOWN"]


def sees(recorder: Recorder, behind: int) -> bool:
    """Say whether a part was judged behind so many verdicts."""
    return any(event["verdict"] != "UNKNOWN" for event in recorder.named("event")[behind:])


def none_passes(recorder: Recorder, words: str, before: int) -> bool:
    """Say whether none of the first `before` verdicts was of a part, from the first with these words on."""
    events = recorder.named("event")[:before]
    first = next(number for number, event in enumerate(events) if words in event["reason"])
    return all(event["verdict"] == "UNKNOWN" for event in events[first:])


def test_a_cable_that_is_pulled_and_put_back(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Meanwhile verdicts are UNKNOWN and the status is degraded, each with the reason; then parts are judged again."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera)
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment) as daemon:
        recorder.wait(lambda r: sees(r, 0))
        pi.do("unplug")
        recorder.wait(lambda r: len(unknowns(r)) >= 2)
        assert "check its cable" in recorder.wait_for_status("degraded")["reason"]
        assert all("check its cable" in event["reason"] for event in unknowns(recorder))
        before = len(recorder.named("event"))
        assert none_passes(recorder, "check its cable", before)
        pi.do("plug")
        recorder.wait(lambda r: sees(r, before))
        assert recorder.wait_for_status("online")["reason"] == ""
        stop(daemon)
        assert daemon.returncode == 0
    triggers = [event["trigger"] for event in recorder.named("event")]
    assert len(set(triggers)) == len(triggers)


def test_a_camera_that_comes_back_with_another_size(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """No part is judged by a picture that nobody asked for: verdicts name both sizes until the right one is back."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera)
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment) as daemon:
        recorder.wait(lambda r: sees(r, 0))
        pi.do("shrink")
        pi.do("unplug")
        recorder.wait(lambda r: any("gives 64x48" in event["reason"] for event in unknowns(r)))
        pi.do("plug")
        recorder.wait(lambda r: "gives 64x48" in r.named("status")[-1]["reason"])
        before = len(recorder.named("event"))
        assert none_passes(recorder, "gives 64x48", before)
        pi.do("grow")
        recorder.wait(lambda r: sees(r, before))
        assert recorder.wait_for_status("online")["reason"] == ""
        stop(daemon)
        assert daemon.returncode == 0


def test_a_camera_that_comes_after_the_start(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A device whose camera is not there yet starts, says so, and judges once it is."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera | {"index": 1})
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment) as daemon:
        recorder.wait(unknowns)
        assert "not among this device's 1 cameras" in recorder.wait_for_status("degraded")["reason"]
        pi.do("add")
        recorder.wait(lambda r: sees(r, 0))
        recorder.wait_for_status("online")
        stop(daemon)
        assert daemon.returncode == 0


@pytest.mark.parametrize("sees_first", [True, False])
def test_a_driver_that_does_not_let_go_ends_the_process(
    tmp_path: Path, broker: Broker, demo_bundle: Path, *, sees_first: bool
) -> None:
    """Only the process's end frees such hardware: it ends with an exit code that systemd starts it anew for."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera)
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment) as daemon:
        recorder.wait(lambda r: sees(r, 0))
        if sees_first:
            pi.do("jam")
            pi.do("unplug")
        else:
            pi.do("unplug")
            recorder.wait(lambda r: len(unknowns(r)) >= 2)
            pi.do("jam")
        assert daemon.wait(30) == 5
        assert "a new start may free it" in recorder.wait_for_status("offline")["reason"]


@pytest.mark.parametrize("what", [("freeze", "thaw", "frozen"), ("cover", "uncover", "black")])
def test_a_camera_that_shows_nothing_new(
    tmp_path: Path, broker: Broker, demo_bundle: Path, what: tuple[str, str, str]
) -> None:
    """A frozen or a black picture is no PASS: it is UNKNOWN, `status` asks for somebody, and then all is well again."""
    (fault, end, words), pi = what, RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera)
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment) as daemon:
        recorder.wait(lambda r: sees(r, 0))
        pi.do(fault)
        recorder.wait(lambda r: any(words in event["reason"] for event in unknowns(r)))
        assert words in recorder.wait_for_status("degraded")["reason"]
        before = len(recorder.named("event"))
        assert none_passes(recorder, words, before)
        pi.do(end)
        recorder.wait(lambda r: sees(r, before))
        assert recorder.wait_for_status("online")["reason"] == ""
        stop(daemon)
        assert daemon.returncode == 0
