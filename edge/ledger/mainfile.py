"""The life of the ledger's file: opened once it can be, repaired where it is damaged, and how far it goes."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from edge.contract.messages import Gap
from edge.errors import DamagedLedgerError, FullLedgerError, LedgerError, UsedNumberError
from edge.ledger.numbers import Numbers
from edge.ledger.place import copy, drop_copy, finish_repair, finished, make_folder, put_back
from edge.ledger.repair import asked_for, has_sound_ledger, looks_whole, repair
from edge.ledger.rows import DAMAGED
from edge.ledger.store import Store
from edge.ledger.wal import log_of, may_hold_verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge.ledger.audit import Audit
    from edge.ledger.claim import Claim
    from edge.ledger.rows import Marks

log = logging.getLogger(__name__)


class MainFile:
    """The file at a path. One thread changes it; who holds `moving` finds `store`, `last` and `damaged` agree."""

    def __init__(self, path: Path, claim: Claim | None = None) -> None:
        """Name the file, in a folder that is claimed unless nobody else has it; it is not opened yet."""
        self.path = path
        self._claim = claim
        self.numbers = Numbers(path.with_suffix(".numbers"), claim)
        """How far verdicts may have been numbered."""
        self.moving = threading.RLock()
        """Held while verdicts are read, and while they go or change their place: each is seen once, where it is."""
        self.store: Store | None = None
        """None: it is not open."""
        self.damaged = False
        """Whether it has to be repaired before it is read again."""
        self.last = 0
        """The number up to which it has verdicts, or had them."""
        self.on_opened: Callable[[Store], None] = lambda _: None
        """Hears of the file each time that it was opened, before anybody else has it."""
        self._files: list[tuple[int, int] | None] = []
        """Which files were opened: of the ledger and of its log; none if the disk did not tell."""
        self.is_another = False
        """Whether a ledger was found in the place of the one behind which memory numbers, and is used instead."""
        self._is_copied = False
        """Whether there may be a whole copy that could not take the place."""
        self._known = False
        """Whether `last` is right; else only what was claimed is known."""
        self._was_open = False

    def look_through(self) -> None:
        """Open the file, repaired where it is damaged or a repair is asked for; raises OSError."""
        self._renew_claim()
        finish_repair(self.path)
        if asked_for(self.path).exists() or not looks_whole(self.path):
            repair(self.path, self._used())
            asked_for(self.path).unlink(missing_ok=True)
        self.use(lambda _: None)

    def expect(self, why: OSError) -> None:
        """Let verdicts go on elsewhere, numbered behind all that the file may hold, which could not be opened.

        Raises OSError if it is not known how far that is.
        """
        last = self.numbers.beyond()
        if not self.numbers.known and any(map(may_hold_verdicts, (self.path, finished(self.path)))):
            problem = "the record beside it does not say how far its verdicts are numbered: no more can be numbered"
            raise LedgerError(f"{why}; {problem} before it opens") from why
        self.last, self._known = last, True

    def hold(self, last: int) -> None:
        """Note that it was given verdicts up to this number."""
        self.last = max(self.last, last)

    def use(self, act: Callable[[Store], None]) -> None:
        """Do something with the file, opened if need be; if that finds it damaged, once more with the repaired one.

        It must be in its place.
        """
        if self._is_copied:
            drop_copy(self.path)
            self._is_copied = False
        try:
            act(self.open())
        except DamagedLedgerError as error:
            log.warning("%s", error)
            self._known = self._known and not isinstance(error, UsedNumberError)
            self.mend()
            act(self.open())

    def mend(self) -> None:
        """Put a repaired file in the place of the damaged one."""
        self.damaged = True
        if self.is_displaced:  # Only what has the name can be repaired, and closing would end what has none.
            with suppress(DamagedLedgerError):  # It has its place, but cannot be opened before it is repaired.
                self.put_back()
            if not self.damaged:
                return
        with self.moving:
            self._let_go()
        self._renew_claim()
        if not finish_repair(self.path):
            repair(self.path, self._used())
        self.damaged = False
        self.open()

    def open(self) -> Store:
        """Return the file, opened if need be."""
        if self.store is None:
            self._renew_claim()
            try:
                return self._open()
            except DamagedLedgerError:
                self.damaged = True
                raise
        return self.store

    def _open(self) -> Store:
        with ExitStack() as stack:
            stack.callback((store := Store(self.path)).abandon)
            last = self._last_in(store)
            if store.last < last:  # Not even the numbers of its last verdicts were left.
                store.add((), [Gap(first=store.last + 1, last=last, reason=DAMAGED, verdicts={})])
            self._files = []
            with suppress(OSError):
                self._files = _files(self.path)
            with self.moving:
                self.last, self._known = last, True
                self.on_opened(store)
                self.store, self._was_open = store, True
            stack.pop_all()
        return store

    @property
    def is_awaited(self) -> bool:
        """Whether nothing behind what it has may be read before it is repaired, or opened once more."""
        return self.damaged or (self._was_open and self.store is None)

    @property
    def is_displaced(self) -> bool:
        """Whether it is open, but somebody removed or replaced it, or its log: what is written there would be lost."""
        try:
            return bool(self.store and self._files) and self._files != _files(self.path)
        except OSError:  # Rights that were taken away, or a disk that does not tell: what is open is not gone by that.
            return False

    def put_back(self) -> None:
        """Have what was written where nobody will find it in its place again; raises LedgerError.

        Where it cannot be read any more, as after its disk was gone, a sound ledger that has its name is used instead.
        """
        with self.moving:
            make_folder(self.path)
            self._renew_claim()
        if copied := self._copy(self.open()):
            self._is_copied = True
        with self.moving:
            self.is_another = self.is_another or not copied
            if copied:
                put_back(self.path, is_own=self._has_its_name)
                self._is_copied = False
            self._let_go()
            if self._claim is not None:
                self._claim.let_go_of_former()
            self.numbers.renew()
            self.damaged = self.damaged and copied
            self.open()

    def _copy(self, store: Store) -> bool:
        """Write the copy that is to be put back, or say that a sound ledger is there for one that cannot be read."""
        try:
            # Where only its log was removed, too: SQLite leaves what is in it there while another process reads.
            copy(self.path, store)  # Who reads need not wait: nobody but this thread writes.
        except FullLedgerError:
            raise
        except LedgerError:
            if _is_readable(store) or not has_sound_ledger(self.path):
                raise
            log.warning("the ledger %s cannot be read any more; the one that has its name now is used", self.path)
            return False
        return True

    @property
    def _has_its_name(self) -> bool:
        """Whether the file itself is in its place, as where only its log was removed."""
        try:
            return self._files[:1] == _files(self.path)[:1]
        except OSError:  # Then it will be set aside, or that fails too.
            return False

    def close(self, marks: Marks, audits: Sequence[Audit]) -> int:
        """Write what is left and let go of the file; returns how many verdicts go with it that the broker has not."""
        stranded = 0
        if (store := self.store) is not None:
            with _told():
                stranded = store.count_behind(marks.delivered) if self.is_displaced else 0
            with _told():
                store.add((), (), marks, audits)
            self.store = None  # First: who takes over from here must not find one that is closed.
            with _told():
                store.close()
        return stranded

    def _let_go(self) -> None:
        """Close the file; what it says then is no news: it is damaged, or copied."""
        store, self.store = self.store, None
        if store is not None:
            with suppress(LedgerError):
                store.abandon()

    def _renew_claim(self) -> None:
        """Have no file changed in a folder that took the place of the claimed one and is another daemon's."""
        if self._claim is not None:
            self._claim.renew()

    def _used(self) -> int:
        """Return the number up to which a damaged file may have had verdicts; raises LedgerError if none is known."""
        return self.last if self._known else self.numbers.beyond()

    def _last_in(self, store: Store) -> int:
        """Return the number up to which verdicts are in a file that was just opened, or were; raises LedgerError."""
        # One that is new, older than the claims, or behind verdicts in memory alone, does not know the last number.
        unsure = not self._known and (not store.last or self.numbers.exceed(store.last))
        return max(self.last, store.last, self.numbers.beyond() if unsure else 0)


@contextmanager
def _told() -> Iterator[None]:
    """Go on with an end, whatever a dying disk says to a part of it; the log names it."""
    try:
        yield
    except OSError as error:
        log.warning("the ledger could not be closed in order: %s", error)


def _is_readable(store: Store) -> bool:
    try:
        store.count_behind(0)
    except LedgerError:
        return False
    return True


def _files(path: Path) -> list[tuple[int, int] | None]:
    """Return which files have a ledger's and its log's name, by device and inode; None is gone. Raises OSError."""
    found: list[tuple[int, int] | None] = []
    for each in (path, log_of(path)):
        try:
            status = each.stat()
            found.append((status.st_dev, status.st_ino))
        except (FileNotFoundError, NotADirectoryError):
            found.append(None)
    return found
