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
        """Why the last question had no answer; empty if it had."""
        self.missed = 0
        """Up to here it was said what is missing."""
        self._main = main

    def doubt(self, refused: str) -> str:
        """Return why what is not found may be there nevertheless, empty if it is not; `refused`: so says the disk."""
        if self._main.damaged or self._main.store is None:
            return self.unread or refused or "the ledger is being opened or repaired; ask again"
        return self.unread

    def look(self, span: Span, limit: int) -> list[Row | Gap]:
        """Return the first `limit` verdicts and gaps of a span, in order; none while they cannot be read."""

        def ask(store: Store, first: int, last: int, left: int) -> Sequence[Row | Gap]:
            return store.read(Span(max(span.after, first - 1), min(span.upto, last)), left)

        return self._ask(ask, limit)

    def newest(self, before: int, limit: int, verdict: Verdict | None) -> list[Row]:
        """Return the last `limit` verdicts below a number, of one kind or of all; none while they cannot be read."""

        def ask(store: Store, _: int, last: int, left: int) -> Sequence[Row]:
            return store.newest(min(before, last + 1), left, verdict)

        return self._ask(ask, limit, reverse=True)

    def _ask(
        self, question: Callable[[Store, int, int, int], Sequence[Entry]], limit: int, *, reverse: bool = False
    ) -> list[Entry]:
        """Return what file and memory answer, in this order or the other; none if one cannot.

        Each is asked for so many of a range of numbers: from its first on memory has all, whatever a disk took that
        said it did not.
        """
        found: list[Entry] = []
        with self._main.moving:
            try:
                for store, first, last in reversed(self._stores()) if reverse else self._stores():
                    if len(found) < limit:
                        found += question(store, first, last, limit - len(found))
            except DamagedLedgerError:
                self._main.damaged = True  # `tend` repairs it.
                return []
            except LedgerError as error:
                self.unread = str(error)
                return []
            self.unread = ""
        return found

    def _stores(self) -> list[tuple[Store, int, int]]:
        """Return what can be asked, with the first and the last number that it is asked for."""
        if self._main.damaged:
            return []
        held = self.spare.read(Span(0, ALL), 1) if self.spare is not None else []
        first = first_of(held[0]) if held else ALL
        both = ((self._main.store, 0, first - 1), (self.spare, first, ALL))
        return [(store, low, high) for store, low, high in both if store is not None]

    def without_holes(self, found: list[Row | Gap], known: int, upto: int) -> list[Row | Gap]:
        """Return what was found with gaps for what is missing of it between two numbers, and have that in the log."""
        whole = list(without_holes(found, known, upto))
        missing = [gap for gap in whole if first_of(gap) > self.missed and gap not in found] if whole != found else []
        for gap in missing:
            self.missed = last_of(gap)
            log.error("%s: verdicts %d to %d are not there any more", self._main.path, first_of(gap), self.missed)
        return whole
