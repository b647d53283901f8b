"""A share that is mounted when somebody goes in, as x-systemd.automount does, is watched from the first look on."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READY = 0x9360
"""AUTOFS_IOC_READY of include/uapi/linux/auto_fs.h."""
WATCH = """
import sys
from pathlib import Path
from edge.camera.arrivals import Arrivals
there = Arrivals(Path(sys.argv[1]))
there.look()
"""


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that other process groups find mounted as soon as they go in."""
    asked, told = os.pipe()
    library = ctypes.CDLL(None, use_errno=True)
    options = f"fd={told},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct".encode()
    if os.geteuid() or library.mount(b"test", bytes(tmp_path), b"autofs", 0, options):
        pytest.skip("autofs cannot be mounted here: it takes root")
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)

    def serve() -> None:
        while packet := os.read(asked, 1024):
            subprocess.run(["mount", "-t", "tmpfs", "share", str(tmp_path)], check=True)
            fcntl.ioctl(root, READY, struct.unpack_from("iiI", packet)[2])

    threading.Thread(target=serve, daemon=True).start()
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=False)
    os.close(root)
    subprocess.run(["umount", str(tmp_path)], check=True)
    os.close(told)


def test_what_is_mounted_by_the_first_look_is_no_other_disk(share: Path) -> None:
    """Its own name is on another disk until somebody goes in: that is not taken for a share that went away."""
    watch = [sys.executable, "-c", WATCH, str(share)]
    done = subprocess.run(watch, start_new_session=True, check=False, timeout=60, capture_output=True, text=True)
    assert done.stderr == ""
