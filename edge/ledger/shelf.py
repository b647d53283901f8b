"""What there is to be read: the ledger's file, and behind it what memory has while the disk takes nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from edge.errors import DamagedLedgerError, LedgerError
from edge.ledger.rows import first_of, last_of, without_holes
from edge.ledger.store import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.contract.messages import Gap, Verdict
    from edge.ledger.mainfile import MainFile
    from edge.ledger.rows import Row
    from edge.ledger.store import Store

ALL = 1 << 62
Entry = TypeVar("Entry", bound="Row | Gap")

log = logging.getLogger(__name__)


class Shelf:
    """File and memory as one. Any thread may ask it."""

    def __init__(self, main: MainFile) -> None:
        self.spare: Store | None = None
        """In memory, while the file takes nothing."""
        self.unread = ""
        """Why the file did not answer when it was last asked; empty if it did."""
        self.missed = 0
        """Up to here it was said what is missing."""
        self._sought = 0
        """Up to here a repair looked for what is missing, or is to."""
        self._main = main

    def doubt(self, refused: str) -> str:
        """Return why what is not found may be there nevertheless, empty if it is not; `refused`: so says the disk."""
        if self._main.damaged or self._main.store is None:
            return self.unread or refused or "the ledger is being opened or repaired; ask again"
        return self.unread

    def look(self, span: Span, limit: int) -> list[Row | Gap]:
        """Return the first `limit` verdicts and gaps of a span, in order; none while they cannot be read."""

        def ask(store: Store, part: Span, left: int) -> Sequence[Row | Gap]:
            return store.read(part, left)

        return self._ask(ask, span, limit)

    def newest(self, before: int, limit: int, verdict: Verdict | None) -> list[Row]:
        """Return the last `limit` verdicts below a number, of one kind or of all; none while they cannot be read."""

        def ask(store: Store, part: Span, left: int) -> Sequence[Row]:
            return store.newest(part.upto + 1, left, verdict)

        return self._ask(ask, Span(0, before - 1), limit, reverse=True)

    def _ask(
        self, question: Callable[[Store, Span, int], Sequence[Entry]], span: Span, limit: int, *, reverse: bool = False
    ) -> list[Entry]:
        """Return what file and memory answer, in this order or the other; none if one cannot."""
        found: list[Entry] = []
        with self._main.moving:
            try:
                for store, part in reversed(self._parts(span)) if reverse else self._parts(span):
                    if len(found) < limit:
                        found += question(store, part, limit - len(found))
                        self.unread = self.unread if store is self.spare else ""
            except DamagedLedgerError:
                self._main.damaged = True  # `tend` repairs it.
                return []
            except LedgerError as error:
                self.unread = str(error)
                return []
        return found

    def _parts(self, span: Span) -> list[tuple[Store, Span]]:
        """Return what can be asked, with its part of a span; nothing if a part of it is in a file that is awaited.

        From its first on memory has all, whatever a disk took that said it did not: what memory has reaches the broker
        though the file cannot be read.
        """
        held = self.spare.read(Span(0, ALL), 1) if self.spare is not None else []
        first = first_of(held[0]) if held else ALL
        in_file, in_memory = Span(span.after, min(span.upto, first - 1)), Span(max(span.after, first - 1), span.upto)
        if self._main.is_awaited and in_file.after < in_file.upto:
            return []
        both = ((self._main.store, in_file), (self.spare, in_memory))
        return [(store, part) for store, part in both if store is not None and part.after < part.upto]

    def without_holes(self, found: list[Row | Gap], known: int, upto: int) -> list[Row | Gap]:
        """Return what was found with gaps for what is missing of it between two numbers, and have that in the log.

        Of the file's, none before it was repaired once: what SQLite does not find there a repair may.
        """
        whole = list(without_holes(found, known, upto))
        missing = [gap for gap in whole if first_of(gap) > self.missed and gap not in found] if whole != found else []
        if self.spare is None and any(first_of(gap) > self._sought for gap in missing):
            self._sought = self._main.last
            self._main.damaged = True
            return []
        for gap in missing:
            self.missed = last_of(gap)
            log.error("%s: verdicts %d to %d are not there any more", self._main.path, first_of(gap), self.missed)
        return whole
