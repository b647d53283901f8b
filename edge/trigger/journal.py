"""Which triggers have no verdict on the disk yet: what a killed process leaves to the next one.

With the device's power it is lost, and so is who fired.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from typing import TYPE_CHECKING

from edge.contract import storage
from edge.record import Record
from edge.trigger.sheet import BYTES, EMPTY, SLOT_BYTES, SLOTS, Sheet, slots_of

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

FILE = "triggers.open"
_FIRED = re.compile(rb"([A-Za-z0-9_.:-]{1,31}) ([A-Za-z0-9_.:-]{1,95})")
_FULL = f"more than {SLOTS} triggers have no verdict yet: those beyond would get none after a crash; trigger less often"


class Fired(Record, frozen=True):
    """A trigger by its name, and the start of the daemon in which it was fired."""

    boot_id: str
    name: str


class Journal:
    """The names of triggers from when they are fired until their verdicts are on the disk. Any thread may use it.

    What earlier lives left stays in the file until that is settled too: this life may be killed as soon as they were.
    SLOTS have room at once, which is more than come by command within the longest deadline; more than these wait.
    """

    def __init__(self, path: Path, boot_id: str) -> None:
        """Take the file, with what earlier lives left in it; where the disk does not give it, memory has to do."""
        self._boot_id = boot_id
        self._slots = _read(path)
        self.left = tuple(self._slots)
        """Fired in earlier lives, which may have ended before their verdicts; in the order of the file."""
        self._unnoted: dict[Fired, None] = {}
        """Triggers that wait for a slot, in order."""
        self._lock = threading.Lock()
        taken = {slot: _packed(fired) for fired, slot in self._slots.items()}
        self._free = deque(slot for slot in range(SLOTS) if slot not in taken)
        self._sheet = Sheet(path, taken)

    @property
    def trouble(self) -> str:
        """Why a killed process would leave nothing, or not all; empty: it would. One thread asks."""
        with self._lock:
            return self._sheet.trouble or (_FULL if self._unnoted else "")

    def note(self, name: str) -> None:
        """Note a trigger that came, once or twice; it is in the file afterwards, unless the disk takes long.

        Where there is no room it is once another trigger has its verdict.
        """
        fired = Fired(self._boot_id, name)
        with self._lock:
            if fired not in self._slots:
                self._unnoted[fired] = None
                self._fill()
        self._sheet.wait()

    def settle(self, name: str, boot_id: str = "") -> None:
        """Note that its verdict is on the disk; `boot_id`: of an earlier life that fired it."""
        fired = Fired(boot_id or self._boot_id, name)
        with self._lock:
            self._unnoted.pop(fired, None)
            if (slot := self._slots.pop(fired, None)) is not None:
                self._sheet.put(slot, EMPTY)
                self._free.append(slot)
                self._fill()

    def close(self) -> None:
        """Write what is to be written, and let go of the file."""
        self._sheet.close()

    def _fill(self) -> None:
        while self._unnoted and self._free:
            fired = next(iter(self._unnoted))
            slot = self._slots[fired] = self._free.popleft()
            self._sheet.put(slot, _packed(fired))
            del self._unnoted[fired]


def _packed(fired: Fired) -> bytes:
    return f"{fired.boot_id} {fired.name}".encode().ljust(SLOT_BYTES, b"\0")


def _read(path: Path) -> dict[Fired, int]:
    """Return what is in the file, with its slots; of one that is no such file, or damaged, what can be read."""
    try:
        data = storage.read_plain(path, BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("%s cannot be read (%s): triggers before the last end may have got no verdict", path, error)
        return {}
    found = ((slot, _FIRED.fullmatch(content.rstrip(b"\0"))) for slot, content in slots_of(data).items())
    return {Fired(words[1].decode(), words[2].decode()): slot for slot, words in found if words is not None}
