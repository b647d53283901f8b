"""How hot the device is, and how much slower it should judge so that it does not have to stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge.record import Record
from edge.sysfs import first_line, integer, matching

if TYPE_CHECKING:
    from collections.abc import Iterable

_CPU_LIMITS = (80.0, 85.0)
"""Degrees from which a Raspberry Pi slows its cores, and all of itself (its documentation, on frequency management)."""
_CHIP_LIMITS = (85.0, 90.0, 95.0)
"""Degrees from which a PCIe Edge TPU halves its clock, where its driver does not say (apex_driver.c's defaults)."""
_RELEASE = 5.0
"""Degrees below a limit until it counts as left: without it the rate would swing with every reading."""
_COLDEST = -40.0
"""A PCIe Edge TPU that has shut itself down reads as less."""
_LONGEST_REST = 5.0
"""Seconds. A process that was stopped for minutes was not at work all that time."""
UNDER_VOLTAGE, THROTTLED, SOFT_LIMIT = 1 << 0, 1 << 2, 1 << 3
"""`vcgencmd get_throttled`: what is so now. What was so once since the start stands 16 bits higher."""


class Heat(Record, frozen=True, kw_only=True):
    """One look at the device; None where it has no such sensor."""

    cpu: float | None = None
    """The processor's hottest zone, in degrees Celsius."""
    chip: float | None = None
    """The hottest PCIe Edge TPU; those on USB have no sensor that can be read."""
    chip_limits: tuple[float, ...] = _CHIP_LIMITS
    slowed: bool = False
    """Whether a Raspberry Pi's firmware slows it for its heat."""
    weak: bool = False
    """Whether a Raspberry Pi's power supply is too weak."""

    @property
    def trouble(self) -> str:
        """What somebody should do something about, or nothing."""
        found = []
        if self.weak:
            found.append("the power supply is too weak (under-voltage)")
        if self.slowed:
            found.append("the processor is slowed for its heat")
        return "; ".join(found)


def read(root: Path = Path("/")) -> Heat:
    """Look at the device whose /sys is below `root`."""
    zone = _hottest(matching(root, "sys/class/thermal/thermal_zone*"))
    chip = _hottest(matching(root, "sys/class/apex/apex_*"))
    flags = throttled(root) or 0
    return Heat(
        cpu=zone and zone[0],
        chip=chip and chip[0],
        chip_limits=_limits(chip[1]) if chip else _CHIP_LIMITS,
        slowed=bool(flags & (THROTTLED | SOFT_LIMIT)),
        weak=bool(flags & UNDER_VOLTAGE) or _has_voltage_alarm(root),
    )


def throttled(root: Path) -> int | None:
    """Return what `vcgencmd get_throttled` says where the Raspberry Pi's kernel has it as a file; None elsewhere."""
    found = (integer(path, 16) for path in matching(root, "sys/devices/platform/soc*/soc*firmware/get_throttled"))
    return next((value for value in found if value is not None), None)


class Brake:
    """What share of the time may be spent judging: halved at each limit that is reached, until it is left again."""

    def __init__(self) -> None:
        self._cpu = self._chip = 0

    def share(self, heat: Heat) -> float:
        """Return the share, 1 for all of it, after another look at the device."""
        self._cpu = _level(heat.cpu, _CPU_LIMITS, self._cpu)
        self._chip = _level(heat.chip, heat.chip_limits, self._chip)
        return float(0.5 ** max(self._cpu, self._chip))


def rest(busy_s: float, share: float) -> float:
    """Return how long to rest, in seconds, after having judged for `busy_s`."""
    return busy_s * (1 / share - 1)


class Cooling:
    """The rest after each frame. Times are seconds on the monotonic clock."""

    def __init__(self) -> None:
        self._until = 0.0

    def judged(self, began: float, now: float, share: float) -> None:
        """Note that a frame was judged in between, and rest so that it was no more than this share of the time."""
        self._until = max(self._until, now) + min(rest(now - began, share), _LONGEST_REST)

    def left(self, now: float) -> float:
        """Return how long to rest still; 0: no longer."""
        return max(0.0, self._until - now)


def _level(celsius: float | None, limits: tuple[float, ...], before: int) -> int:
    """Return how many limits count: those that are reached, and those that were and are not left yet."""
    if celsius is None:
        return 0
    reached = sum(celsius >= limit for limit in limits)
    held = sum(celsius > limit - _RELEASE for limit in limits)
    return max(reached, min(before, held))


def _hottest(folders: Iterable[Path]) -> tuple[float, Path] | None:
    """Return the highest `temp` of some devices, in degrees, and whose it is; None if none has one."""
    found = ((celsius, folder) for folder in folders if (celsius := _celsius(folder / "temp")) is not None)
    return max(found, default=None)


def _celsius(path: Path) -> float | None:
    """Read thousandths of a degree, as thermal zones and the apex driver give them."""
    value = integer(path)
    return value / 1e3 if value is not None and value / 1e3 > _COLDEST else None


def _limits(chip: Path) -> tuple[float, ...]:
    found = [_celsius(chip / f"trip_point{number}_temp") for number in range(len(_CHIP_LIMITS))]
    known = tuple(sorted(limit for limit in found if limit))
    return known or _CHIP_LIMITS


def _has_voltage_alarm(root: Path) -> bool:
    """Ask raspberrypi-hwmon, which is in every kernel for a Raspberry Pi."""
    monitors = (path for path in matching(root, "sys/class/hwmon/hwmon*") if first_line(path / "name") == "rpi_volt")
    return any(integer(path / "in0_lcrit_alarm") == 1 for path in monitors)
