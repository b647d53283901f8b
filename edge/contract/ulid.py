"""ULIDs: 128-bit ids that sort by time (the ULID specification: 48 bits of milliseconds, 80 random)."""

from __future__ import annotations

import os
import time

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26
_LATEST = (1 << 48) - 1
"""Milliseconds, in the year 10889; no clock may spill into the bits beyond."""
PATTERN = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"


def new_ulid() -> str:
    """Return a fresh ULID: 26 characters of Crockford's base 32, upper case. A clock before 1970 counts as 1970."""
    milliseconds = min(max(0, time.time_ns() // 1_000_000), _LATEST)
    value = milliseconds << 80 | int.from_bytes(os.urandom(10))
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
