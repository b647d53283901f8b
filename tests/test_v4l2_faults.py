"""What becomes of the real daemon when its USB camera fails: verdicts that say so, and recovery, but never an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from device import running_daemon, stop
from recorder import Recorder
from remote_webcam import RemoteWebcam
from test_camera_faults import config_for, sees, unknowns

pytest.importorskip("linuxpy", reason="linuxpy is not installed: pip install 'edge-inspect[v4l2]'")

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker


@pytest.mark.parametrize(
    "what",
    [
        ("unplug", "plug", "unplugged"),
        ("hush", "mend", "no frame for 1 s; check its cable"),
        ("damage", "mend", "has no end; check its cable"),
    ],
)
def test_a_fault_ends_in_verdicts_that_say_so(
    tmp_path: Path, broker: Broker, demo_bundle: Path, what: tuple[str, str, str]
) -> None:
    """UNKNOWN with the reason, no part judged meanwhile, the status degraded; and parts are judged again after it."""
    (fault, end, words), webcam = what, RemoteWebcam(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, webcam.camera)
    with Recorder(broker.port) as recorder, running_daemon(config, webcam.environment) as daemon:
        recorder.wait(lambda r: sees(r, 0))
        webcam.do(fault)
        recorder.wait(lambda r: any(words in event["reason"] for event in unknowns(r)))
        assert recorder.wait_for_status("degraded")["reason"]
        before = len(recorder.named("event"))
        assert not sees(recorder, before - 1)
        webcam.do(end)
        recorder.wait(lambda r: sees(r, before))
        assert recorder.wait_for_status("online")["reason"] == ""
        stop(daemon)
        assert daemon.returncode == 0
