"""Which triggers have no verdict on the disk yet: what a killed process leaves to the next one.

A file that is mapped into memory: what is written there outlives the process without a word to the disk, so that it
costs nothing. With the device's power it is lost, and so is who fired.
"""

from __future__ import annotations

import logging
import mmap
import os
import re
import threading
from typing import TYPE_CHECKING

from edge.contract import storage
from edge.record import Record

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

FILE = "triggers.open"
SLOTS = 256
"""Triggers without a verdict at once; of more than these none is noted."""
_SLOT_BYTES = 96
_HEAD_BYTES = 96
_MAGIC = b"EdTr 1 "
_BYTES = _HEAD_BYTES + SLOTS * _SLOT_BYTES
_NAME = re.compile(rb"[A-Za-z0-9_.:-]{1,%d}" % (_SLOT_BYTES - 1))


class Left(Record, frozen=True):
    """Triggers that were fired in an earlier life of the daemon, which may have ended before their verdicts."""

    boot_id: str = ""
    names: tuple[str, ...] = ()


class Journal:
    """The names of triggers from when they are fired until their verdicts are on the disk. Any thread may use it."""

    def __init__(self, path: Path, boot_id: str) -> None:
        """Take the file, with what an earlier life left in it; where the disk does not give it, memory has to do."""
        self.left = _read(path)
        """In the order of the file."""
        self.trouble = ""
        """Why a killed process would leave nothing; empty: it would."""
        self._lock = threading.Lock()
        self._slots: dict[str, int] = {}
        self._free = list(range(SLOTS))
        try:
            self._map = _mapped(path)
        except OSError as error:
            self.trouble = f"{path} cannot be written ({error.strerror}): triggers before a crash would get no verdict"
            self._map = mmap.mmap(-1, _BYTES)
        self._map[:] = (_MAGIC + boot_id.encode()).ljust(_HEAD_BYTES, b"\0") + bytes(SLOTS * _SLOT_BYTES)

    def note(self, name: str) -> None:
        """Note a trigger that was fired."""
        with self._lock:
            if self._free:
                slot = self._slots[name] = self._free.pop(0)
                at = _HEAD_BYTES + slot * _SLOT_BYTES
                self._map[at : at + _SLOT_BYTES] = name.encode().ljust(_SLOT_BYTES, b"\0")

    def settle(self, name: str) -> None:
        """Note that its verdict is on the disk."""
        with self._lock:
            if (slot := self._slots.pop(name, None)) is not None:
                at = _HEAD_BYTES + slot * _SLOT_BYTES
                self._map[at : at + _SLOT_BYTES] = bytes(_SLOT_BYTES)
                self._free.append(slot)


def _mapped(path: Path) -> mmap.mmap:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        os.posix_fallocate(handle, 0, _BYTES)  # A page that finds no room later would end the process.
        return mmap.mmap(handle, _BYTES)
    except ValueError as error:  # A pipe, or a device.
        raise OSError(None, str(error)) from error
    finally:
        os.close(handle)


def _read(path: Path) -> Left:
    """Return what is in the file; of one that is no such file, or damaged, what can be read."""
    try:
        data = storage.read_plain(path, _BYTES)
    except FileNotFoundError:
        return Left()
    except OSError as error:
        log.warning("%s cannot be read (%s): triggers before the last end may have got no verdict", path, error)
        return Left()
    head, slots = data[:_HEAD_BYTES], data[_HEAD_BYTES:]
    boot_id = head.removeprefix(_MAGIC).rstrip(b"\0")
    if not head.startswith(_MAGIC) or not _NAME.fullmatch(boot_id):
        return Left()
    found = (slots[at : at + _SLOT_BYTES].rstrip(b"\0") for at in range(0, len(slots), _SLOT_BYTES))
    return Left(boot_id.decode(), tuple(name.decode() for name in found if _NAME.fullmatch(name)))
