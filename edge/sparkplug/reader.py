"""Reads the ledger for a node, in order, and sees what is missing there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.contract.messages import Gap
from edge.ledger.rows import Row, first_of, last_of
from edge.ledger.shed import SHED
from edge.ledger.store import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.ledger.ledger import Ledger


class Reader:
    """From a number on. The ledger sheds what the main delivery is done with, whether a node has it or not."""

    def __init__(self, ledger: Ledger) -> None:
        self.after = 0
        """The number up to which everything was read."""
        self.upto = 0
        """The number up to which the ledger has anything."""
        self.skipped: int | None = None
        """Behind which number verdicts may be that the ledger could not tell of, nor deny; None: there are none."""
        self._ledger = ledger

    @property
    def waiting(self) -> int:
        """How many verdicts were not read yet."""
        return max(0, self.upto - self.after)

    def newest(self) -> Row | None:
        """Return the last verdict there is."""
        return next(iter(self._ledger.newest(self.upto + 1, 1)), None)

    def read(self, limit: int) -> list[Row | Gap]:
        """Return what comes next, about so many entries, with a gap for each hole."""
        span = Span(self.after, self.upto)
        entries = list(self._whole(limit, span))
        # A hole is believed when it is seen twice: the ledger may just be moving rows from memory to its file.
        if any(isinstance(entry, Gap) for entry in entries):
            doubt = bool(self._ledger.doubt)  # Before the second look: what is doubted later was seen there.
            entries = list(self._whole(limit, span, doubt=doubt))
        if entries:
            self.after = last_of(entries[-1])
        return entries

    def turn_back(self) -> bool:
        """Go back to what was skipped, once the ledger can tell what is there; returns whether that was so.

        A file that could not be opened at the start has verdicts of the last life; what was judged since then follows
        them, and is read again.
        """
        if self.skipped is None or self._ledger.doubt:
            return False
        self.after, self.skipped = min(self.after, self.skipped), None
        return True

    def _whole(self, limit: int, span: Span, *, doubt: bool = False) -> Iterator[Row | Gap]:
        last = span.after
        for entry in self._ledger.look(span, limit):
            if last_of(entry) <= last:
                continue
            if first_of(entry) > last + 1:
                if doubt:
                    self.skipped = last if self.skipped is None else min(last, self.skipped)
                else:
                    yield Gap(first=last + 1, last=first_of(entry) - 1, reason=SHED, verdicts={})
            yield entry
            last = last_of(entry)
