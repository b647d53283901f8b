"""Remembers beside the ledger how far verdicts may have been numbered: no number is used twice, whatever the file says.

The record is overwritten in its place, which a full disk allows too; 32 bytes are written whole or not at all.
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

from edge.errors import LedgerError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

BLOCK = 10_000
"""Claimed at a time, so that the record is written once in so many verdicts."""
_RECORD = re.compile(rb"(\d{1,18})( memory)?\s*")
_BYTES = 32


class Numbers:
    """Claims numbers in blocks, before they are used."""

    def __init__(self, path: Path) -> None:
        """Read what was claimed before."""
        self.claimed = 0
        """No number above this was ever used, as far as is known."""
        self.in_memory = False
        """Whether verdicts may have been numbered that were in memory alone."""
        self.trouble = ""
        """Why what was claimed before is not known; empty if it is."""
        self._path = path
        self._complaint = ""
        """What was said of the disk already."""
        self._read()

    def cover(self, last: int) -> None:
        """Have numbers beyond `last` claimed. What cannot be written is tried again with the next verdicts."""
        if last >= self.claimed - BLOCK // 2:
            self._write(last + BLOCK, in_memory=self.in_memory)

    def note_memory(self, *, in_memory: bool) -> None:
        """Note that verdicts are in memory alone from now on, or that all are in the file again."""
        if in_memory is not self.in_memory:
            self._write(self.claimed, in_memory=in_memory)

    def _write(self, claimed: int, *, in_memory: bool) -> None:
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(handle, f"{claimed}{' memory' if in_memory else ''}".encode().ljust(_BYTES), 0)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            if str(error) != self._complaint:
                log.warning("%s cannot be written (%s)", self._path, error)
            self._complaint = str(error)
            return
        self._complaint = ""
        self.claimed, self.in_memory = claimed, in_memory

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                text = file.read(_BYTES)
        except FileNotFoundError:
            return
        except OSError as error:
            self.trouble = f"{self._path} cannot be read ({error.strerror})"
            return
        if (found := _RECORD.fullmatch(text)) is None:
            log.warning("%s is damaged", self._path)
            return
        self.claimed, self.in_memory = int(found[1]), bool(found[2])

    def beyond(self) -> int:
        """Return a number above which none was used; raises LedgerError if that is not known."""
        if self.trouble:
            raise LedgerError(f"{self.trouble}: verdicts cannot be numbered; check the disk")
        return self.claimed
