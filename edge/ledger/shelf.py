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

        def behind(found: Sequence[Row | Gap], store: Store) -> Sequence[Row | Gap]:
            after = max([span.after, *map(last_of, found[-1:])])
            return store.read(Span(after, span.upto), limit - len(found))

        return self._ask(behind, limit)

    def newest(self, before: int, limit: int, verdict: Verdict | None) -> list[Row]:
        """Return the last `limit` verdicts below a number, of one kind or of all; none while they cannot be read."""

        def below(found: Sequence[Row], store: Store) -> Sequence[Row]:
            return store.newest(min([before, *(row.seq for row in found[-1:])]), limit - len(found), verdict)

        return self._ask(below, limit, reverse=True)

    def _ask(
        self, question: Callable[[Sequence[Entry], Store], Sequence[Entry]], limit: int, *, reverse: bool = False
    ) -> list[Entry]:
        """Return what file and memory answer, in this order or the other; none if one cannot.

        Each question knows what was found so far: what both have, as where a disk took what it said it did not, is
        found once.
        """
        found: list[Entry] = []
        with self._main.moving:
            stores = [store for store in (self._main.store, self.spare) if store and not self._main.damaged]
            try:
                for store in reversed(stores) if reverse else stores:
                    if len(found) < limit:
                        found += question(found, store)
            except DamagedLedgerError:
                self._main.damaged = True  # `tend` repairs it.
                return []
            except LedgerError as error:
                self.unread = str(error)
                return []
            self.unread = ""
        return found

    def without_holes(self, found: list[Row | Gap], known: int, upto: int) -> list[Row | Gap]:
        """Return what was found with gaps for what is missing of it between two numbers, and have that in the log."""
        whole = list(without_holes(found, known, upto))
        missing = [gap for gap in whole if first_of(gap) > self.missed and gap not in found] if whole != found else []
        for gap in missing:
            self.missed = last_of(gap)
            log.error("%s: verdicts %d to %d are not there any more", self._main.path, first_of(gap), self.missed)
        return whole
