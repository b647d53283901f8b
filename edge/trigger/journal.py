"""Which triggers have no verdict on the disk yet: what a killed process leaves to the next one.

A file that is written, but never synced: what the kernel took outlives the process, and costs the disk next to nothing.
With the device's power it is lost, and so is who fired. It is written by a thread of its own: a disk that hangs holds
up whoever writes, and one that was mapped into memory would end the process where it fails.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from typing import TYPE_CHECKING

from edge.contract import storage
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

FILE = "triggers.open"
SLOTS = 256
"""Triggers without a verdict at once; of more than these none is noted."""
_SLOT_BYTES = 128
_HEAD = b"EdTr 2".ljust(_SLOT_BYTES, b"\0")
_BYTES = len(_HEAD) + SLOTS * _SLOT_BYTES
_FIRED = re.compile(rb"([A-Za-z0-9_.:-]{1,31}) ([A-Za-z0-9_.:-]{1,95})")
_NOBODY = bytes(_SLOT_BYTES)
_NOTE_SECONDS = 0.05
"""For a trigger to be in the file, which takes a fraction of a millisecond; then the line goes on without it."""
_AGAIN_SECONDS = 1.0
"""Before a disk that did not take it is asked again."""
_CLOSE_SECONDS = 0.1


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
        self._path = path
        self._slots = _read(path)
        self.left = tuple(self._slots)
        """Fired in earlier lives, which may have ended before their verdicts; in the order of the file."""
        self.trouble = ""
        """Why a killed process would leave nothing; empty: it would."""
        self._changed = threading.Condition()
        taken = frozenset(self._slots.values())
        self._free = [slot for slot in range(SLOTS) if slot not in taken]
        self._unwritten: dict[int, bytes] = {}
        """What slots are to hold and do not yet."""
        self._is_over = False
        self._thread: threading.Thread | None = None
        try:
            self._handle = _opened(path)
            slots = {slot: _packed(fired) for fired, slot in self._slots.items()}
            _write(self._handle, dict.fromkeys(self._free, _NOBODY) | slots)
        except OSError as error:
            self._fail(error)
        else:
            self._thread = threading.Thread(target=self._run, name="trigger-journal", daemon=True)
            self._thread.start()

    def note(self, name: str) -> None:
        """Note a trigger that was fired; it is in the file afterwards, unless the disk takes long."""
        with self._changed:
            if not self._free:
                return
            fired = Fired(self._boot_id, name)
            slot = self._slots[fired] = self._free.pop(0)
            self._put(slot, _packed(fired))
            if not self.trouble and not self._changed.wait_for(lambda: slot not in self._unwritten, _NOTE_SECONDS):
                self._fail(TimeoutError(None, "the disk hangs"))

    def settle(self, name: str, boot_id: str = "") -> None:
        """Note that its verdict is on the disk; `boot_id`: of an earlier life that fired it."""
        with self._changed:
            if (slot := self._slots.pop(Fired(boot_id or self._boot_id, name), None)) is not None:
                self._put(slot, _NOBODY)
                self._free.append(slot)

    def close(self) -> None:
        """Write what is to be written, and let go of the file; one whose disk hangs goes with the process."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _put(self, slot: int, content: bytes) -> None:
        if self._thread is not None:
            self._unwritten[slot] = content
            self._changed.notify_all()

    def _fail(self, error: OSError) -> None:
        self.trouble = (
            f"{self._path} cannot be written ({error.strerror}): triggers before a crash would get no verdict"
        )

    def _run(self) -> None:
        while batch := self._next():
            try:
                _write(self._handle, batch)
            except OSError as error:
                self._wait_after(error)
            else:
                self._forget(batch)
        os.close(self._handle)

    def _wait_after(self, error: OSError) -> None:
        with self._changed:
            self._fail(error)
            if self._is_over:
                self._unwritten.clear()
            self._changed.wait_for(lambda: self._is_over, _AGAIN_SECONDS)

    def _forget(self, written: Mapping[int, bytes]) -> None:
        with self._changed:
            self.trouble = ""
            for slot in [slot for slot, content in written.items() if self._unwritten[slot] is content]:
                del self._unwritten[slot]
            self._changed.notify_all()

    def _next(self) -> dict[int, bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._unwritten or self._is_over)
            return dict(self._unwritten)


def _packed(fired: Fired) -> bytes:
    return f"{fired.boot_id} {fired.name}".encode().ljust(_SLOT_BYTES, b"\0")


def _opened(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        os.posix_fallocate(handle, 0, _BYTES)  # So that what is written later finds room.
    except OSError:
        os.close(handle)
        raise
    return handle


def _write(handle: int, slots: Mapping[int, bytes]) -> None:
    os.pwrite(handle, _HEAD, 0)  # Somebody may have emptied the file.
    for slot, content in slots.items():
        os.pwrite(handle, content, len(_HEAD) + slot * _SLOT_BYTES)


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
