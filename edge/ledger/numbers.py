"""Remembers in a file of its own how far verdicts may have been numbered: a damaged ledger must not use one again."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

BLOCK = 10_000
"""Claimed at a time, so that the file is written once in so many verdicts."""


class Numbers:
    """Claims numbers in blocks, before they are used."""

    def __init__(self, path: Path) -> None:
        """Read what was claimed before."""
        self._path = path
        self.claimed = self._read()
        """No number above this was ever used; 0 if that is not known."""
        self._next = self.claimed

    def cover(self, last: int) -> None:
        """Have numbers beyond `last` claimed. Without room on the disk it stays as it is, and is tried again later."""
        if last < self._next - BLOCK // 2:
            return
        self._next = last + BLOCK
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            with fresh.open("w", encoding="ascii") as file:
                file.write(f"{self._next}\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(self._path)
        except OSError as error:
            log.warning("%s cannot be written (%s)", self._path, error)
            return
        self.claimed = self._next

    def _read(self) -> int:
        try:
            text = self._path.read_text("ascii").strip()
        except FileNotFoundError:
            return 0
        except (OSError, UnicodeDecodeError) as error:
            log.warning("%s cannot be read (%s)", self._path, error)
            return 0
        return int(text) if text.isdecimal() and len(text) < 19 else 0  # noqa: PLR2004 - what SQLite can hold
