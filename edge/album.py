"""Pictures of evidence as files: `<event id>-<verdict>.jpg`, in `sent/` once the broker has them."""

from __future__ import annotations

import errno
import logging
import threading
from collections import OrderedDict, deque
from itertools import chain, product
from typing import TYPE_CHECKING

from edge.contract.messages import Verdict
from edge.ledger.rows import VERDICTS
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

FOLDER = "pictures"
_SENT = "sent"
_SUFFIX = ".jpg"
_KNOWN = frozenset(verdict.value for verdict in Verdict)
_MOVE_SECONDS = 0.05
"""For a file that is moved; it takes far less, unless the disk hangs."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Picture(Record, frozen=True):
    """One file: of which event, with which verdict."""

    event: str
    verdict: Verdict

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.event}-{self.verdict}{_SUFFIX}"


class _Files:
    """Pictures with their sizes, in the order in which they came, and the sum."""

    def __init__(self) -> None:
        self.bytes = 0
        self._sizes: OrderedDict[Picture, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[Picture]:
        return iter(self._sizes)

    def size(self, picture: Picture) -> int | None:
        return self._sizes.get(picture)

    def put(self, picture: Picture, size: int) -> None:
        self.pop(picture)
        self._sizes[picture] = size
        self.bytes += size

    def pop(self, picture: Picture) -> int | None:
        """Return the size of what is no longer there; None: it was not."""
        if (size := self._sizes.pop(picture, None)) is not None:
            self.bytes -= size
        return size


class Album:
    """The files of one folder, within a budget of bytes. One thread adds; any may ask, and waits for no write."""

    def __init__(self, folder: Path, budget: int) -> None:
        """Look through the folder, or make it; where that cannot be, pictures are lost, and counted, until it can."""
        self.lost = 0
        """Pictures that were removed before they were sent, or could not be written."""
        self._folder = folder / FOLDER
        self._budget = budget
        self._lock = threading.Lock()
        """Held while it is changed what there is, and never while the disk is: that may hang."""
        self._moving: deque[Picture] = deque()
        """Those that were sent, and whose files are not in their folder yet."""
        self._mover: threading.Thread | None = None
        self._waiting = {verdict: _Files() for verdict in VERDICTS}
        self._sent = _Files()
        try:
            (self._folder / _SENT).mkdir(parents=True, exist_ok=True)
            self._look_through()
        except OSError as error:
            why = f"{self._folder} is no folder that can be used ({error.strerror})"
            log.error("pictures are not kept: %s; move it away, or check the disk", why)  # noqa: TRY400 - it says all

    def _look_through(self) -> None:
        for picture, size in _files(self._folder):
            if size:
                self._waiting[picture.verdict].put(picture, size)
            else:
                self.lost += 1
        for picture, size in _files(self._folder / _SENT):
            if size:
                self._sent.put(picture, size)

    @property
    def used(self) -> int:
        """Bytes of all files."""
        return self._sent.bytes + sum(files.bytes for files in self._waiting.values())

    def add(self, picture: Picture, jpeg: bytes) -> bool:
        """Keep a picture, others giving way; False, and counted, if the disk does not take it."""
        try:
            self._shed(self._budget - len(jpeg))
            self._write(picture, jpeg)
        except OSError as error:
            self.lost += 1
            log.warning("the picture of %s is not kept: %s", picture.event, error)
            return False
        with self._lock:
            self._waiting[picture.verdict].put(picture, len(jpeg))
        return True

    @property
    def count_waiting(self) -> int:
        """How many were not sent yet."""
        return sum(len(files) for files in self._waiting.values())

    def waiting(self) -> list[Picture]:
        """Return what was not sent yet, the oldest first."""
        with self._lock:
            return sorted(chain(*self._waiting.values()), key=_age)

    def size(self, picture: Picture) -> int | None:
        """Return a waiting picture's bytes, without a look at its file; None: it waits no more."""
        with self._lock:
            return self._waiting[picture.verdict].size(picture)

    def read(self, picture: Picture) -> bytes | None:
        """Return a waiting picture's file; None if it cannot be read, or was removed: then it waits no more."""
        try:
            return (self._folder / picture.name).read_bytes()
        except FileNotFoundError:
            with self._lock:
                if self._waiting[picture.verdict].pop(picture) is not None:  # Else it was shed, and counted then.
                    self.lost += 1
                    log.warning("the picture of %s was removed before it was sent", picture.event)
            return None
        except OSError as error:
            log.warning("the picture of %s cannot be read: %s", picture.event, error)
            return None

    def mark_sent(self, picture: Picture) -> None:
        """Note that the broker has it: it gives way first. Its file is moved too, unless the disk takes long."""
        with self._lock:
            if (size := self._waiting[picture.verdict].pop(picture)) is None:
                return
            self._sent.put(picture, size)
            self._moving.append(picture)
            if self._mover is not None:  # One hangs.
                return
            self._mover = mover = threading.Thread(target=self._move, name="album", daemon=True)
            mover.start()
        mover.join(_MOVE_SECONDS)

    def forget(self, events: Collection[str]) -> None:
        """Remove the pictures of these events that were sent: their time is over."""
        for event, verdict in product(events, VERDICTS):
            with self._lock:
                size = self._sent.pop(picture := Picture(event, verdict))
            if size is None:
                continue
            try:
                self._remove(picture)
            except OSError as error:
                log.warning("the picture of %s cannot be removed: %s", picture.event, error)
                with self._lock:
                    self._sent.put(picture, size)

    def _move(self) -> None:
        while True:
            with self._lock:
                if not self._moving:
                    self._mover = None
                    return
                picture = self._moving.popleft()
            try:
                (self._folder / picture.name).rename(self._folder / _SENT / picture.name)
            except FileNotFoundError:  # It gave way meanwhile, or somebody removed it.
                continue
            except OSError as error:
                log.warning("the picture of %s cannot be moved: %s", picture.event, error)

    def _remove(self, picture: Picture) -> None:
        for folder in (self._folder, self._folder / _SENT):  # In this order: it may just be moved.
            (folder / picture.name).unlink(missing_ok=True)

    def _write(self, picture: Picture, jpeg: bytes) -> None:
        """Have the file there as a whole, though not surely after a power cut.

        It is evidence, not the verdict, which the ledger syncs: an fsync per picture would hold up the card, and the
        ledger with it, to save those of half a minute. What a power cut leaves of them is empty, and known by that.
        """
        fresh = self._folder / f"{picture.name}.new"
        try:
            try:
                fresh.write_bytes(jpeg)
            except FileNotFoundError:  # Somebody removed the folder.
                (self._folder / _SENT).mkdir(parents=True, exist_ok=True)
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
        for files in (self._sent, *(self._waiting[verdict] for verdict in VERDICTS)):
            while self.used > budget and (picture := self._first(files)) is not None:
                self._remove(picture)
                with self._lock:
                    gone = files.pop(picture) is not None
                self.lost += gone and files is not self._sent

    def _first(self, files: _Files) -> Picture | None:
        with self._lock:
            return next(iter(files), None)


def _files(folder: Path) -> list[tuple[Picture, int]]:
    """Return the pictures of a folder with their sizes, the oldest first; what a broken-off write left is removed.

    One of size 0 is no picture any more but what a power cut has left: it is removed too.
    """
    found = []
    for path in folder.iterdir():
        event, _, verdict = path.stem.partition("-")
        if path.suffix == _SUFFIX and verdict in _KNOWN and path.is_file():
            if not (size := path.stat().st_size):
                log.warning("%s is empty, after a power cut perhaps: removed", path)
                path.unlink()
            found.append((Picture(event, Verdict(verdict)), size))
        elif path.name.endswith(f"{_SUFFIX}.new"):
            path.unlink()
    return sorted(found, key=lambda each: _age(each[0]))


def _age(picture: Picture) -> str:
    """Return what sorts pictures by their age: events are named in order."""
    return picture.event
