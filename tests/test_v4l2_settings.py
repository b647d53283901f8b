"""What a V4L2 camera is asked for and grants: formats, rates and controls, and what is said where it does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edge.camera import open_camera
from edge.config import parse
from edge.errors import CameraError, ConfigError
from edge.sections.cameras import V4l2Config

pytest.importorskip("linuxpy", reason="linuxpy is not installed: pip install 'edge-inspect[v4l2]'")

from fake_v4l2 import Webcam, opened
from linuxpy.video import device as v4l2


def refusal(webcam: Webcam, **more: Any) -> str:
    """Return why a camera does not open, on one line, and that nothing stays open."""
    with pytest.raises(CameraError) as caught:
        opened(webcam, **more)
    assert webcam.opened == 0
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_format_with_the_least_work_is_chosen(webcam: Webcam) -> None:
    """Of what gives the size and the rate, raw comes before compressed, and a slow raw format after it."""
    opened(webcam, width=1280, height=720, rate=5)
    assert webcam._format.fmt.pix.pixelformat == v4l2.PixelFormat.YUYV
    webcam.plug()
    opened(webcam, width=1280, height=720, rate=10)
    assert webcam._format.fmt.pix.pixelformat == v4l2.PixelFormat.MJPEG
    assert webcam.rate == 15


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"width": 640, "height": 480}, "does not give 640x480 at 10 a second, but YUYV 64x48 at 30, 1280x720 at 5"),
        ({"rate": 60}, "does not give 64x48 at 60 a second"),
        ({"width": 640, "height": 480, "format": "YUYV"}, "gives 64x48 YUYV instead of 640x480 YUYV"),
        ({"format": "NV12"}, "gives 64x48 YUYV instead of 64x48 NV12"),
        ({"width": 1280, "height": 720, "format": "YUYV"}, "gives 5 frames a second instead of 10"),
    ],
)
def test_what_the_camera_does_not_give_is_refused(webcam: Webcam, more: dict[str, Any], words: str) -> None:
    """Another size, format or rate than wanted is an error that names what there is."""
    said = refusal(webcam, **more)
    assert words in said
    assert f"camera.device {webcam.path}: " in said
    assert "MJPEG 64x48 at 30, 1280x720 at 30" in said


def test_controls_are_locked_whatever_their_order(webcam: Webcam) -> None:
    """An exposure time can be set in a table in which the switch to manual exposure stands behind it."""
    wanted = {"exposure_time_absolute": 300, "white_balance_temperature": 4000, "auto_exposure": 1}
    opened(webcam, controls=wanted | {"white_balance_automatic": False, "brightness": -3})
    assert [knob.value for knob in webcam.knobs] == [-3, 0, 4000, 1, 300, 7]


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"gain": 1}, "gain 1: no such control; there are brightness, white_balance_automatic, white_balance_temp"),
        ({"brightness": 65}, "brightness 65: it takes -64 to 64"),
        ({"brightness": True}, "brightness true: it takes -64 to 64"),
        ({"white_balance_automatic": 0}, "white_balance_automatic 0: it takes false or true"),
        ({"auto_exposure": 2}, "auto_exposure 2: it takes 1 (Manual Mode), 3 (Aperture Priority Mode)"),
        ({"camera_name": 1}, "camera_name 1: it is read-only"),
        ({"exposure_time_absolute": 300}, "exposure_time_absolute 300: the camera refuses (Permission denied)"),
        (
            {"white_balance_automatic": False, "white_balance_temperature": 4004},
            "white_balance_temperature 4004: the camera makes it 4000; write that",
        ),
        ({"auto_exposure": 1, "brightness": 2**40}, "brightness 1099511627776: it takes -64 to 64"),
    ],
)
def test_controls_that_the_camera_does_not_take(webcam: Webcam, controls: dict[str, Any], words: str) -> None:
    """A control that is unknown, beyond its limits or not what was written is one line with what there is."""
    assert f"camera.controls.{words}" in refusal(webcam, controls=controls)


def test_a_control_that_another_one_rules_is_refused(webcam: Webcam) -> None:
    """Where the driver takes a value that has no effect, that is said, with what may rule it."""
    webcam.knobs[4].value = 300
    webcam._s_ext_ctrls = lambda *_: None  # type: ignore[method-assign] - a driver that says yes to everything
    said = refusal(webcam, controls={"exposure_time_absolute": 300})
    assert "has no effect (inactive); switch off what rules it, among white_balance_automatic, auto_exposure" in said


def test_a_camera_that_is_not_there_or_in_use(webcam: Webcam) -> None:
    """Each reason why it cannot be opened has its own remedy."""
    webcam.occupy()
    assert "another program uses it" in refusal(webcam)
    webcam.unplug()
    assert "not there; edge-inspect cameras lists what is" in refusal(webcam)
    webcam.plug()
    webcam.captures = False
    assert "gives no pictures; see edge-inspect cameras" in refusal(webcam)


@pytest.mark.parametrize(
    ("path", "words"), [("missing", "not there"), ("/dev/null", "no camera"), (".", "Is a directory")]
)
def test_what_is_no_camera(tmp_path: Path, path: str, words: str) -> None:
    """The real kernel's words about what is not there, no camera, or a folder end in one clear line."""
    with pytest.raises(CameraError, match=words) as caught:
        open_camera(V4l2Config(device=tmp_path / path))
    assert "\n" not in str(caught.value)


def test_a_control_that_is_no_number_is_a_config_error() -> None:
    """The line says which values a control can have."""
    camera = {"kind": "v4l2", "device": "/dev/video0", "controls": {"gain": 1.5}}
    said = "camera.controls is {'gain': 1.5}: expected a table, each value true or false or a whole number"
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse({"bundle": "x", "camera": camera}, Path("device.toml"))


def test_a_driver_that_tells_a_frame_of_no_time_is_refused(webcam: Webcam) -> None:
    """Nonsense in place of a rate is an error with the camera's name, not the end of the daemon."""

    def no_time(each: Any, _: int) -> None:
        each.type, each.discrete.numerator, each.discrete.denominator = v4l2.FrameIntervalType.DISCRETE, 0, 1

    webcam._enum_frameintervals = no_time  # type: ignore[method-assign] - what the kernel answers
    assert refusal(webcam).endswith("video0: fails (division by zero); plug it in anew")
