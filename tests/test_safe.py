"""`edge-inspect safe`: what the service does with the pins after an end of the daemon."""

from __future__ import annotations

import argparse
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from device import assert_one_clear_line, inspect_command, write_config

from edge import safe
from edge.errors import ConfigError, InspectError

if TYPE_CHECKING:
    from pathlib import Path

OUTPUTS = [
    {"pin": "22", "verdicts": ["DEFECT"], "safe": True},
    {"pin": "23", "verdicts": ["PASS"]},
    {"pin": "24", "verdicts": ["PASS"], "active_high": False},
]


def configured(folder: Path, **more: Any) -> Path:
    """Write a configuration whose bundle is not there: pins are made safe without one."""
    return write_config(folder / "device.toml", bundle=folder / "none", camera={"kind": "synthetic"}, mqtt={}, **more)


def make_safe(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command where importing gpiozero fails."""
    (folder / "gpiozero.py").write_text("raise ImportError('no pins today')\n")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = inspect_command("safe", "--config", config)
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_each_pin_is_left_at_its_safe_level(tmp_path: Path) -> None:
    """Whatever level a killed daemon left: on, off, and off where that is the high level."""
    gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install gpiozero")
    from gpiozero.pins.mock import MockFactory

    factory = gpiozero.Device.pin_factory = MockFactory()
    try:
        assert safe.run(argparse.Namespace(config=configured(tmp_path, outputs=OUTPUTS))) == 0
        assert [bool(factory.pin(number).state) for number in (22, 23, 24)] == [True, False, True]
        assert {factory.pin(number).function for number in (22, 23, 24)} == {"output"}
    finally:
        factory.reset()
        gpiozero.Device.pin_factory = None


def test_a_pin_that_cannot_be_used_keeps_no_other_from_its_level(tmp_path: Path) -> None:
    """The others are made safe all the same; the error names the one that was not."""
    gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install gpiozero")
    from gpiozero.pins.mock import MockFactory

    factory = gpiozero.Device.pin_factory = MockFactory()
    try:
        outputs = [OUTPUTS[1] | {"pin": "GPIO999"}, OUTPUTS[0]]
        with pytest.raises(ConfigError, match="pin 'GPIO999' cannot be used"):
            safe.run(argparse.Namespace(config=configured(tmp_path, outputs=outputs)))
        assert factory.pin(22).state
    finally:
        factory.reset()
        gpiozero.Device.pin_factory = None


def test_a_pin_that_another_program_has_keeps_no_other_from_its_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver's own error, which is none of gpiozero's, ends at its pin as well."""
    gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install gpiozero")
    from gpiozero.pins.mock import MockFactory

    class OneBusy(MockFactory):  # type: ignore[misc]
        def pin(self, name: str) -> Any:
            if name == "23":
                raise RuntimeError("GPIO busy")
            return super().pin(name)

    monkeypatch.setattr(gpiozero.Device, "pin_factory", OneBusy())
    with pytest.raises(InspectError, match=r"pin '23' cannot be used \(GPIO busy\); is it free"):
        safe.run(argparse.Namespace(config=configured(tmp_path, outputs=[OUTPUTS[1], OUTPUTS[0]])))
    assert gpiozero.Device.pin_factory.pin(22).state
    gpiozero.Device.pin_factory.reset()


def test_a_device_without_outputs_needs_no_gpiozero(tmp_path: Path) -> None:
    """Each end of the service runs this: without pins it ends well, in silence, and loads nothing for them."""
    done = make_safe(configured(tmp_path), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_pins_that_cannot_be_driven_are_one_line(tmp_path: Path) -> None:
    """The journal names what is missing and the remedy."""
    done = make_safe(configured(tmp_path, outputs=OUTPUTS), tmp_path)
    assert_one_clear_line(done, 3, "no pins today", "apt install python3-gpiozero")
