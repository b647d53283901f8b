"""`edge-inspect cameras`, on pretended cameras below the real linuxpy and on a pretended picamera2."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import PiCameras

from edge import cameras
from edge.camera import found, open_camera
from edge.camera.base import Frame
from edge.config import parse
from edge.sections.cameras import V4l2Config

pytest.importorskip("linuxpy", reason="linuxpy is not installed: pip install 'edge-inspect[v4l2]'")

import tomllib

from fake_v4l2 import GREY_YUYV, Webcam

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep this machine's own devices out."""
    for name in ("DEVICES", "NODES", "PROCESSES"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(found, name, tmp_path / name)
    monkeypatch.setitem(sys.modules, "picamera2", None)


@pytest.fixture
def webcam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webcam]:
    """A USB camera, with the kernel's description of it and a link that lasts."""
    webcam = Webcam(tmp_path / "DEVICES" / "video0")
    webcam.path.touch()
    (tmp_path / "NODES" / "video0").mkdir()
    (tmp_path / "NODES" / "video0" / "name").write_text("Pretended\x1b[31m Camera\n")
    (tmp_path / "NODES" / "video0" / "index").write_text("0\n")
    links = tmp_path / "DEVICES" / "v4l" / "by-id"
    links.mkdir(parents=True)
    (links / "usb-Pretended-video-index0").symlink_to(webcam.path)
    webcam.install(monkeypatch)
    yield webcam
    webcam.put_away()


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what is printed for programs."""
    cameras.run(argparse.Namespace(json=True))
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is printed for people."""
    cameras.run(argparse.Namespace(json=False))
    return capsys.readouterr().out


def test_a_usb_camera_is_listed_with_all_that_a_configuration_needs(
    webcam: Webcam, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its lasting name, formats, sizes, rates and controls with their limits."""
    (camera,) = listed(capsys)["cameras"]
    assert camera["kind"] == "v4l2"
    assert camera["name"] == "Pretended?[31m Camera"
    assert camera["place"].endswith("/v4l/by-id/usb-Pretended-video-index0")
    large = {"format": "YUYV", "width": 1280, "height": 720, "smallest": None, "rates": [5.0]}
    assert large in camera["views"]
    settings = {each["name"]: each for each in camera["controls"]}
    assert settings["exposure_time_absolute"] == {
        "name": "exposure_time_absolute",
        "value": 157,
        "default": 157,
        "limits": "3 to 2047",
        "note": "inactive",
    }
    assert settings["auto_exposure"]["limits"] == "1 (Manual Mode), 3 (Aperture Priority Mode)"
    assert webcam.opened == 0


def test_people_see_the_same(webcam: Webcam, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each mode and control, and what picamera2 lacks, without what a terminal would obey."""
    shown = printed(capsys)
    assert f"v4l2 {webcam.path.parent}/v4l/by-id/usb-Pretended-video-index0: Pretended?[31m Camera\n" in shown
    assert "MJPEG               1280x720  at 30, 15, 5 a second" in shown
    assert "auto_exposure" in shown
    assert "picamera2 is not installed: apt install python3-picamera2" in shown
    assert "\x1b" not in shown


def test_the_configuration_that_is_printed_opens_the_camera(webcam: Webcam, capsys: pytest.CaptureFixture[str]) -> None:
    """It parses, names a mode that there is, and frames come."""
    (camera,) = listed(capsys)["cameras"]
    table = tomllib.loads(camera["config"])
    config = parse({"bundle": "x", **table}, Path("device.toml")).camera
    assert isinstance(config, V4l2Config)
    assert (config.width, config.height, config.rate) == (1280, 720, 10.0)
    webcam.path = config.device
    open_camera(config).close()


@pytest.mark.parametrize(
    ("sizes", "formats", "chosen"),
    [
        ([(64, 48)], ["YUYV"], (64, 48, 10.0)),
        ([(64, 48), (1920, 1080)], ["MJPEG"], (64, 48, 10.0)),
        ([(1280, 720)], ["YUYV"], (1280, 720, 5.0)),
    ],
)
def test_the_configuration_is_one_that_the_camera_has(
    webcam: Webcam, capsys: pytest.CaptureFixture[str], sizes: list[Any], formats: list[str], chosen: tuple[Any, ...]
) -> None:
    """Where it has not the usual size or rate, the next one that it has is named."""
    webcam.sizes, webcam.formats = sizes, formats
    (camera,) = listed(capsys)["cameras"]
    table = tomllib.loads(camera["config"])["camera"]
    assert (table["width"], table["height"], table["rate"]) == chosen


def test_a_camera_that_is_in_use_is_not_disturbed(
    webcam: Webcam, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who streams from it is named, and gets the next frame as before."""
    camera = open_camera(V4l2Config(device=webcam.path, width=64, height=48))
    frames = camera.frames()
    process = tmp_path / "PROCESSES" / "812"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "7").symlink_to(webcam.path)
    (process / "comm").write_text("edge-inspect\n")
    (shown,) = listed(capsys)["cameras"]
    assert shown["used_by"] == "edge-inspect (process 812)"
    assert len(shown["views"]) == 4
    webcam.expose(GREY_YUYV)
    frame = next(frames)
    assert isinstance(frame, Frame)
    assert np.all(frame.pixels == 128)
    camera.close()


def test_what_is_no_camera_is_not_listed(webcam: Webcam, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a node of metadata nor a sensor's bare pixels; without any camera that is said, with exit code 5."""
    webcam.captures = False
    assert listed(capsys)["cameras"] == []
    webcam.captures, webcam.formats = True, ["SRGGB10"]
    assert listed(capsys)["cameras"] == []
    assert cameras.run(argparse.Namespace(json=False)) == 5
    assert capsys.readouterr().out.startswith("no camera found\n")


def test_without_linuxpy_the_kernel_still_names_it(
    webcam: Webcam, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name stands in sysfs, with what to install for more; the node of its metadata is left out."""
    second = tmp_path / "NODES" / "video1"
    second.mkdir()
    (second / "index").write_text("1\n")
    monkeypatch.setitem(sys.modules, "linuxpy.video", None)
    (camera,) = listed(capsys)["cameras"]
    assert camera["name"] == "Pretended?[31m Camera"
    assert camera["trouble"] == "needs linuxpy: pip install 'edge-inspect[v4l2]'"
    assert camera["place"].endswith("usb-Pretended-video-index0")
    assert webcam.opened == 0


def test_a_camera_that_cannot_be_asked_is_listed_with_the_reason(
    webcam: Webcam, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that goes away while it is looked at does not end the list."""
    webcam.unplug()
    (camera,) = listed(capsys)["cameras"]
    assert camera["trouble"] == "cannot be asked (No such file or directory)"


def modes_of(pi: PiCameras, monkeypatch: pytest.MonkeyPatch, sensor_modes: list[dict[str, Any]]) -> None:
    """Have picamera2 be there, with sensors of these modes."""
    module = pi.module()
    module.Picamera2.sensor_modes = property(lambda _: sensor_modes)
    monkeypatch.setitem(sys.modules, "picamera2", module)


SENSOR = [
    {"format": "SRGGB10_CSI2P", "size": (1536, 864), "fps": 120.13, "bit_depth": 10},
    {"format": "SRGGB10_CSI2P", "size": (4608, 2592), "fps": 14.35, "bit_depth": 10},
]


def test_the_pis_cameras_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its modes and a table that names it; none stays open."""
    pi = PiCameras(2)
    modes_of(pi, monkeypatch, SENSOR)
    first, second = listed(capsys)["cameras"]
    assert (first["name"], first["place"], second["place"]) == ("imx708", "0", "1")
    assert [(view["width"], view["rates"]) for view in first["views"]] == [(1536, [120.13]), (4608, [14.35])]
    assert tomllib.loads(second["config"])["camera"] == {
        "kind": "picamera2",
        "index": 1,
        "width": 1280,
        "height": 720,
        "rate": 10.0,
    }
    assert pi.closed == 2


def test_a_pis_camera_that_is_in_use(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Libcamera refuses the second program; the camera is listed with that, and its table."""
    pi = PiCameras()
    modes_of(pi, monkeypatch, SENSOR)
    pi.in_use = True
    shown = printed(capsys)
    assert "in use by another program, or it does not open (Failed to acquire camera" in shown
    assert 'kind = "picamera2"' in shown


def test_each_of_two_cameras_is_asked_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The place that is printed is the one that opens the camera whose modes stand beside it."""
    module = (pi := PiCameras(2)).module()
    by_num = [SENSOR[:1], SENSOR[1:]]
    module.Picamera2.sensor_modes = property(lambda camera: by_num[camera.camera_idx])
    monkeypatch.setitem(sys.modules, "picamera2", module)
    for place, (camera, info) in enumerate(
        zip(listed(capsys)["cameras"], module.Picamera2.global_camera_info(), strict=True)
    ):
        assert camera["place"] == str(place)
        assert tomllib.loads(camera["config"])["camera"]["index"] == place
        (view,) = camera["views"]
        assert (view["width"], view["height"]) == by_num[info["Num"]][0]["size"]
    assert pi.closed == 2


def test_a_usb_camera_is_v4l2s(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of what libcamera too makes of a webcam no table is printed: it would not open."""
    modes_of(PiCameras(), monkeypatch, SENSOR)
    usb = {"Model": "Webcam", "Num": 0, "Id": "/base/scb/pcie@7d500000/pci@0,0/usb@0,0-1:1.0-046d:0825"}
    monkeypatch.setattr(sys.modules["picamera2"].Picamera2, "global_camera_info", staticmethod(lambda: [usb]))
    assert listed(capsys)["cameras"] == []


@pytest.mark.parametrize("error", [OSError(12, "Cannot allocate memory"), PermissionError(13, "Permission denied")])
def test_whatever_a_driver_throws_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError
) -> None:
    """A sensor whose pictures the memory cannot hold, or a memory that is others', is a line, and it is closed."""

    def fail(_: object) -> list[dict[str, Any]]:
        raise error

    module = (pi := PiCameras()).module()
    module.Picamera2.sensor_modes = property(fail)
    monkeypatch.setitem(sys.modules, "picamera2", module)
    (camera,) = listed(capsys)["cameras"]
    assert camera["trouble"] == f"does not tell its modes ({error})"
    assert pi.closed == 1


def test_a_small_sensor_and_modes_without_a_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table does not ask for more pixels than there are; modes without a size are left out."""
    modes_of(PiCameras(), monkeypatch, [{"format": "MJPEG"}, SENSOR[0] | {"size": (641, 480)}])
    (camera,) = listed(capsys)["cameras"]
    assert len(camera["views"]) == 1
    table = tomllib.loads(camera["config"])["camera"]
    assert (table["width"], table["height"]) == (640, 480)


def test_a_libcamera_that_does_not_work_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it says stands in one line, and the other cameras are listed all the same."""
    pi = PiCameras()
    modes_of(pi, monkeypatch, SENSOR)

    def fail() -> list[dict[str, Any]]:
        raise RuntimeError("Could not\nopen media device")

    monkeypatch.setattr(sys.modules["picamera2"].Picamera2, "global_camera_info", staticmethod(fail))
    assert listed(capsys)["notes"] == ["libcamera does not list its cameras (Could not open media device)"]
