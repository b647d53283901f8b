"""Remembers beside the ledger how far verdicts may have been numbered: no number is used twice, whatever the file says.

The record, `<number>[ memory] <crc32>`, is overwritten in its place, which a full disk allows too; 32 bytes are written
whole or not at all. Without its checksum none is believed: a number too large would use up all that there are.
"""

from __future__ import annotations

import logging
import os
import re
import zlib
from stat import S_ISREG
from typing import TYPE_CHECKING

from edge.errors import LedgerError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.ledger.claim import Claim

log = logging.getLogger(__name__)

BLOCK = 1_000
"""Claimed at a time: the record is written once in half as many verdicts, a repair's gap may name so many too many."""
GROUP = 500
"""Verdicts that are numbered at once, and written in one commit, at most."""
_RECORD = re.compile(rb"((\d{1,15})( memory)?) ([0-9a-f]{8}) *")
_BYTES = 32


class Numbers:
    """Claims numbers in blocks, before they are used."""

    def __init__(self, path: Path, claim: Claim | None = None) -> None:
        """Read what was claimed before, in a folder that is this process's own as long as it can be claimed."""
        self.claimed = 0
        """No number above this was ever used, as far as is known."""
        self.in_memory = False
        """Whether verdicts may have been numbered that were in memory alone."""
        self.known = False
        """Whether `claimed` is what the record says; else there is none, or it cannot be read."""
        self.trouble = ""
        """Why what was claimed before is not known; empty if it is."""
        self._path = path
        self._folder = claim
        self.unsecured = ""
        """Why a number may be given twice after a restart: the record cannot be written; empty if it can."""
        self._read()

    def cover(self, last: int) -> None:
        """Have numbers beyond `last` claimed. What cannot be written is tried again with the next verdicts."""
        if last >= self.claimed - BLOCK // 2:
            self._write(last + BLOCK, in_memory=self.in_memory)

    def note_memory(self, *, in_memory: bool) -> None:
        """Note that verdicts are in memory alone from now on, or that all are in the file again.

        What could not be written before is tried again.
        """
        if in_memory is not self.in_memory or self.unsecured:
            self._write(self.claimed, in_memory=in_memory)

    def renew(self) -> None:
        """Write the record once more: somebody may have removed it."""
        self._write(self.claimed, in_memory=self.in_memory)

    def _write(self, claimed: int, *, in_memory: bool) -> None:
        try:
            if self._folder is not None:
                self._folder.renew()  # Another daemon's record is not to be overwritten.
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600)
            try:
                # Never less than it says: a disk that was mounted late, or a copy that came back, may know of more.
                if (found := _parsed(os.pread(handle, _BYTES, 0))) and found[0] > claimed:
                    claimed, in_memory = found[0], in_memory or found[1]
                os.pwrite(handle, _record(claimed, in_memory=in_memory), 0)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            problem = f"{self._path} cannot be written ({error.strerror or error}); check the disk"
            unsecured = f"{problem}: after a restart numbers may be used again"
            if unsecured != self.unsecured and not self.trouble:
                log.warning("%s", unsecured)
            self.unsecured = unsecured
            return
        self.unsecured = self.trouble = ""
        self.known = True
        self.claimed, self.in_memory = claimed, in_memory

    def _read(self) -> None:
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)  # A pipe would be waited for.
            try:
                plain = S_ISREG(os.fstat(handle).st_mode)
                text = os.read(handle, _BYTES) if plain else b""
            finally:
                os.close(handle)
        except FileNotFoundError:
            return
        except OSError as error:
            self.trouble = f"{self._path} cannot be read ({error.strerror}); check the disk, or move it away"
            log.warning("%s", self.trouble)
            return
        if not plain:
            self.trouble = f"{self._path} is no plain file; move it away"
            log.warning("%s", self.trouble)
        elif found := _parsed(text):
            self.known, (self.claimed, self.in_memory) = True, found
        else:
            log.warning("%s is damaged: numbers go on behind the last verdict that can be read", self._path)

    def exceed(self, last: int) -> bool:
        """Say whether verdicts behind `last` must have been numbered, though a file has none.

        What is claimed goes BLOCK beyond a group, and a kill keeps one group from the file at most.
        So an older copy that is put back while nobody has it open, and misses no more than that, is not noticed:
        their numbers are used again, with other ids.
        """
        return self.in_memory or self.claimed > last + GROUP + BLOCK

    def beyond(self) -> int:
        """Return a number above which none was used; raises LedgerError if that is not known."""
        if self.trouble:
            raise LedgerError(f"{self.trouble}: verdicts cannot be numbered")
        return self.claimed


def _parsed(text: bytes) -> tuple[int, bool] | None:
    """Return what a record says is claimed, and whether verdicts may have been in memory; None if it is damaged."""
    found = _RECORD.fullmatch(text)
    if found is None or zlib.crc32(found[1]) != int(found[4], 16):
        return None
    return int(found[2]), bool(found[3])


def _record(claimed: int, *, in_memory: bool) -> bytes:
    text = f"{claimed}{' memory' if in_memory else ''}".encode()
    return (b"%b %08x" % (text, zlib.crc32(text))).ljust(_BYTES)
