"""A file of slots that a thread of its own writes: a disk that hangs or fails holds up nobody who fills them.

It is written, but never synced: what the kernel took outlives the process, and costs the disk next to nothing. Mapped
into memory a disk that hangs would stop the whole process, and one that fails would end it by SIGBUS.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from edge.threads import Pulse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SLOTS = 4096
SLOT_BYTES = 128
HEAD = b"EdTr 2".ljust(SLOT_BYTES, b"\0")
BYTES = len(HEAD) + SLOTS * SLOT_BYTES
EMPTY = bytes(SLOT_BYTES)
_WRITE_SECONDS = 0.05
"""For a slot to be in the file, which takes a fraction of a millisecond; then its owner goes on without it."""
_LOOK_SECONDS = 1.0
"""Before a disk that did not take it is asked again, and between two looks whether the file is still there."""
_CLOSE_SECONDS = 0.1
HANG_SECONDS = 5.0
"""For one turn of the thread, after which `trouble` says so: as with the ledger, a card may come back after seconds."""


class Sheet:
    """Slots of SLOT_BYTES each. Any thread may use it."""

    def __init__(self, path: Path, content: Mapping[int, bytes]) -> None:
        """Take the file, which is to hold `content` and nothing else."""
        self._path = path
        self._content = dict(content)
        self._unwritten = dict(content)
        """What slots are to hold and do not yet."""
        self._handle: int | None = None
        self._error = ""
        """Why the disk did not take it when it was last asked; empty: it did."""
        self._is_late = False
        """Whether somebody waited in vain since all was in the file."""
        self._pulse = Pulse()
        self._is_over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="trigger-journal", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why what is put here is not in the file; empty: it is, or will be within seconds. One thread asks."""
        return self._problem("its disk hangs") if self._pulse.silent > HANG_SECONDS else self._error

    def put(self, slot: int, content: bytes) -> None:
        """Have a slot hold something, or EMPTY."""
        with self._changed:
            if content == EMPTY:
                self._content.pop(slot, None)
            else:
                self._content[slot] = content
            self._unwritten[slot] = content
            self._changed.notify_all()

    def wait(self) -> None:
        """Return once all is in the file, or the disk fails, or takes long; then nobody waits until it is."""
        with self._changed:
            if not self._is_late:
                done = self._changed.wait_for(lambda: self._error or not self._unwritten, _WRITE_SECONDS)
                self._is_late = not done

    def close(self) -> None:
        """Write what is to be written, and let go of the file; one whose disk hangs goes with the process."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_SECONDS)

    def _problem(self, why: str) -> str:
        return f"{self._path} cannot be written ({why}): triggers before a crash would get no verdict; check the disk"

    # --- its thread

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._write(batch)
            except OSError as error:
                self._wait_after(error)
            else:
                self._note_written(batch)
        self._let_go()

    def _next(self) -> dict[int, bytes] | None:
        """Return what is to be written, which may be nothing; None at the end."""
        with self._changed:
            self._pulse.beat()
            self._changed.wait_for(lambda: self._unwritten or self._is_over, _LOOK_SECONDS)
            return dict(self._unwritten) if self._unwritten or not self._is_over else None

    def _write(self, batch: dict[int, bytes]) -> None:
        handle = self._handle
        if handle is None or not self._is_in_place(handle):
            self._let_go()
            handle = self._handle = _opened(self._path)
            found = slots_of(os.pread(handle, BYTES, 0))  # What is empty need not be written: that costs pages.
            with self._changed:
                batch |= dict.fromkeys(found, EMPTY) | self._content
        for slot, content in batch.items():
            os.pwrite(handle, content, len(HEAD) + slot * SLOT_BYTES)

    def _is_in_place(self, handle: int) -> bool:
        """Say whether the file has its name and its size still: somebody may have removed or emptied it."""
        own = os.fstat(handle)
        with suppress(FileNotFoundError, NotADirectoryError):
            return os.path.samestat(own, self._path.lstat()) and own.st_size >= BYTES
        return False

    def _let_go(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def _wait_after(self, error: OSError) -> None:
        with self._changed:
            self._error = self._problem(error.strerror or type(error).__name__)
            if self._is_over:
                self._unwritten.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_over, _LOOK_SECONDS)

    def _note_written(self, batch: Mapping[int, bytes]) -> None:
        with self._changed:
            self._error = ""
            for slot in [slot for slot, content in batch.items() if self._unwritten.get(slot) is content]:
                del self._unwritten[slot]
            self._is_late = self._is_late and bool(self._unwritten)
            self._changed.notify_all()


def slots_of(data: bytes) -> dict[int, bytes]:
    """Return what is in the slots of a file's content but nothing; of what is no such file nothing."""
    if not data.startswith(HEAD):
        return {}
    slots = (data[at : at + SLOT_BYTES] for at in range(len(HEAD), len(data), SLOT_BYTES))
    return {slot: content for slot, content in enumerate(slots) if content.strip(b"\0")}


def _opened(path: Path) -> int:
    """Return it open for writing; what is no such file is one afterwards, and empty."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        if os.pread(handle, len(HEAD), 0) != HEAD:
            os.ftruncate(handle, 0)
        os.posix_fallocate(handle, 0, BYTES)  # So that what is written later finds room.
        os.pwrite(handle, HEAD, 0)
    except OSError:
        os.close(handle)
        raise
    return handle
