"""How many bytes the ledger's file may take: its budget, or what there is on a disk that is full."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RESERVE_BYTES = 1 << 20
"""Of the disk, held by a file that gives way when it is full: removing verdicts needs room for the log first."""
_FREED_BYTES = 256 << 10
"""Freed at a time on a full disk."""


class Room:
    """Follows how much there is."""

    def __init__(self, reserve: Path, budget: int) -> None:
        """Name the file that is the reserve, and the budget in bytes."""
        self.bytes = budget
        """How many the file may take now."""
        self._reserve = reserve
        self._budget = budget

    def release(self) -> None:
        """Let go of the reserve: the disk is full."""
        self._reserve.unlink(missing_ok=True)

    def run_out(self, used: int) -> None:
        """Note that there is no more than what is used: what is new has to take the place of what goes."""
        # A small file has the reserve's room.
        self.bytes = max(used - _FREED_BYTES, RESERVE_BYTES // 2)

    def look(self) -> None:
        """See whether the disk has room again; raises OSError where it does not even tell."""
        disk = os.statvfs(self._reserve.parent)
        if disk.f_bavail * disk.f_frsize < 2 * RESERVE_BYTES:
            return
        self.bytes = self._budget
        with suppress(OSError):  # Others were quicker, or it cannot be seen just now: the next time, then.
            if not self._reserve.exists():
                with self._reserve.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
