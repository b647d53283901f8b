"""The state folder, the disk below it, and what the daemon keeps there."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from edge.doctor import units
from edge.doctor.account import may, of_daemon
from edge.doctor.finding import ok, problem, skipped, warning
from edge.doctor.mounts import disk_of, mount_of
from edge.state import OF_THE_SERVICE, default_state_dir
from edge.sysfs import first_line, integer, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.doctor.account import Account
    from edge.doctor.finding import Finding, Patient
    from edge.doctor.mounts import Mount
    from edge.doctor.units import Unit

_LEAST_MIB = 16
"""Below it a full disk is near, whatever the ledger does."""
_SLOW_SECONDS = 0.5
"""For 4 KiB to be on the disk; a sound card takes a hundredth."""
_IN_MEMORY = {"tmpfs", "ramfs", "overlay"}
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"}
_UNSAFE = {"vfat", "exfat", "msdos", "ntfs", "ntfs3", "fuseblk"}
"""Without a journal, or without one that a power cut respects."""
_WORN, _EXCEEDED = 0x09, 0x0B
"""JESD84-B51, DEVICE_LIFE_TIME_EST: tenths that are used, rounded up; 0x0B: more than all."""
_MOVE = "set state_dir to a folder on an ext4 disk"
_CHANGE = "change the card soon: copy the state folder first"


def state(patient: Patient) -> Iterator[Finding]:
    """Whether the daemon's user, in the service's sandbox, may write in the state folder."""
    folder = _folder(patient)
    account = of_daemon(patient.root)
    installed = _installed(patient)
    if patient.configured.state_dir and installed and not any(unit.may_write(folder) for unit in installed):
        yield judge_sandbox(installed[0].values.get("Id", ""), folder)
    elif folder.is_dir():
        yield judge_folder(account, folder, folder.stat())
    elif patient.configured.state_dir and not any(unit.makes(folder) for unit in installed):
        yield judge_place(account, folder)
    else:
        yield ok("state folder", f"{folder} is not there yet: the first start makes it")


def judge_sandbox(unit: str, folder: Path) -> Finding:
    """Say that the service may not write in the state folder, whoever owns it."""
    remedy = f"leave state_dir out; or systemctl edit {unit}, and write ReadWritePaths={folder} below [Service]"
    return problem("state folder", f"{folder} is read-only for {unit}, whatever its mode says", remedy)


def judge_place(account: Account, folder: Path) -> Finding:
    """Judge whether the daemon's user can make a state folder that is not there."""
    above = next(each for each in folder.absolute().parents if each.exists())
    if folder.exists() or not above.is_dir():
        says = f"{folder} cannot be made: {folder if folder.exists() else above} is a file"
        return problem("state folder", says, "set another state_dir")
    if not may(account, above.stat(), 3):
        says = f"{folder} is not there, and user {account.name} may not make it in {above}"
        return problem("state folder", says, f"mkdir -p {folder}; chown {account.name} {folder}")
    return ok("state folder", f"{folder} is not there yet: the first start makes it")


def judge_folder(account: Account, folder: Path, entry: os.stat_result) -> Finding:
    """Judge the state folder by its owner and mode."""
    if may(account, entry, 7):
        return ok("state folder", f"{folder}, user {account.name} may write there")
    says = f"{folder} is not user {account.name}'s to write in (owner {entry.st_uid}, mode {entry.st_mode & 0o777:o})"
    return problem("state folder", says, f"chown -R {account.name} {folder}, or set another state_dir")


def disk(patient: Patient) -> Iterator[Finding]:
    """Whether the ledger's budget fits, and whether the file system keeps what it is told."""
    folder = _existing(_folder(patient))
    config = patient.config
    room = os.statvfs(folder)
    budget = ((config.ledger.events_mib + config.ledger.pictures_mib) << 20) if config else 0
    yield judge_room(room.f_bavail * room.f_frsize, budget, _used(_folder(patient)), room.f_favail or not room.f_files)
    mount = mount_of(patient.root, str(folder.resolve()))
    if mount is None:
        yield skipped("file system", "the kernel does not say what the state folder is on")
        return
    yield judge_mount(mount)
    yield from _wear(patient.root, mount)


def judge_room(free: int, budget: int, used: int, inodes: object) -> Finding:
    """Judge the free bytes of a disk, of which the ledger may take the budget less what it has used already."""
    mib, need = free >> 20, max(0, budget - used) >> 20
    says = f"{mib} MiB are free"
    if mib < _LEAST_MIB or not inodes:
        return problem("disk", says if inodes else "no file can be made: all inodes are used", "make room")
    if mib < need:
        remedy = "lower ledger.events_mib and ledger.pictures_mib, or make room: verdicts are shed early else"
        return warning("disk", f"{says}, the ledger may yet take {need}", remedy)
    return ok("disk", f"{says}, the ledger may yet take {need}")


def judge_mount(mount: Mount) -> Finding:
    """Judge a file system for a database that must outlive a power cut."""
    says = f"{mount.point} ({mount.kind})"
    if "ro" in mount.options:
        remedy = f"mount -o remount,rw {mount.point}; if it became so by itself, the disk fails (dmesg): change it"
        return problem("file system", f"{says} is read-only", remedy)
    if mount.kind in _REMOTE:
        return problem("file system", f"{says} is on another host: SQLite cannot lock there", _MOVE)
    if mount.kind in _IN_MEMORY:
        return warning("file system", f"{says} may lie in memory: verdicts would be lost with the power", _MOVE)
    if mount.kind in _UNSAFE:
        return warning("file system", f"{says} does not survive power cuts", _MOVE)
    if unsafe := sorted({"nobarrier", "barrier=0", "data=writeback"} & mount.options):
        says = f"{says} is mounted with {', '.join(unsafe)}: a power cut may damage it"
        return warning("file system", says, "take that out of /etc/fstab")
    return ok("file system", says)


def _wear(root: Path, mount: Mount) -> Iterator[Finding]:
    """Say what the disk tells of its age, and the file system of what it met."""
    folder = disk_of(root, mount.device)
    if folder is None:
        return
    yield from judge_wear(
        folder.name, first_line(folder / "device/life_time"), integer(folder / "device/pre_eol_info", 16)
    )
    partition = _name_of(root, mount.device)
    if errors := integer(root / "sys/fs/ext4" / partition / "errors_count"):
        says = f"ext4 on {partition} has met {errors} errors"
        yield warning("file system", says, f"check it at the next start (fsck.mode=force); {_CHANGE}")


def _name_of(root: Path, device: str) -> str:
    found = re.search(r"^DEVNAME=([\w-]+)$", text(root / "sys/dev/block" / device / "uevent"), re.MULTILINE)
    return found[1] if found else "-"


def judge_wear(name: str, life_time: str, end_of_life: int | None) -> Iterator[Finding]:
    """Judge an eMMC's own words; most SD cards say nothing."""
    used = [int(part, 16) for part in re.findall(r"0x[0-9a-fA-F]{2}\b", life_time)]
    if not used or not max(used):
        if name.startswith("mmcblk"):
            yield skipped("wear", f"{name} does not tell")
        return
    share = f"{name} has used {min(10 * max(used), 100)}% of its life"
    if max(used) >= _EXCEEDED or (end_of_life or 0) >= 3:  # noqa: PLR2004 - JESD84-B51, PRE_EOL_INFO: urgent
        yield problem("wear", share, _CHANGE)
    elif max(used) >= _WORN or end_of_life == 2:  # noqa: PLR2004 - the same: 80% of its reserve
        yield warning("wear", share, _CHANGE)
    else:
        yield ok("wear", share)


def sync(patient: Patient) -> Iterator[Finding]:
    """How long it takes until 4 KiB are on the disk, in a file without a name."""
    folder = _existing(_folder(patient))
    began = time.monotonic()
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600)
        os.write(descriptor, bytes(4096))
        os.fsync(descriptor)
    except OSError as error:
        yield skipped("sync", f"cannot be tried in {folder} ({error.strerror})")
        return
    yield judge_sync(time.monotonic() - began)


def judge_sync(seconds: float) -> Finding:
    """Judge the time that a small write needs."""
    says = f"4 KiB are on the disk after {seconds * 1e3:.0f} ms"
    return ok("sync", says) if seconds < _SLOW_SECONDS else warning("sync", f"{says}: a sick card is slow", _CHANGE)


def ledger(patient: Patient) -> Iterator[Finding]:
    """Whether the ledger opens; `edge-inspect ledger verify` reads all of it."""
    from edge.check import ledger_state

    yield ok("ledger", ledger_state(_folder(patient)))


def baseline(patient: Patient) -> Iterator[Finding]:
    """Whether the baseline is whole and was taken with this camera."""
    from edge.check import baseline_state

    yield ok("baseline", baseline_state(patient.configured, _folder(patient)))


def daemon_runs(patient: Patient) -> bool:
    """Say whether a daemon has the state folder: it has the camera and the accelerator too.

    Asked, not tried: a daemon that starts just now must not find its lock taken (proc(5), /proc/locks).
    """
    try:
        entry = _folder(patient).stat()
    except OSError:
        return False
    mine = f"{os.major(entry.st_dev):02x}:{os.minor(entry.st_dev):02x}:{entry.st_ino}"
    lines = (line.split() for line in text(patient.root / "proc/locks").splitlines())
    return any("FLOCK" in line and "WRITE" in line and mine in line for line in lines)


def _folder(patient: Patient) -> Path:
    """Return the state folder that the daemon uses or would use; nothing is made."""
    config = patient.configured
    if config.state_dir:
        return config.state_dir
    if patient.path and (own := OF_THE_SERVICE / patient.path.stem).is_dir():  # One service of several cameras.
        return own
    is_the_services = OF_THE_SERVICE.is_dir() or any(unit.makes(OF_THE_SERVICE) for unit in _installed(patient))
    return OF_THE_SERVICE if is_the_services else default_state_dir()


def _installed(patient: Patient) -> list[Unit]:
    return [unit for unit in units.show(patient.root) if unit.is_installed]


def _existing(folder: Path) -> Path:
    """Return the nearest folder above that is there."""
    folder = folder.absolute()
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def _used(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    found = 0
    for above, _, names in os.walk(folder):
        for name in names:
            try:
                found += os.lstat(os.path.join(above, name)).st_blocks * 512  # noqa: PTH118 - there may be 100,000
            except OSError:
                continue  # The daemon removed it meanwhile.
    return found
