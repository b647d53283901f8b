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
from collections import deque
from typing import TYPE_CHECKING

from edge.contract import storage
from edge.record import Record

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

FILE = "triggers.open"
SLOTS = 4096
"""Triggers without a verdict at once: more than come by command within the longest deadline. More than these wait."""
_SLOT_BYTES = 128
_HEAD = b"EdTr 2".ljust(_SLOT_BYTES, b"\0")
_BYTES = len(_HEAD) + SLOTS * _SLOT_BYTES
_FIRED = re.compile(rb"([A-Za-z0-9_.:-]{1,31}) ([A-Za-z0-9_.:-]{1,95})")
_NOBODY = bytes(_SLOT_BYTES)
_FULL = f"more than {SLOTS} triggers have no verdict yet: those beyond would get none after a crash; trigger less often"


class Fired(Record, frozen=True):
    """A trigger by its name, and the start of the daemon in which it was fired."""

    boot_id: str
    name: str


class Journal:
    """The names of triggers from when they are fired until their verdicts are on the disk. Any thread may use it.

    What earlier lives left stays in the file until that is settled too: this life may be killed as soon as they were.
    """

    def __init__(self, path: Path, boot_id: str) -> None:
        """Take the file, with what earlier lives left in it; where the disk does not give it, memory has to do."""
        self._boot_id = boot_id
        self._slots = _read(path)
        self.left = tuple(self._slots)
        """Fired in earlier lives, which may have ended before their verdicts; in the order of the file."""
        self._unwritable = ""
        self._unnoted: dict[Fired, None] = {}
        """Triggers that wait for a slot, in order."""
        self._lock = threading.Lock()
        taken = frozenset(self._slots.values())
        self._free = deque(slot for slot in range(SLOTS) if slot not in taken)
        try:
            self._map = _mapped(path)
        except OSError as error:
            self._unwritable = (
                f"{path} cannot be written ({error.strerror}): triggers before a crash would get no verdict"
            )
            self._map = mmap.mmap(-1, _BYTES)
        self._map[: len(_HEAD)] = _HEAD
        for slot in self._free:
            if self._map[_place(slot)] != _NOBODY:  # What is not written costs no page of the disk.
                self._write(slot, _NOBODY)
        for fired, slot in self._slots.items():
            self._write(slot, _packed(fired))

    @property
    def trouble(self) -> str:
        """Why a killed process would leave nothing, or not all; empty: it would. Any thread may ask."""
        with self._lock:
            return self._unwritable or (_FULL if self._unnoted else "")

    def note(self, name: str) -> None:
        """Note a trigger that was fired; where there is no room, once another has its verdict."""
        with self._lock:
            self._unnoted[Fired(self._boot_id, name)] = None
            self._fill()

    def settle(self, name: str, boot_id: str = "") -> None:
        """Note that its verdict is on the disk; `boot_id`: of an earlier life that fired it."""
        fired = Fired(boot_id or self._boot_id, name)
        with self._lock:
            self._unnoted.pop(fired, None)
            if (slot := self._slots.pop(fired, None)) is not None:
                self._write(slot, _NOBODY)
                self._free.append(slot)
                self._fill()

    def _fill(self) -> None:
        while self._unnoted and self._free:
            fired = next(iter(self._unnoted))
            slot = self._slots[fired] = self._free.popleft()
            self._write(slot, _packed(fired))
            del self._unnoted[fired]

    def _write(self, slot: int, content: bytes) -> None:
        self._map[_place(slot)] = content


def _place(slot: int) -> slice:
    at = len(_HEAD) + slot * _SLOT_BYTES
    return slice(at, at + _SLOT_BYTES)


def _packed(fired: Fired) -> bytes:
    return f"{fired.boot_id} {fired.name}".encode().ljust(_SLOT_BYTES, b"\0")


def _mapped(path: Path) -> mmap.mmap:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        os.posix_fallocate(handle, 0, _BYTES)  # A page that finds no room later would end the process.
        return mmap.mmap(handle, _BYTES)
    except ValueError as error:  # A pipe, or a device.
        raise OSError(None, str(error)) from error
    finally:
        os.close(handle)


def _read(path: Path) -> dict[Fired, int]:
    """Return what is in the file, with its slots; of one that is no such file, or damaged, what can be read."""
    try:
        data = storage.read_plain(path, _BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("%s cannot be read (%s): triggers before the last end may have got no verdict", path, error)
        return {}
    if not data.startswith(_HEAD):
        return {}
    slots = (data[at : at + _SLOT_BYTES].rstrip(b"\0") for at in range(len(_HEAD), len(data), _SLOT_BYTES))
    found = ((slot, _FIRED.fullmatch(content)) for slot, content in enumerate(slots))
    return {Fired(words[1].decode(), words[2].decode()): slot for slot, words in found if words is not None}
