"""Finds a USB Edge TPU, and resets it as pulling its plug would."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from edge.sysfs import first_line, matching

if TYPE_CHECKING:
    from pathlib import Path

IDS = frozenset({("1a6e", "089a"), ("18d1", "9302")})
"""Vendor and product in lsusb's words: as it is plugged in, and once libedgetpu has loaded its firmware."""
USBDEVFS_RESET = 0x5514
"""_IO('U', 20) of linux/usbdevice_fs.h. It needs no more than the device's own file, as libedgetpu does."""
BACK_SECONDS = 5.0
"""Ample for a device that the kernel has to enumerate anew."""


def find(root: Path) -> list[Path]:
    """Return the files of all USB Edge TPUs below `root`, /dev/bus/usb/BUS/DEVICE."""
    return [node for folder in folders(root) if (node := _node(root, folder)) is not None]


def folders(root: Path) -> list[Path]:
    """Return what the kernel says of each USB Edge TPU: its folders below `root`, named by the port."""
    return [folder for folder in matching(root, "sys/bus/usb/devices/*") if _ids(folder) in IDS]


def reset(root: Path) -> str:
    """Reset the one USB Edge TPU, and wait until it is back; return what stood in the way, or nothing.

    Of several none is reset: which one hangs is not known, and the others may be at work.
    """
    nodes = find(root)
    if len(nodes) != 1:
        return f"{len(nodes)} Edge TPUs are on USB: none is reset" if nodes else ""
    try:
        descriptor = os.open(nodes[0], os.O_WRONLY)
        try:
            fcntl.ioctl(descriptor, USBDEVFS_RESET, 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        return f"{nodes[0]} cannot be reset ({error.strerror})"
    deadline = time.monotonic() + BACK_SECONDS
    while not find(root):
        if time.monotonic() > deadline:
            return "the Edge TPU did not come back after its reset"
        time.sleep(0.1)
    return ""


def _node(root: Path, folder: Path) -> Path | None:
    bus, number = first_line(folder / "busnum"), first_line(folder / "devnum")
    if not (bus.isdecimal() and number.isdecimal()):
        return None
    return root / "dev" / "bus" / "usb" / f"{int(bus):03}" / f"{int(number):03}"


def _ids(folder: Path) -> tuple[str, str]:
    return first_line(folder / "idVendor"), first_line(folder / "idProduct")
