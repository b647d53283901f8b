"""What a configuration fixes of a Raspberry Pi camera: asked for, within its limits, and held against each frame."""

from __future__ import annotations

import math
import sys
import time
from itertools import islice
from typing import Any

import msgspec
import pytest
from fakes import PiCameras
from hypothesis import given
from hypothesis import strategies as st

from edge.camera import pi_controls
from edge.camera.base import BadFrame, Frame
from edge.camera.picamera import MOST_WRONG, Picamera
from edge.errors import CameraError
from edge.sections.cameras import PicameraConfig

FIXED: dict[str, Any] = {"exposure_us": 4000, "gain": 2.0, "white_balance": (1.9, 1.6), "focus": 8.0}


def config(**fixed: Any) -> PicameraConfig:
    """Return a small camera's configuration."""
    return PicameraConfig(width=96, height=64, timeout_s=0.2, **fixed)


def connect(monkeypatch: pytest.MonkeyPatch, pi: PiCameras) -> PiCameras:
    """Have these cameras be this device's."""
    for name, module in pi.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return pi


@pytest.fixture
def pi(monkeypatch: pytest.MonkeyPatch) -> PiCameras:
    """One Camera Module 3 at a Raspberry Pi 5."""
    return connect(monkeypatch, PiCameras())


def test_fixed_values_hold_from_the_first_frame(pi: PiCameras) -> None:
    """Light, gain and colours hold at once, and whole lines of light are near enough."""
    fixed = config(**{key: value for key, value in FIXED.items() if key != "focus"})
    assert all(isinstance(frame, Frame) for frame in islice(Picamera(fixed).frames(), 5))
    assert pi.released == 5


def test_a_lens_is_waited_for(pi: PiCameras) -> None:
    """While the lens moves its frames are bad, with the reason; then they are judged."""
    assert pi.lens
    first, second, *rest = islice(Picamera(config(focus=8.0)).frames(), 8)
    assert isinstance(first, BadFrame)
    assert isinstance(second, BadFrame)
    assert second.reason == "camera.focus 8: the picture was taken with 5"
    assert isinstance(rest[-1], Frame)
    assert [frame.number for frame in (first, second, *rest)] == list(range(1, 9))


def test_what_is_lost_while_it_runs_is_no_silent_pass(pi: PiCameras) -> None:
    """Each frame taken otherwise is bad and says so; then the camera fails, and opened anew it is as configured."""
    camera = Picamera(config(exposure_us=4000))
    frames = camera.frames()
    assert isinstance(next(frames), Frame)
    pi.slip()
    bad = list(islice(frames, MOST_WRONG - 1))
    assert {frame.reason for frame in bad if isinstance(frame, BadFrame)} == {
        "camera.exposure_us 4000: the picture was taken with 9994"
    }
    assert all(isinstance(frame, BadFrame) for frame in bad)
    with pytest.raises(CameraError, match=r"camera\.exposure_us 4000: .* with 9994, 20 times in a row; configure"):
        next(frames)
    camera.close()
    assert pi.released == MOST_WRONG + 1
    assert isinstance(next(Picamera(config(exposure_us=4000)).frames()), Frame)


@pytest.mark.parametrize(
    ("fixed", "words"),
    [
        ({"gain": 16.5}, r"camera\.gain 16\.5: this camera takes 1 to 16$"),
        ({"exposure_us": 13}, r"camera\.exposure_us 13: this camera takes 14 to 112015443$"),
        ({"rate": 127.0}, r"camera\.rate 127: this camera gives at most 120 frames per second at this size$"),
        ({"focus": 15.5}, r"camera\.focus 15\.5: this camera takes 0 to 15$"),
    ],
)
def test_what_is_beyond_the_cameras_limits_is_refused(pi: PiCameras, fixed: dict[str, Any], words: str) -> None:
    """The error names the key, its value and the limits of this camera, which is let go of."""
    with pytest.raises(CameraError, match=words):
        Picamera(config(**fixed))
    assert pi.closed == 1


@pytest.mark.parametrize("gain", [1.123, 22.261, 1.122, 22.262])
def test_the_limits_that_an_error_names_are_taken(gain: float) -> None:
    """Limits are fractions, such as 1024 / 46 of imx477: as they are told, rounded, they can be written."""
    limits = {"AnalogueGain": (1024 / 912, 1024 / 46, None)}
    problem = next(pi_controls.refusals(pi_controls.locks(config(gain=gain)), limits), "")
    assert problem in {"", f"camera.gain {gain}: this camera takes 1.123 to 22.261"}
    assert (problem == "") == (gain in {1.123, 22.261})


def test_a_camera_that_cannot_be_so_slow_says_its_slowest() -> None:
    """The error names the rate and the least that this camera gives, such as imx219's."""
    problem = pi_controls.rate_refusal(0.05, {"FrameDurationLimits": (8_333, 11_767_556, None)})
    assert problem == "camera.rate 0.05: this camera gives at least 0.08498 frames per second at this size"


def test_a_lens_that_does_not_move_has_no_focus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that the key is to be left out."""
    connect(monkeypatch, PiCameras(model="imx219"))
    with pytest.raises(CameraError, match=r"camera\.focus 2: this camera cannot, its lens does not move; leave camera"):
        Picamera(config(focus=2.0))


def test_the_hdr_of_a_pi_5(pi: PiCameras) -> None:
    """It is switched on, and a sensor whose tuning has none is not taken at its word."""
    assert isinstance(next(Picamera(config(hdr="isp")).frames()), Frame)
    pi.has_hdr_tuning = False
    frame = next(Picamera(config(hdr="isp")).frames())
    assert isinstance(frame, BadFrame)
    assert frame.reason == 'camera.hdr "isp": nothing says that the picture was taken so'


@pytest.mark.parametrize(
    "tells",
    [
        {"SensorTimestamp": None},
        {"SensorTimestamp": math.nan},
        {"SensorTimestamp": -math.inf},
        {"SensorTimestamp": "now"},
        {"SensorTimestamp": 10**19},
        {"ExposureTime": None},
        {"ExposureTime": math.nan},
    ],
)
def test_a_picture_of_no_known_time_is_bad(pi: PiCameras, tells: dict[str, Any]) -> None:
    """It may have been taken before the part came, and pass it; at last the camera is opened anew."""
    camera = Picamera(config())
    frames = camera.frames()
    assert isinstance(next(frames), Frame)
    pi.tells = tells
    bad = list(islice(frames, MOST_WRONG - 1))
    assert all(isinstance(frame, BadFrame) and frame.exposed <= time.monotonic() for frame in bad)
    ((name, value),) = tells.items()
    with pytest.raises(CameraError, match=rf"nothing says when the picture was taken \(.*{name} {value}.*, 20 times"):
        next(frames)
    camera.close()


def test_one_time_to_come_makes_no_other_wrong(pi: PiCameras) -> None:
    """The next picture, of a time that can be, is judged."""
    frames = Picamera(config()).frames()
    pi.tells = {"SensorTimestamp": 10**19}
    assert isinstance(next(frames), BadFrame)
    pi.tells = {}
    assert isinstance(next(frames), Frame)


def test_a_clock_that_stands_still_is_no_time(pi: PiCameras) -> None:
    """Two pictures cannot have been taken at once."""
    frames = Picamera(config()).frames()
    pi.tells = {"SensorTimestamp": time.monotonic_ns()}
    first, second = islice(frames, 2)
    assert isinstance(first, Frame)
    assert isinstance(second, BadFrame)


def test_only_frames_in_a_row_are_too_many(pi: PiCameras) -> None:
    """One right frame between them, and the camera goes on."""
    frames = Picamera(config(hdr="isp")).frames()
    for _ in range(3):
        pi.has_hdr_tuning = False
        assert all(isinstance(frame, BadFrame) for frame in islice(frames, MOST_WRONG - 1))
        pi.has_hdr_tuning = True
        assert isinstance(next(frames), Frame)


def test_the_hdr_of_the_chip_needs_a_pi_5(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older Raspberry Pi refuses it in one line, and lets go of the camera."""
    pi = connect(monkeypatch, PiCameras(is_pi_5=False))
    with pytest.raises(CameraError, match=r'camera\.hdr "isp": only a Raspberry Pi 5 has it; leave camera\.hdr out'):
        Picamera(config(hdr="isp"))
    assert pi.closed == 1


def test_the_hdr_of_the_sensor_is_switched_both_ways(pi: PiCameras) -> None:
    """It is switched while the camera is closed, and off again by a configuration without it: the sensor remembers."""
    for hdr in ("sensor", "sensor", "off"):
        camera = Picamera(config(hdr=hdr))
        assert pi.sensor_hdr is (hdr == "sensor")
        assert isinstance(next(camera.frames()), Frame)
        camera.close()
    assert pi.closed == 5


def test_a_sensor_that_does_not_switch_is_refused(pi: PiCameras) -> None:
    """A refusal that picamera2 only prints is noticed by the sensor's size."""
    pi.sensor_hdr_works = False
    with pytest.raises(CameraError, match=r'camera\.hdr "sensor": the sensor does not switch; restart the device'):
        Picamera(config(hdr="sensor"))
    assert pi.closed == 2


def test_another_sensor_has_no_hdr_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the sensor that is there."""
    connect(monkeypatch, PiCameras(model="imx219"))
    with pytest.raises(CameraError, match=r'camera\.hdr "sensor": only Camera Module 3 has it, not imx219; leave'):
        Picamera(config(hdr="sensor"))


def test_a_sensor_that_cannot_be_reached_says_what_it_takes(pi: PiCameras, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without access to the sensor's device the error names it."""

    def forbidden(_: object, camera_num: int) -> None:
        raise PermissionError(13, "Permission denied", f"/dev/v4l-subdev{camera_num}")

    monkeypatch.setattr(sys.modules["picamera2.devices.imx708"].IMX708, "__init__", forbidden)
    with pytest.raises(CameraError, match=r"camera\.hdr: the sensor cannot be reached \(.*Permission denied.*subdev0"):
        Picamera(config(hdr="sensor"))
    assert pi.closed == 1


WANTED: dict[str, tuple[float, ...]] = {
    "ExposureTime": (4000,),
    "AnalogueGain": (2.0,),
    "ColourGains": (1.9, 1.6),
    "LensPosition": (8.0,),
}
ODD = st.one_of(
    st.none(),
    st.floats(max_value=1.0),
    st.just(float("nan")),
    st.text(max_size=3),
    st.tuples(st.floats(max_value=1.0), st.floats()),
    st.lists(st.one_of(st.none(), st.floats(max_value=1.0), st.text(max_size=3)), max_size=3),
)


@given(odd=st.dictionaries(st.sampled_from(list(WANTED)), ODD), share=st.floats(min_value=0.955, max_value=1.045))
def test_only_numbers_near_the_configured_ones_pass_for_them(odd: dict[str, Any], share: float) -> None:
    """Whatever else a camera tells of a frame is named, one line for each value, and nothing raises."""
    near = {control: tuple(share * value for value in values) for control, values in WANTED.items()}
    told = {control: values if len(values) > 1 else values[0] for control, values in near.items()}
    found = list(pi_controls.departures(pi_controls.locks(config(**FIXED)), told | odd))
    assert len(found) == len(odd)
    assert all(line.startswith("camera.") and len(line.splitlines()) == 1 for line in found)


def test_small_values_have_a_step_to_be_off_by() -> None:
    """A line of light and a fraction of the lens's step are no fault, twice as much is one."""
    fixed = pi_controls.locks(config(exposure_us=100, focus=0.0))
    told = {"ExposureTime": 62, "LensPosition": 0.04}
    assert list(pi_controls.departures(fixed, told)) == []
    told = {"ExposureTime": 20, "LensPosition": 0.1}
    assert len(list(pi_controls.departures(fixed, told))) == 2


def test_limits_may_be_given_for_each_value() -> None:
    """Limits by libcamera of a control with several values are one for all, or one each."""
    fixed = pi_controls.locks(config(white_balance=(1.9, 1.6)))
    one, each = (0.0, 32.0, None), ((0.0, 0.0), (1.7, 32.0), None)
    assert list(pi_controls.refusals(fixed, {"ColourGains": one})) == []
    (words,) = pi_controls.refusals(fixed, {"ColourGains": each})
    assert words == "camera.white_balance [1.9, 1.6]: this camera takes 0 to 1.7"


def test_what_is_set_is_what_is_fixed() -> None:
    """Each value under libcamera's name, and a lens that is told where to stand is told not to look for it itself."""
    expected = {"ExposureTime": 4000, "AnalogueGain": 2.0, "ColourGains": (1.9, 1.6), "LensPosition": 8.0, "AfMode": 0}
    assert pi_controls.to_set(pi_controls.locks(config(**FIXED))) == expected
    assert pi_controls.to_set(pi_controls.locks(config(hdr="isp"))) == {"HdrMode": 3}


def test_nothing_configured_fixes_nothing() -> None:
    """A camera without these keys keeps all its automatics, and is held against nothing."""
    assert pi_controls.locks(msgspec.convert({"kind": "picamera2"}, PicameraConfig)) == []
    assert pi_controls.to_set([]) == {}
