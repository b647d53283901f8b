"""The pins: gpiozero, what drives them, and who may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.doctor.account import judge_nodes, of_daemon
from edge.doctor.finding import ok, problem, skipped, warning
from edge.gpio import import_gpiozero, line_of
from edge.sections.triggers import GpioConfig
from edge.sysfs import matching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.finding import Finding, Patient

_GOOD = "LGPIOFactory"
_INSTALL = "apt install python3-lgpio: the others do not know a Raspberry Pi 5, or need a daemon of their own"


def pins(patient: Patient) -> Iterator[Finding]:
    """Whether gpiozero loads where pins are configured, with which factory, and whether the daemon's user may."""
    config = patient.configured
    if not (config.outputs or isinstance(config.trigger, GpioConfig)):
        yield skipped("pins", "no trigger and no output uses any")
        return
    device = import_gpiozero("outputs" if config.outputs else "trigger.kind gpio").Device
    try:
        device.ensure_pin_factory()
    except Exception as error:  # noqa: BLE001 - each factory has errors of its own
        yield problem("pins", f"gpiozero finds nothing to drive them ({line_of(error)})", _INSTALL)
        return
    yield judge_factory(type(device.pin_factory).__name__)
    yield from judge_nodes("pin access", of_daemon(patient.root), matching(patient.root, "dev/gpiochip*"))


def judge_factory(name: str) -> Finding:
    """Judge what drives the pins."""
    return ok("pins", f"gpiozero with {name}") if name == _GOOD else warning("pins", f"gpiozero with {name}", _INSTALL)
