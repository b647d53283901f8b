"""Wall-clock time for people; every timeout and latency uses the monotonic clock instead."""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

_LIBC = ctypes.CDLL(None)
_TIMEX_BYTES = 512
"""Larger than struct timex on every Linux ABI (208 on 64-bit)."""
_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronized."""
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd's own mark, for services that are not allowed to call adjtimex."""


def now() -> datetime:
    """Return the present wall-clock time in UTC."""
    return datetime.now(UTC)


def wall_time(monotonic: float) -> datetime:
    """Return the wall-clock time of a time.monotonic() instant."""
    return now() - timedelta(seconds=time.monotonic() - monotonic)


def is_synchronized() -> bool:
    """Say whether the kernel counts its clock as synchronized (adjtimex(2), asking only)."""
    state = int(_LIBC.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    return state < _TIME_ERROR if state >= 0 else _TIMESYNCD.exists()
