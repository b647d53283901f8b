"""Keeps the daemon from growing, and ends one that has grown too large, in order and with its reason.

Else the kernel ends it without a word.

Raspberry Pi OS switches the memory controller off (cgroup_disable=memory on its kernel's command line), so that a
unit's MemoryMax limits nothing there.
"""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from edge.errors import MemoryLimitError
from edge.health import rss_mib

if TYPE_CHECKING:
    from edge.accelerator.accelerated import Accelerated

CHECK_SECONDS = 10.0
_SHARE = 0.5
"""Of the device's memory, unless the configuration says how much. A daemon with a usual model takes 70 to 150 MiB, the
accelerator's process some 60 more, and a Zero 2 W, the smallest device, has 416 MiB of its 512 to give. The other half
is for the system, its page cache and the camera's buffers, which are the kernel's."""
_M_ARENA_MAX = -8
"""malloc.h."""


class Ceiling:
    """Looks at what the daemon and its accelerator's process have resident, now and then."""

    def __init__(self, limit_mib: int | None, accelerated: Accelerated | None = None) -> None:
        """Take the limit in MiB; None: by the device's memory."""
        self.limit = float(limit_mib) if limit_mib is not None else _SHARE * _device_mib()
        """MiB."""
        self._accelerated = accelerated
        self._looked = time.monotonic()

    def check(self) -> None:
        """Raise MemoryLimitError if it is too much; looks every CHECK_SECONDS only."""
        if (now := time.monotonic()) - self._looked < CHECK_SECONDS:
            return
        self._looked = now
        used = rss_mib() + (self._accelerated.rss_mib() if self._accelerated is not None else 0.0)
        if used > self.limit:
            problem = f"the daemon has grown to {used:.0f} MiB, and {self.limit:.0f} are its limit"
            raise MemoryLimitError(f"{problem}; it starts anew; if that comes often, raise memory_limit_mib")


def use_one_heap() -> None:
    """Have all threads take memory from one place, which has to be said before there are any.

    glibc gives each a heap of its own, and what is at the end of those is never given back: see `give_back`.
    """
    with suppress(AttributeError):
        _libc().mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give the system what was freed: it is kept in pieces into which a later picture may not fit.

    Else the daemon grows by a picture now and then, for hours. Both are glibc's alone, mallopt(3) and malloc_trim(3).
    """
    with suppress(AttributeError):
        _libc().malloc_trim(0)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _device_mib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
