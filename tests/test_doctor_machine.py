"""What doctor says of the machine, its supply, its disk and its service: both sides of each finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_heat import THROTTLED, write

from edge.config import Config
from edge.doctor import disk, machine, power, runtime, service, units
from edge.doctor.finding import Finding, Patient
from edge.doctor.pins import judge_factory
from edge.heat import Heat
from edge.sections.cameras import SyntheticConfig

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def states(found: Finding | Iterable[Finding]) -> list[tuple[str, str]]:
    """Return check and state of each, having seen that what is wrong has a remedy."""
    each = [found] if isinstance(found, Finding) else list(found)
    assert all(bool(finding.remedy) == (finding.state in {"warning", "problem"}) for finding in each)
    return [(finding.check, finding.state) for finding in each]


@pytest.mark.parametrize(
    ("version", "state"), [((3, 10), "problem"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 14), "warning")]
)
def test_python(version: tuple[int, int], state: str) -> None:
    """Older Pythons cannot run it, newer ones are not tested."""
    assert states(machine.judge_python(version, "3.x", "/venv")) == [("python", state)]


@pytest.mark.parametrize(
    ("kind", "is_64_bit", "state"),
    [("aarch64", True, "ok"), ("x86_64", True, "ok"), ("aarch64", False, "problem"), ("riscv64", True, "problem")],
)
def test_architecture(kind: str, is_64_bit: bool, state: str) -> None:  # noqa: FBT001
    """A 32-bit Python is a problem on a 64-bit kernel too, as older systems on a Raspberry Pi have it."""
    assert states(machine.judge_machine(kind, is_64_bit=is_64_bit)) == [("architecture", state)]


@pytest.mark.parametrize(
    ("release", "state"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n', "ok"),
        ("ID=raspbian\nID_LIKE=debian\nVERSION_ID=13\n", "ok"),
        ("ID=debian\nVERSION_ID=11\n", "problem"),
        ("ID=debian\n", "ok"),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', "ok"),
        ("ID=fedora\n", "warning"),
        ("", "warning"),
    ],
)
def test_system(release: str, state: str) -> None:
    """Debian and Raspberry Pi OS from 12 on are what packages are tested on."""
    assert states(machine.judge_release(release)) == [("system", state)]


def test_memory_and_swap(tmp_path: Path) -> None:
    """Little memory, swap on the card and a kernel that counts no memory are warnings; zram is none."""
    write(tmp_path, "proc/meminfo", "MemTotal:         425000 kB\nMemFree: 1 kB\nMemAvailable:      90000 kB\n")
    write(
        tmp_path, "proc/swaps", "Filename Type Size Used Priority\n/var/swap file 1 1 -2\n/dev/zram0 partition 1 1 5\n"
    )
    write(tmp_path, "proc/self/mountinfo", "22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n")
    card = tmp_path / "sys/devices/mmcblk0/mmcblk0p2"
    write(tmp_path, "sys/devices/mmcblk0/mmcblk0p2/partition", "2")
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block/179:2").symlink_to(card)
    found = list(machine.memory(Patient(root=tmp_path)))
    assert states(found) == [("memory", "warning"), ("swap", "warning"), ("memory limit", "warning")]
    assert "87 of 415 MiB" in found[0].says
    assert "/var/swap" in found[1].says
    write(tmp_path, "proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\n")
    write(tmp_path, "proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 1 1 5\n")
    write(tmp_path, "sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
    assert states(machine.memory(Patient(root=tmp_path))) == [("memory", "ok"), ("memory limit", "ok")]


def test_cgroups_of_older_systems() -> None:
    """The last column of /proc/cgroups says whether memory is counted."""
    assert machine.judge_cgroup("", "cpu\t1\t2\t1\nmemory\t3\t40\t1\n").state == "ok"
    assert machine.judge_cgroup("", "memory\t3\t40\t0\n").state == "warning"


@pytest.mark.parametrize(
    ("synchronized", "has_rtc", "expected"),
    [
        (True, True, ["ok", "ok"]),
        (True, False, ["ok", "ok"]),
        (False, True, ["warning", "ok"]),
        (False, False, ["warning", "warning"]),
    ],
)
def test_clock(synchronized: bool, has_rtc: bool, expected: list[str]) -> None:  # noqa: FBT001
    """A clock that nobody sets is a warning; a missing battery one only where nobody sets it either."""
    found = machine.judge_clock(synchronized=synchronized, has_rtc=has_rtc)
    assert [state for _, state in states(found)] == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (None, ["skipped", "ok"]),
        ("0", ["ok", "ok"]),
        ("1", ["problem", "ok"]),
        ("10000", ["warning", "ok"]),
        ("50005", ["problem", "warning"]),
        ("40000", ["ok", "warning"]),
    ],
)
def test_power_and_heat(tmp_path: Path, flags: str | None, expected: list[str]) -> None:
    """Under-voltage now is a problem, before a warning, and so is heat, now or before."""
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "61000")
    if flags:
        write(tmp_path, THROTTLED, flags)
    assert [state for _, state in states(power.power(Patient(root=tmp_path)))] == expected


def test_no_sensor_is_no_finding() -> None:
    """Where nothing is known it is said to be unknown."""
    assert states(power.judge_power(Heat(), None, has_monitor=False)) == [
        ("power", "skipped"),
        ("temperature", "skipped"),
    ]


def test_a_monitor_without_a_memory(tmp_path: Path) -> None:
    """Where the kernel has the voltage monitor alone, it tells of now."""
    write(tmp_path, "sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    assert states(power.power(Patient(root=tmp_path)))[0] == ("power", "ok")
    write(tmp_path, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    assert states(power.power(Patient(root=tmp_path)))[0] == ("power", "problem")


@pytest.mark.parametrize(("milliamperes", "enabled", "state"), [(3000, 0, "warning"), (5000, 0, "ok"), (3000, 1, "ok")])
def test_what_a_supply_promises(tmp_path: Path, milliamperes: int, enabled: int, state: str) -> None:
    """A Raspberry Pi 5 gives its USB ports little on a small supply, unless it was told otherwise."""
    for name, value in (("max_current", milliamperes), ("usb_max_current_enable", enabled)):
        write(tmp_path, f"proc/device-tree/chosen/power/{name}", "")
        (tmp_path / f"proc/device-tree/chosen/power/{name}").write_bytes(value.to_bytes(4, "big"))
    assert ("usb power", state) in states(power.power(Patient(root=tmp_path)))


@pytest.mark.parametrize(
    ("name", "wanted", "there", "state"),
    [
        ("litert", "auto", [], "problem"),
        ("litert", "auto", ["tflite-runtime"], "skipped"),
        ("tflite-runtime", "tflite-runtime", ["litert"], "problem"),
        ("tflite-runtime", "auto", ["litert"], "skipped"),
    ],
)
def test_an_engine_that_is_missing(name: str, wanted: str, there: list[str], state: str) -> None:
    """It is a problem where it is asked for, or where there is no other."""
    assert states(runtime.judge_absence(name, wanted, there)) == [(name, state)]


def test_numpy_and_engine_belong_together() -> None:
    """tflite-runtime with numpy 2 is warned of, LiteRT takes both."""
    assert states(runtime.judge_pairing("tflite-runtime", "2.1.0")) == [("tflite-runtime", "warning")]
    assert list(runtime.judge_pairing("tflite-runtime", "1.26.4")) == []
    assert list(runtime.judge_pairing("litert", "2.1.0")) == []


def test_pin_factories() -> None:
    """Lgpio knows every Raspberry Pi; another factory works here and there."""
    assert states(judge_factory("LGPIOFactory")) == [("pins", "ok")]
    assert states(judge_factory("NativeFactory")) == [("pins", "warning")]


FILES = (
    *("proc/meminfo", "proc/swaps", "proc/self/mountinfo", "proc/cgroups", "proc/device-tree/model", "etc/os-release"),
    *("sys/class/thermal/thermal_zone0/temp", THROTTLED, "proc/device-tree/chosen/power/max_current", "proc/locks"),
    *("sys/bus/usb/devices/1-1/speed", "sys/bus/usb/devices/1-1/bMaxPower", "var/lib/dpkg/status"),
    *("etc/systemd/journald.conf", "sys/class/apex/apex_0/temp", "sys/fs/cgroup/cgroup.controllers"),
)


@given(st.binary(max_size=300), st.sampled_from([b"", b"1\n", b"MemTotal: ", b"22 1 179:2 / / rw - ext4 x ", b"0x"]))
def test_garbage_in_the_kernels_files_is_no_reason_to_stop(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, start: bytes
) -> None:
    """Whatever the files hold, each check ends with findings, of which the bad ones have a remedy."""
    from edge.doctor import edgetpu

    root = tmp_path_factory.mktemp("root")
    (root / "run/systemd/system").mkdir(parents=True)
    for name, value in (("idVendor", "18d1"), ("idProduct", "9302"), ("busnum", "1"), ("devnum", "2")):
        write(root, f"sys/bus/usb/devices/1-1/{name}", value)
    for name in FILES:
        write(root, name, "")
        (root / name).write_bytes(start + content)
    patient = Patient(root=root, config=Config(bundle=root, camera=SyntheticConfig(), state_dir=root))
    for check in (
        *(machine.system, machine.memory, power.power, disk.disk, disk.state, service.journal, edgetpu.pci),
        *(edgetpu.usb, edgetpu.library, edgetpu.probe, machine.time),
    ):
        assert states(check(patient))
    assert not disk.daemon_runs(patient)
    list(map(service.judge_unit, (unit.values for unit in units.parse((start + content).decode(errors="replace")))))


@given(st.text(max_size=300))
def test_garbage_in_texts_is_no_reason_to_stop(text: str) -> None:
    """Whatever dpkg, os-release, systemctl or journald say, reading it ends in a finding."""
    from edge.doctor import edgetpu

    assert machine.judge_release(text).says
    assert states(service.judge_journal(service.journald_settings([text]), has_folder=False))
    assert isinstance(edgetpu.debian_version(text), str)
    for each in (text, f"Id={text}\nLoadState=loaded"):
        for unit in units.parse(each):
            assert states(service.judge_unit(unit.values))
    for finding in (*disk.judge_wear("mmcblk0", text, None), *edgetpu.judge_usb("1-1", text, text)):
        assert finding.says
