"""What becomes of the real daemon when its Raspberry Pi camera does otherwise: UNKNOWN, why, and recovery."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from device import running_daemon, stop, write_config
from PIL import Image
from recorder import Recorder
from remote_pi import RemotePi

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker

FIXED = {"exposure_us": 4000, "gain": 2.0, "white_balance": [1.9, 1.6], "focus": 8.0}


def judged(recorder: Recorder, behind: int) -> bool:
    """Say whether a part was judged behind so many verdicts."""
    return any(event["verdict"] != "UNKNOWN" for event in recorder.named("event")[behind:])


@pytest.mark.parametrize(
    "fault",
    [
        ("break_down mend", "fails ([Errno 5] Input/output error)", "restart the device"),
        ("slip", "camera.exposure_us 4000: the picture was taken with 9994", "20 times in a row"),
        ("halve", "gives 80x64 BGR888 instead of 160x128 BGR888", "something changed its mode"),
    ],
)
def test_a_camera_that_does_otherwise(
    tmp_path: Path, broker: Broker, demo_bundle: Path, fault: tuple[str, str, str]
) -> None:
    """No part is judged by such a picture: verdicts and status say why, and the camera, opened anew, is right again."""
    (verbs, words, reason), pi = fault, RemotePi(tmp_path)
    verb, *end = verbs.split()
    camera = pi.camera | FIXED
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt={"port": broker.port})
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment) as daemon:
        recorder.wait(lambda r: judged(r, 0))
        pi.do(verb)
        recorder.wait(lambda r: any(words in event["reason"] for event in r.named("event")))
        assert reason in recorder.wait_for_status("degraded")["reason"]
        before = len(recorder.named("event"))
        for each in end:
            pi.do(each)
        recorder.wait(lambda r: judged(r, before))
        recorder.wait_for_status("online")
        stop(daemon)
        assert daemon.returncode == 0
    events = recorder.named("event")
    first = next(number for number, event in enumerate(events) if words in event["reason"])
    last = max(number for number, event in enumerate(events) if words in event["reason"])
    assert all(event["verdict"] == "UNKNOWN" for event in events[first:last])


def test_evidence_is_larger_than_what_is_judged(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """With a small picture for the model, whoever looks at the evidence still sees all that the camera saw."""
    pi = RemotePi(tmp_path)
    camera: dict[str, Any] = pi.camera | {"lores_width": 80}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt={"port": broker.port})
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment) as daemon:
        recorder.wait(lambda r: judged(r, 0))
        pi.do("cover")
        recorder.wait_for("image")
        stop(daemon)
        assert daemon.returncode == 0
    pictures = [message.payload for message in recorder.messages if message.name == "image"]
    assert {Image.open(BytesIO(picture)).size for picture in pictures} == {(160, 128)}
