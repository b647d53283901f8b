"""Pictures of evidence as files: `<event id>-<verdict>.jpg`, in `sent/` once the broker's socket has taken them."""

from __future__ import annotations

import errno
import logging
import threading
from typing import TYPE_CHECKING

from edge.contract.messages import Verdict
from edge.ledger.rows import VERDICTS
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

log = logging.getLogger(__name__)

FOLDER = "pictures"
_SENT = "sent"
_SUFFIX = ".jpg"
_KNOWN = frozenset(verdict.value for verdict in Verdict)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Picture(Record, frozen=True):
    """One file: of which event, with which verdict."""

    event: str
    verdict: Verdict

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.event}-{self.verdict}{_SUFFIX}"


class Album:
    """The files of one folder, within a budget of bytes. Any thread may call it."""

    def __init__(self, folder: Path, budget: int) -> None:
        """Look through the folder, or make it; raises OSError."""
        self.lost = 0
        """Pictures that were removed before they were sent, or could not be written."""
        self._folder = folder / FOLDER
        self._budget = budget
        self._lock = threading.Lock()
        (self._folder / _SENT).mkdir(parents=True, exist_ok=True)
        self._waiting = _files(self._folder)
        self._sent = _files(self._folder / _SENT)

    @property
    def used(self) -> int:
        """Bytes of all files."""
        return sum(self._waiting.values()) + sum(self._sent.values())

    def add(self, picture: Picture, jpeg: bytes) -> bool:
        """Keep a picture, others giving way; False, and counted, if the disk does not take it."""
        with self._lock:
            self._shed(self._budget - len(jpeg))
            try:
                self._write(picture, jpeg)
            except OSError as error:
                self.lost += 1
                log.warning("the picture of %s is not kept: %s", picture.event, error)
                return False
            self._waiting[picture] = len(jpeg)
            return True

    @property
    def count_waiting(self) -> int:
        """How many were not sent yet."""
        return len(self._waiting)

    def waiting(self) -> list[Picture]:
        """Return what was not sent yet, the oldest first."""
        with self._lock:
            return sorted(self._waiting, key=lambda picture: picture.event)

    def read(self, picture: Picture) -> bytes | None:
        """Return a waiting picture's file; None if it is gone."""
        try:
            return (self._folder / picture.name).read_bytes()
        except OSError as error:
            log.warning("the picture of %s cannot be read: %s", picture.event, error)
            return None

    def mark_sent(self, picture: Picture) -> None:
        """Note that the broker has it: it is the first to give way."""
        with self._lock:
            if (size := self._waiting.pop(picture, None)) is not None:
                try:
                    (self._folder / picture.name).rename(self._folder / _SENT / picture.name)
                except OSError as error:
                    log.warning("the picture of %s cannot be moved: %s", picture.event, error)
                    return
                self._sent[picture] = size

    def forget(self, events: Collection[str]) -> None:
        """Remove the pictures of these events that were sent: their time is over."""
        with self._lock:
            for picture in [each for each in self._sent if each.event in events]:
                try:
                    (self._folder / _SENT / picture.name).unlink(missing_ok=True)
                except OSError as error:
                    log.warning("the picture of %s cannot be removed: %s", picture.event, error)
                    continue
                del self._sent[picture]

    def _write(self, picture: Picture, jpeg: bytes) -> None:
        fresh = self._folder / f"{picture.name}.new"
        try:
            try:
                fresh.write_bytes(jpeg)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._shed(max(0, self.used - 2 * len(jpeg)))
                fresh.write_bytes(jpeg)
            fresh.rename(self._folder / picture.name)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def _shed(self, budget: int) -> None:
        """Remove what was sent, then PASS, UNKNOWN, DEFECT, the oldest first, until so many bytes are left."""
        steps = [(self._sent, None), *((self._waiting, verdict) for verdict in VERDICTS)]
        for files, verdict in steps:
            for picture in sorted(files, key=lambda picture: picture.event):
                if self.used <= budget:
                    return
                if verdict in (None, picture.verdict):
                    folder = self._folder if files is self._waiting else self._folder / _SENT
                    (folder / picture.name).unlink(missing_ok=True)
                    del files[picture]
                    self.lost += files is self._waiting


def _files(folder: Path) -> dict[Picture, int]:
    """Return the pictures of a folder with their sizes; what a broken-off write left is removed."""
    found = {}
    for path in folder.iterdir():
        event, _, verdict = path.stem.partition("-")
        if path.suffix == _SUFFIX and verdict in _KNOWN and path.is_file():
            found[Picture(event, Verdict(verdict))] = path.stat().st_size
        elif path.name.endswith(f"{_SUFFIX}.new"):
            path.unlink()
    return found
