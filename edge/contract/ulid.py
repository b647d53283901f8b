"""ULIDs: 128-bit ids that sort by time (the ULID specification: 48 bits of milliseconds, 80 random)."""

from __future__ import annotations

import os
import time

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26
PATTERN = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"


def new_ulid() -> str:
    """Return a fresh ULID: 26 characters of Crockford's base 32, upper case."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
