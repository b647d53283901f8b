"""What becomes of the real daemon when its camera fails: verdicts that say so, and recovery, but never an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from remote_pi import RemotePi
from seeing import Fault, config_for, goes_through, judging, none_passes, sees, unknowns

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker


def test_a_cable_that_is_pulled_and_put_back(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Meanwhile verdicts are UNKNOWN and the status is degraded, each with the reason; then parts are judged again."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera)
    with judging(config, broker.port, pi) as (recorder, _):
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
    triggers = [event["trigger"] for event in recorder.named("event")]
    assert len(set(triggers)) == len(triggers)


def test_a_camera_that_comes_back_with_another_size(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """No part is judged by a picture that nobody asked for: verdicts name both sizes until the right one is back."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera)
    with judging(config, broker.port, pi) as (recorder, _):
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


def test_a_camera_that_comes_after_the_start(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A device whose camera is not there yet starts, says so, and judges once it is."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera | {"index": 1})
    with judging(config, broker.port, pi) as (recorder, _):
        recorder.wait(unknowns)
        assert "not among this device's 1 cameras" in recorder.wait_for_status("degraded")["reason"]
        pi.do("add")
        recorder.wait(lambda r: sees(r, 0))
        recorder.wait_for_status("online")


@pytest.mark.parametrize("sees_first", [True, False])
def test_a_driver_that_does_not_let_go_ends_the_process(
    tmp_path: Path, broker: Broker, demo_bundle: Path, *, sees_first: bool
) -> None:
    """Only the process's end frees such hardware: it ends with an exit code that systemd starts it anew for."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera)
    with judging(config, broker.port, pi) as (recorder, daemon):
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


@pytest.mark.parametrize(
    "fault", [Fault("freeze", "thaw", "frozen", "frozen"), Fault("cover", "uncover", "black", "black")]
)
def test_a_camera_that_shows_nothing_new(tmp_path: Path, broker: Broker, demo_bundle: Path, fault: Fault) -> None:
    """A frozen or a black picture is no PASS: it is UNKNOWN, `status` asks for somebody, and then all is well again."""
    pi = RemotePi(tmp_path)
    with judging(config_for(tmp_path, demo_bundle, broker.port, pi.camera), broker.port, pi) as (recorder, _):
        assert goes_through(recorder, pi, fault) == {"UNKNOWN"}
