"""Which file system a path is on, and which disk that is on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge.record import Record
from edge.sysfs import text

if TYPE_CHECKING:
    from pathlib import Path

_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount(Record, frozen=True, kw_only=True):
    """One line of /proc/self/mountinfo (proc(5))."""

    device: str
    """major:minor."""
    point: str
    kind: str
    options: frozenset[str]
    """Of the mount and of the file system."""


def mount_of(root: Path, path: str) -> Mount | None:
    """Return what an absolute path is on; None where the kernel does not say."""
    lines = text(root / "proc/self/mountinfo").splitlines()
    found = [mount for line in lines if (mount := _parsed(line)) is not None and _holds(mount.point, path)]
    # The longest is the nearest; of several at one point the last hides the others.
    return max(enumerate(found), key=lambda each: (len(each[1].point), each[0]))[1] if found else None


def holder(root: Path, device: str) -> str:
    """Return major:minor of a block device that is named by its file, such as /dev/mmcblk0p3."""
    return text(root / "sys/class/block" / device.rpartition("/")[2] / "dev").strip()


def disk_of(root: Path, device: str) -> Path | None:
    """Return the folder in /sys of the whole disk that a partition, major:minor, is on; None if there is none."""
    if not re.fullmatch(r"[0-9]{1,5}:[0-9]{1,8}", device):
        return None
    try:
        folder = (root / "sys/dev/block" / device).resolve(strict=True)
        return folder.parent if (folder / "partition").exists() else folder
    except (OSError, RuntimeError):
        return None


def is_card(root: Path, device: str) -> bool:
    """Say whether a device, major:minor, is on an SD card or eMMC."""
    disk = disk_of(root, device)
    return disk is not None and disk.name.startswith("mmcblk")


def _parsed(line: str) -> Mount | None:
    before, _, after = line.partition(" - ")
    fields, more = before.split(" "), after.split(" ")
    if len(fields) < 6 or len(more) < 3:  # noqa: PLR2004 - as proc(5) counts them
        return None
    point = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4])
    options = frozenset([*fields[5].split(","), *more[2].split(",")])
    return Mount(device=fields[2], point=point, kind=more[0], options=options)


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point if point.endswith("/") else f"{point}/")
