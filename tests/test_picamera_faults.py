"""What becomes of the real daemon when its Raspberry Pi camera does otherwise: UNKNOWN, why, and recovery."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from remote_pi import RemotePi
from seeing import Fault, config_for, goes_through, judging, sees

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker

FIXED = {"exposure_us": 4000, "gain": 2.0, "white_balance": [1.9, 1.6], "focus": 8.0}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("break_down", "mend", "fails ([Errno 5] Input/output error)", "restart the device"),
        Fault("slip", "", "camera.exposure_us 4000: the picture was taken with 9994", "20 times in a row"),
        Fault("halve", "", "gives 80x64 BGR888 instead of 160x128 BGR888", "something changed its mode"),
    ],
)
def test_a_camera_that_does_otherwise(tmp_path: Path, broker: Broker, demo_bundle: Path, fault: Fault) -> None:
    """No part is judged by such a picture: verdicts and status say why, and the camera, opened anew, is right again."""
    pi = RemotePi(tmp_path)
    with judging(config_for(tmp_path, demo_bundle, broker.port, pi.camera | FIXED), broker.port, pi) as (recorder, _):
        assert goes_through(recorder, pi, fault) == {"UNKNOWN"}


def test_evidence_is_larger_than_what_is_judged(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """With a small picture for the model, whoever looks at the evidence still sees all that the camera saw."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera | {"lores_width": 80})
    with judging(config, broker.port, pi) as (recorder, _):
        recorder.wait(lambda r: sees(r, 0))
        pi.do("cover")
        recorder.wait_for("image")
    pictures = [message.payload for message in recorder.messages if message.name == "image"]
    assert {Image.open(BytesIO(picture)).size for picture in pictures} == {(160, 128)}
