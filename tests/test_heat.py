"""How hot a device is, from files as a Raspberry Pi and the Coral's driver have them, and how it slows down in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.heat import Brake, Cooling, Heat, read, rest

if TYPE_CHECKING:
    from pathlib import Path

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


def put(root: Path, **files: str) -> None:
    """Write files; `__` in a name stands for a slash."""
    for name, text in files.items():
        write(root, name.replace("__", "/"), text)


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_machine_without_sensors_has_no_temperature(tmp_path: Path) -> None:
    """Where nothing is known nothing is claimed, and nothing slows down."""
    assert read(tmp_path) == Heat()
    assert read(tmp_path).trouble == ""
    assert Brake().share(read(tmp_path)) == 1


def test_a_raspberry_pi_with_a_coral_on_pcie(tmp_path: Path) -> None:
    """The hottest zone and chip count, in degrees, with that chip's own limits."""
    put(
        tmp_path, sys__class__thermal__thermal_zone0__temp="61234\n", sys__class__thermal__thermal_zone1__temp="48000\n"
    )
    put(tmp_path, sys__class__apex__apex_0__temp="55050\n", sys__class__apex__apex_1__temp="71000\n")
    for number, limit in enumerate((70000, 75000, 80000)):
        write(tmp_path, f"sys/class/apex/apex_1/trip_point{number}_temp", f"{limit}\n")
    found = read(tmp_path)
    assert (found.cpu, found.chip, found.chip_limits) == (61.234, 71.0, (70.0, 75.0, 80.0))
    assert Brake().share(found) == 0.5


def test_a_chip_that_shut_itself_down_has_no_temperature(tmp_path: Path) -> None:
    """The apex driver then reads far below zero: that is no temperature."""
    put(tmp_path, sys__class__apex__apex_0__temp="-89700\n")
    assert read(tmp_path).chip is None


@pytest.mark.parametrize("platform", [THROTTLED, THROTTLED.replace("soc/soc", "soc@107c000000/soc@107c000000")])
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("0", []),
        ("50000", []),  # Both were so once, and are no longer.
        ("1", ["under-voltage"]),
        ("50005", ["under-voltage", "slowed for its heat"]),
        ("80008", ["slowed for its heat"]),
    ],
)
def test_what_the_firmware_throttles_for_is_said(tmp_path: Path, platform: str, flags: str, words: list[str]) -> None:
    """The bits of get_throttled that hold now become words, those of the past do not."""
    write(tmp_path, platform, f"{flags}\n")
    put(tmp_path, sys__class__thermal__thermal_zone0__temp="81900")
    trouble = read(tmp_path).trouble
    assert all(word in trouble for word in words)
    assert bool(trouble) == bool(words)


def test_the_voltage_alarm_of_every_kernel_is_heard(tmp_path: Path) -> None:
    """The monitor is found by its name, whichever number it has."""
    put(tmp_path, sys__class__hwmon__hwmon0__name="cpu_thermal\n", sys__class__hwmon__hwmon0__in0_lcrit_alarm="1\n")
    assert not read(tmp_path).weak
    put(tmp_path, sys__class__hwmon__hwmon3__name="rpi_volt\n", sys__class__hwmon__hwmon3__in0_lcrit_alarm="1\n")
    assert read(tmp_path).trouble == "the power supply is too weak (under-voltage)"


def test_the_brake_lets_go_only_when_it_is_cooler() -> None:
    """The share halves at each limit, and comes back five degrees below it: no swinging with every reading."""
    brake = Brake()
    seen = [brake.share(Heat(chip=chip)) for chip in (80, 84.9, 85, 84, 81, 80, 79, 91, 86, 85, 84, 80, 96, 70)]
    assert seen == [1, 1, 0.5, 0.5, 0.5, 1, 1, 0.25, 0.25, 0.5, 0.5, 1, 0.125, 1]


def test_the_hotter_part_decides() -> None:
    """Processor and chip are braked for each by its own limits, and the lower share holds."""
    brake = Brake()
    assert brake.share(Heat(cpu=81, chip=60)) == 0.5
    assert brake.share(Heat(cpu=81, chip=92)) == 0.25
    assert brake.share(Heat(cpu=60, chip=92)) == 0.25
    assert brake.share(Heat(cpu=60)) == 1


@given(st.lists(st.floats(-20, 120), min_size=1))
def test_the_share_follows_the_temperature(readings: list[float]) -> None:
    """After any history the share is one of four, full well below the limits and least above them."""
    brake = Brake()
    for celsius in readings:
        share = brake.share(Heat(chip=celsius))
        assert share in {1, 0.5, 0.25, 0.125}
        if celsius <= 80:
            assert share == 1
        if celsius >= 95:
            assert share == 0.125
        if celsius >= 85:
            assert share <= 0.5


def test_the_rest_makes_up_the_share() -> None:
    """Judging for 100 ms and resting so long is that share of the time."""
    assert rest(0.1, 1) == 0
    for share in (0.5, 0.25, 0.125):
        assert 0.1 / (0.1 + rest(0.1, share)) == pytest.approx(share)


def test_a_rest_follows_each_frame() -> None:
    """At an eighth the device rests seven times as long as it judged, and never so long as to look dead."""
    cooling = Cooling()
    assert cooling.left(10.0) == 0
    cooling.judged(10.0, 10.1, 0.125)
    assert cooling.left(10.1) == pytest.approx(0.7)
    cooling.judged(10.2, 10.3, 0.5)
    assert cooling.left(10.3) == pytest.approx(0.6)
    assert cooling.left(11.0) == 0
    cooling.judged(11.0, 300.0, 0.125)
    assert cooling.left(300.0) == 5


def test_a_cool_device_does_not_rest() -> None:
    """All of the time is for judging."""
    cooling = Cooling()
    cooling.judged(0.0, 100.0, 1.0)
    assert cooling.left(100.0) == 0


@given(st.binary(max_size=400))
def test_whatever_a_file_holds_is_no_reason_to_stop(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Bytes that are no number are no temperature, no flag, no alarm."""
    root = tmp_path_factory.mktemp("root")
    for name in ("sys/class/thermal/thermal_zone0/temp", "sys/class/apex/apex_0/temp", THROTTLED):
        write(root, name, "")
        (root / name).write_bytes(content)
    found = read(root)
    assert found.cpu == found.chip
    assert Brake().share(found) > 0
