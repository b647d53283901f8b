"""What becomes of the real daemon when its USB camera fails: verdicts that say so, and recovery, but never an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from remote_webcam import RemoteWebcam
from seeing import Fault, config_for, goes_through, judging

pytest.importorskip("linuxpy", reason="linuxpy is not installed: pip install 'edge-inspect[v4l2]'")

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker


@pytest.mark.parametrize(
    "fault",
    [
        Fault("unplug", "plug", "unplugged", "unplugged"),
        Fault("hush", "mend", "no frame for 1 s; check its cable", "no frame for 1 s"),
        Fault("damage", "mend", "has no end; check its cable", "has no end"),
    ],
)
def test_a_fault_ends_in_verdicts_that_say_so(tmp_path: Path, broker: Broker, demo_bundle: Path, fault: Fault) -> None:
    """UNKNOWN with the reason, no part judged meanwhile, the status degraded; and parts are judged again after it."""
    webcam = RemoteWebcam(tmp_path)
    with judging(config_for(tmp_path, demo_bundle, broker.port, webcam.camera), broker.port, webcam) as (recorder, _):
        assert goes_through(recorder, webcam, fault) == {"UNKNOWN"}
