"""What doctor says of cameras and pins, with pretended hardware at the boundary of their packages."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from fakes import PiCameras
from test_doctor_machine import states

from edge.config import Config
from edge.doctor import camera, pins
from edge.doctor.finding import Patient
from edge.errors import ConfigError
from edge.ledger.claim import Claim
from edge.sections.cameras import FolderConfig, PicameraConfig, SyntheticConfig
from edge.sections.outputs import OutputConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def patient(root: Path, seen_by: Any = None, **more: Any) -> Patient:
    """A device with a Raspberry Pi's camera, unless it has another."""
    chosen = seen_by or PicameraConfig(width=96, height=64, timeout_s=0.2)
    return Patient(root=root, config=Config(bundle=root, camera=chosen, state_dir=root, **more))


@pytest.fixture
def pi(monkeypatch: pytest.MonkeyPatch) -> PiCameras:
    """Its cameras, in an environment that packages from apt can be imported in."""
    found = PiCameras()
    monkeypatch.setitem(sys.modules, "picamera2", found.module())
    monkeypatch.setattr(sys, "prefix", "/nowhere")
    return found


def test_a_stack_that_works(tmp_path: Path, pi: PiCameras) -> None:
    """picamera2 loads and sees a camera, and it gives a frame."""
    assert states(camera.stack(patient(tmp_path))) == [("camera stack", "ok")]
    assert states(camera.frame(patient(tmp_path))) == [("camera", "ok")]
    assert pi.closed == 1


def test_no_camera_on_the_ribbon(tmp_path: Path, pi: PiCameras) -> None:
    """Where picamera2 sees none, the cable is what to look at."""
    pi.count = 0
    (found,) = camera.stack(patient(tmp_path))
    assert (found.state, "ribbon" in found.remedy) == ("problem", True)


def test_a_libcamera_that_does_not_start(tmp_path: Path, pi: PiCameras, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words are a problem with a remedy, no crash of doctor."""

    def fail() -> list[dict[str, Any]]:
        raise RuntimeError("Failed to start CameraManager: Permission denied")

    assert pi.count == 1
    monkeypatch.setattr(sys.modules["picamera2"].Picamera2, "global_camera_info", staticmethod(fail))
    (found,) = camera.stack(patient(tmp_path))
    assert (found.state, "Failed to start CameraManager" in found.says) == ("problem", True)


def test_no_picamera2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is missing is a problem, and so is an environment that cannot see what apt installs."""
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setitem(sys.modules, "picamera2", None)
    found = states(camera.stack(patient(tmp_path)))
    assert found == [("venv", "problem"), ("camera stack", "problem")]
    assert list(camera.judge_venv("include-system-site-packages = True")) == []
    assert list(camera.judge_venv("")) == []


def test_another_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An extension of picamera2 that was built for another numpy is told as that."""
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "prefix", "/nowhere")
    (found,) = camera.stack(patient(tmp_path))
    assert "dtype size changed" in found.says
    assert "the numpy that requirements-device.txt names" in found.remedy


def test_a_camera_that_gives_nothing(tmp_path: Path, pi: PiCameras) -> None:
    """One without its cable is a problem in the camera's own words; one that a daemon has is left alone."""
    pi.unplug()
    (found,) = camera.frame(patient(tmp_path))
    assert (found.state, "no frame" in found.says) == ("problem", True)
    claim = Claim(tmp_path)
    try:
        held = Patient(config=patient(tmp_path).config)
        assert states(camera.frame(held)) == [("camera", "skipped")]
    finally:
        claim.close()


def test_the_cameras_files(tmp_path: Path) -> None:
    """No device file is a problem, one that may be used is fine; a folder of pictures needs none."""
    assert states(camera.nodes(patient(tmp_path))) == [("camera device", "problem")]
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/media0").touch()
    assert states(camera.nodes(patient(tmp_path))) == [("camera device", "ok")]
    (tmp_path / "proc/4711/fd").mkdir(parents=True)
    (tmp_path / "proc/4711/comm").write_text("rpicam-vid\n")
    (tmp_path / "proc/4711/fd/5").symlink_to(os.path.realpath(tmp_path / "dev/media0"))
    (_, used) = camera.nodes(patient(tmp_path))
    assert (used.state, used.says) == ("warning", "rpicam-vid (4711) has it open")
    pictures = FolderConfig(path=tmp_path)
    assert states(camera.nodes(patient(tmp_path, pictures))) == [("camera device", "skipped")]
    assert states(camera.stack(patient(tmp_path, pictures))) == [("camera stack", "skipped")]
    (found,) = camera.frame(patient(tmp_path, FolderConfig(path=tmp_path / "none")))
    assert found.state == "problem"


@pytest.fixture
def gpiozero() -> Iterator[Any]:
    """The package, without a factory chosen yet."""
    found = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install gpiozero")
    before = found.Device.pin_factory
    found.Device.pin_factory = None
    yield found
    found.Device.pin_factory = before


def test_pins(tmp_path: Path, gpiozero: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What drives the pins is named; where nothing can, it is a problem, if any pin is used at all."""
    driven = patient(tmp_path, SyntheticConfig(), outputs=(OutputConfig(pin="17", verdicts=("DEFECT",)),))
    assert states(pins.pins(patient(tmp_path, SyntheticConfig()))) == [("pins", "skipped")]
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "none-such")
    assert states(pins.pins(driven)) == [("pins", "problem")]
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    (found,) = pins.pins(driven)
    assert (found.state, found.says) == ("warning", "gpiozero with MockFactory")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/gpiochip0").touch()
    assert states(pins.pins(driven)) == [("pins", "warning"), ("pin access", "ok")]
    assert gpiozero.Device.pin_factory is not None


def test_pins_without_gpiozero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is missing is told with the key that needs it."""
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    driven = patient(tmp_path, SyntheticConfig(), outputs=(OutputConfig(pin="17", verdicts=("DEFECT",)),))
    with pytest.raises(ConfigError, match="apt install python3-gpiozero"):
        list(pins.pins(driven))
