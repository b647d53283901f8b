"""The machine below all else: Python, the architecture, the system, its memory and its clock."""

from __future__ import annotations

import os
import platform
import re
import sys
from typing import TYPE_CHECKING

from edge import clock
from edge.doctor.finding import ok, problem, skipped, warning
from edge.doctor.mounts import holder, is_card, mount_of
from edge.sysfs import first_line, matching, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.doctor.finding import Finding, Patient

_PYTHONS = ((3, 11), (3, 13))
"""The oldest and the newest that the lock files are made for."""
_MACHINES = ("aarch64", "x86_64")
_OLDEST_DEBIAN = 12
_SMALL_PAGE = 4096
_LEAST_MIB = 128
"""Free memory: the daemon takes some 70 MiB, and as much again for a moment while it probes a new model."""
_SYNC = "timedatectl set-ntp true, and let the device reach a time server (UDP port 123)"


def python(_: Patient) -> Iterator[Finding]:
    """Whether this Python is one that the locked packages are for."""
    yield judge_python(sys.version_info[:2], platform.python_version(), sys.prefix)


def judge_python(version: tuple[int, int], full: str, prefix: str) -> Finding:
    """Judge a Python by its version."""
    oldest, newest = _PYTHONS
    says = f"Python {full} in {prefix}"
    if oldest <= version <= newest:
        return ok("python", says)
    remedy = f"use Python {'.'.join(map(str, oldest))} to {'.'.join(map(str, newest))}"
    return (problem if version < oldest else warning)("python", f"{says} is not one that is tested", remedy)


def system(patient: Patient) -> Iterator[Finding]:
    """Whether this is a system that packages exist for."""
    yield judge_machine(platform.machine(), is_64_bit=sys.maxsize > 1 << 32)
    yield judge_release(text(patient.root / "etc/os-release"))
    yield ok("kernel", f"{platform.release()}, pages of {os.sysconf('SC_PAGE_SIZE') >> 10} KiB")
    if board := first_line(patient.root / "proc/device-tree/model").rstrip("\0"):
        yield ok("board", board)


def judge_machine(machine: str, *, is_64_bit: bool) -> Finding:
    """Judge what the kernel and this Python are made for: a 64-bit kernel often runs a 32-bit system."""
    if not is_64_bit:
        says = f"a 32-bit Python on {machine}"
        return problem("architecture", says, "install the 64-bit system: no interpreter is made for 32 bits")
    if machine in _MACHINES:
        return ok("architecture", f"{machine}, 64-bit")
    return problem("architecture", machine, f"use one of {', '.join(_MACHINES)}: the interpreter is made for these")


def judge_release(release: str) -> Finding:
    """Judge /etc/os-release."""
    fields = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', release, re.MULTILINE))
    name = fields.get("PRETTY_NAME", "an unknown system")
    if {"debian", "raspbian"} & {fields.get("ID"), *fields.get("ID_LIKE", "").split()}:
        number = fields.get("VERSION_ID", "").partition(".")[0]
        if fields.get("ID") not in {"debian", "raspbian"} or not number.isascii() or not number.isdecimal():
            return ok("system", name)
        if int(number[:9]) >= _OLDEST_DEBIAN:
            return ok("system", name)
        return problem("system", f"{name} is too old", f"install Debian or Raspberry Pi OS {_OLDEST_DEBIAN} or newer")
    return warning("system", f"{name} is not one that is tested", "prefer Raspberry Pi OS (64-bit) or Debian")


def memory(patient: Patient) -> Iterator[Finding]:
    """Whether there is enough, what is swapped where, and whether the unit's memory limit can hold."""
    found = re.findall(r"^(Mem\w+|SwapTotal): +([0-9]{1,15}) kB", text(patient.root / "proc/meminfo"), re.MULTILINE)
    mib = {name: int(count) >> 10 for name, count in found}
    if "MemTotal" in mib and "MemAvailable" in mib:
        yield judge_memory(mib["MemTotal"], mib["MemAvailable"])
    else:
        yield skipped("memory", "the kernel does not say")
    yield from _swaps(patient.root)
    yield judge_cgroup(text(patient.root / "sys/fs/cgroup/cgroup.controllers"), text(patient.root / "proc/cgroups"))


def judge_memory(total: int, available: int) -> Finding:
    """Judge memory, in MiB."""
    says = f"{available} of {total} MiB are free"
    if available >= _LEAST_MIB:
        return ok("memory", says)
    remedy = f"stop other programs: less than {_LEAST_MIB} MiB is little for a model and its probe"
    return warning("memory", says, remedy)


def _swaps(root: Path) -> Iterator[Finding]:
    for line in text(root / "proc/swaps").splitlines()[1:]:
        name, kind = [*line.split(), "", ""][:2]
        on_card = is_card(root, holder(root, name)) if kind == "partition" else _is_on_card(root, name)
        if on_card:
            remedy = "remove it (dphys-swapfile or rpi-swap), or use zram: the card wears out, and the device stutters"
            yield warning("swap", f"{name} swaps to the SD card", remedy)


def _is_on_card(root: Path, name: str) -> bool:
    mount = mount_of(root, name)
    return mount is not None and is_card(root, mount.device)


def judge_cgroup(controllers: str, old: str) -> Finding:
    """Judge whether the kernel can limit memory: Raspberry Pi's has it switched off."""
    if "memory" in controllers.split() or re.search(r"^memory\s+\S+\s+\S+\s+1$", old, re.MULTILINE):
        return ok("memory limit", "the kernel can hold the service to its limit")
    says = "the kernel counts no memory: the service's MemoryMax does nothing"
    return warning("memory limit", says, "add cgroup_enable=memory to /boot/firmware/cmdline.txt, and restart")


def time(patient: Patient) -> Iterator[Finding]:
    """Whether the clock is right, and outlives a power cut."""
    clocks = matching(patient.root, "sys/class/rtc/rtc[0-9]*")
    yield from judge_clock(synchronized=clock.is_synchronized(), has_rtc=bool(clocks))


def judge_clock(*, synchronized: bool, has_rtc: bool) -> Iterator[Finding]:
    """Judge the clock."""
    now = f"{clock.now():%Y-%m-%d %H:%M:%S} UTC"
    if synchronized:
        yield ok("clock", f"{now}, synchronized")
    else:
        yield warning("clock", f"{now}, not synchronized: events say so, and certificates may seem invalid", _SYNC)
    if has_rtc:
        yield ok("rtc", "a clock that outlives a power cut")
    elif synchronized:
        yield ok("rtc", "none: after a power cut the time is right once a time server answers")
    else:
        yield warning("rtc", "none, and no time server: each power cut sets the clock back", _SYNC)


def bytes_per_page() -> int:
    """Return the kernel's page size."""
    return os.sysconf("SC_PAGE_SIZE")


def pages_hint() -> str:
    """Return what to try where a library does not load on a Raspberry Pi 5's large pages; nothing on small ones."""
    hint = ", or set kernel=kernel8.img in /boot/firmware/config.txt: it may not be made for pages of"
    return f"{hint} {bytes_per_page() >> 10} KiB" if bytes_per_page() > _SMALL_PAGE else ""
