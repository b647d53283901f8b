"""A pin as trigger: one for each part, however its contact bounces and however short its pulse is."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from ledger_samples import BOOT
from test_external_trigger import Stage

from edge.camera.base import BadFrame
from edge.capture import Capture
from edge.config import parse
from edge.errors import ConfigError
from edge.sections.cameras import PicameraConfig, SyntheticConfig
from edge.sections.triggers import GpioConfig
from edge.trigger import open_trigger
from edge.trigger.journal import FILE, Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install gpiozero")
from gpiozero.pins.mock import MockFactory, MockPin  # noqa: E402 - where it is installed

DEBOUNCE = 0.3
LATE = 5.0


class LgpioPin(MockPin):  # type: ignore[misc]
    """Has lgpio's debouncing, by its documentation: of a level that does not last for so long nothing is said."""

    def _call_when_changed(self) -> None:
        if not self.bounce:
            super()._call_when_changed()


class LatePin(LgpioPin):
    """Tells of its changes long after they were, as to a process that was stopped."""

    def _call_when_changed(self) -> None:
        self._last_change -= LATE
        super()._call_when_changed()


@contextmanager
def pins(kind: type[LgpioPin]) -> Iterator[Any]:
    """Give gpiozero pins of a kind; yields that of the light barrier."""
    factory = gpiozero.Device.pin_factory = MockFactory(pin_class=kind)
    yield factory.pin(17)
    factory.reset()
    gpiozero.Device.pin_factory = None


@pytest.fixture
def late_pin() -> Iterator[Any]:
    """Return a pin that a light barrier drove before anybody could look."""
    with pins(LatePin) as found:
        yield found


@pytest.fixture
def pin() -> Iterator[Any]:
    """Return the pin that a light barrier drives."""
    with pins(LgpioPin) as found:
        yield found


def drive(pin: Any, *levels: int) -> None:
    for level in levels:
        (pin.drive_high if level else pin.drive_low)()


@pytest.mark.parametrize(("edge", "on"), [("rising", 1), ("falling", 0)])
def test_a_pulse_of_a_part_is_one_trigger(pin: Any, tmp_path: Path, edge: Any, on: int) -> None:
    """At its first change, though it be shorter than a bounce; bounces at either of its ends are the same part."""
    off, config = 1 - on, GpioConfig(pin="17", edge=edge, debounce_ms=DEBOUNCE * 1e3)
    capture = Capture(Stage, on_demand=True)
    with open_trigger(config, SyntheticConfig(), capture, Journal(tmp_path / FILE, BOOT)) as trigger:
        drive(pin, off)
        list(trigger.give_up("before"))
        counts = []
        for levels in ([on, off], [on, off, on], [off, on, off], [on, off] * 5):
            threading.Event().wait(1.5 * DEBOUNCE)  # As long as a part and a gap take.
            drive(pin, *levels)
            counts.append(len(list(trigger.give_up("told"))))
    assert capture.stop(5)
    assert counts == [1, 1, 0, 1]


def test_a_part_that_is_heard_of_late_is_not_the_one_that_is_there_now(late_pin: Any, tmp_path: Path) -> None:
    """Its deadline counts from the pin's change: what is before the camera by now is another part."""
    stage = Stage()
    capture = Capture(lambda: stage, on_demand=True)
    config = GpioConfig(pin="17", deadline_s=LATE / 2)
    with open_trigger(config, PicameraConfig(), capture, Journal(tmp_path / FILE, BOOT)) as trigger:
        drive(late_pin, 1)
        shot = trigger.next(0)
    assert shot is not None
    assert isinstance(shot.frame, BadFrame)
    assert shot.frame.reason == "no frame within 2.5 s of the trigger"
    assert capture.stop(5)


def test_no_frame_of_a_part_is_taken_before_its_flash(pin: Any, tmp_path: Path) -> None:
    """The light does not wait until a card has the trigger's name: frames are exposed meanwhile."""
    light = gpiozero.Device.pin_factory.pin(27)
    lit = []

    class Slow(Journal):
        def note(self, name: str) -> None:
            until = time.monotonic() + 2.0
            while not light.state and time.monotonic() < until:
                threading.Event().wait(0.01)
            lit.append(bool(light.state))
            super().note(name)

    config, capture = GpioConfig(pin="17", strobe_pin="27"), Capture(Stage, on_demand=True)
    with open_trigger(config, SyntheticConfig(), capture, Slow(tmp_path / FILE, BOOT)):
        drive(pin, 0, 1)
    assert capture.stop(5)
    assert lit == [True]


def test_a_flash_that_no_frame_is_exposed_in_is_refused(tmp_path: Path) -> None:
    """A frame begins up to one frame's time after its trigger, when a light that is on for less is out again."""
    table: dict[str, Any] = {"bundle": "b", "camera": {"kind": "picamera2", "rate": 10.0}}
    light = {"kind": "gpio", "pin": "17", "strobe_pin": "27"}
    parse(table | {"trigger": light}, tmp_path / "device.toml")
    for dark in ({"kind": "gpio", "pin": "17", "strobe_ms": 20.0}, light | {"strobe_ms": 200.0}):
        parse(table | {"trigger": dark}, tmp_path / "device.toml")
    with pytest.raises(ConfigError, match=r"trigger\.strobe_ms 20: .*; at camera\.rate 10 two frames take 200 ms"):
        parse(table | {"trigger": light | {"strobe_ms": 20.0}}, tmp_path / "device.toml")
