"""The supply and the heat of a Raspberry Pi."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import heat
from edge.doctor.finding import ok, problem, skipped, warning
from edge.sysfs import first_line, matching

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.doctor.finding import Finding, Patient
    from edge.heat import Heat

_BEFORE = 16
"""`vcgencmd get_throttled`: what was so since the start stands so many bits higher."""
_FULL_MA = 5000
_SUPPLY = "use the official power supply for this board, and a short thick cable"
_COOL = "give it a heat sink or a fan, or judge less often (trigger.rate)"


def power(patient: Patient) -> Iterator[Finding]:
    """Under-voltage now and before, heat now and before, and what the supply has promised a Raspberry Pi 5."""
    flags = heat.throttled(patient.root)
    yield from judge_power(heat.read(patient.root), flags, has_monitor=_has_monitor(patient.root))
    chosen = patient.root / "proc/device-tree/chosen/power"
    yield from judge_supply(_cell(chosen / "max_current"), _cell(chosen / "usb_max_current_enable"))


def judge_power(now: Heat, flags: int | None, *, has_monitor: bool) -> Iterator[Finding]:
    """Judge a look at the device, and get_throttled, None where there is none; a monitor tells of now alone."""
    before = (flags or 0) >> _BEFORE
    if now.weak:
        yield problem("power", "the supply is too weak now (under-voltage): cards and USB devices fail", _SUPPLY)
    elif before & heat.UNDER_VOLTAGE:
        yield warning("power", "the supply was too weak since the start (under-voltage)", _SUPPLY)
    elif flags is None and has_monitor:
        yield ok("power", "no under-voltage now")
    elif flags is None:
        yield skipped("power", "no firmware of a Raspberry Pi tells")
    else:
        yield ok("power", "no under-voltage since the start")
    degrees = "" if now.cpu is None else f"{now.cpu:.0f} °C"
    if now.slowed:
        yield warning("temperature", f"the processor is slowed for its heat {degrees}".rstrip(), _COOL)
    elif before & (heat.THROTTLED | heat.SOFT_LIMIT):
        yield warning("temperature", f"the processor was slowed for its heat since the start; {degrees} now", _COOL)
    elif degrees:
        yield ok("temperature", degrees)
    else:
        yield skipped("temperature", "no sensor")


def judge_supply(limit_ma: int | None, usb_enabled: int | None) -> Iterator[Finding]:
    """Judge what a Raspberry Pi 5 has agreed on with its supply; nothing elsewhere."""
    if limit_ma is None:
        return
    if limit_ma < _FULL_MA and not usb_enabled:
        says = f"the supply promises {limit_ma} mA: all USB ports together give 600 mA, an Edge TPU alone may take 900"
        yield warning("usb power", says, "use the 27 W supply, or a powered hub for the Edge TPU")
    else:
        yield ok("usb power", f"the supply promises {limit_ma} mA, USB ports give 1600 mA together")


def _has_monitor(root: Path) -> bool:
    return any(first_line(path / "name") == "rpi_volt" for path in matching(root, "sys/class/hwmon/hwmon*"))


def _cell(path: Path) -> int | None:
    """Read a device tree's number: four bytes, the highest first."""
    try:
        with path.open("rb") as file:
            cell = file.read(4)
    except OSError:
        return None
    return int.from_bytes(cell, "big") if len(cell) == 4 else None  # noqa: PLR2004
