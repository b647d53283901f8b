"""Looks for verdicts that somebody asked for: a page at a time, so that delivering does not wait for it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from edge.contract.commands import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.contract.commands import History
    from edge.ledger.ledger import Ledger
    from edge.ledger.rows import Row

PAGE = 200
"""Verdicts read at once: some milliseconds."""
MOST_LOOKED_AT = 10_000
"""For one answer: of a rare kind there may be none among millions."""
MOST_BYTES = 200 << 10
"""Of the verdicts in one answer: the shipped broker takes messages of 300,000."""
MOST_WAITING = 20
_NEWEST = 1 << 62


class Histories:
    """Questions for the newest verdicts, and how far the first of them is."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: deque[History] = deque()
        self._found: list[dict[str, Any]] = []
        self._bytes = self._looked_at = 0
        self._before = _NEWEST
        """Where to look on for the first question."""

    @property
    def waiting(self) -> bool:
        """Whether there is something for `step` to do."""
        return bool(self._waiting)

    def put(self, asked: History) -> str:
        """Add a question, behind those that wait; returns why it cannot be, empty if it was added."""
        if len(self._waiting) >= MOST_WAITING:
            return f"{MOST_WAITING} requests wait; ask again when they were answered"
        self._waiting.append(asked)
        if len(self._waiting) == 1:
            self._begin()
        return ""

    def step(self) -> Reply | None:
        """Look at one page for the first question; returns its answer once that is complete."""
        asked = self._waiting[0]
        limit = PAGE if asked.verdict else min(PAGE, asked.limit - len(self._found))
        # What is empty is asked twice: the file may just have been mended.
        rows = self._ledger.newest(self._before, limit) or self._ledger.newest(self._before, limit)
        if not rows and (doubt := self._ledger.doubt):
            return self._answer(Reply(transaction=asked.transaction, status="failed", error=doubt))
        full = self._collect(rows, asked)
        if not full and len(rows) == limit and self._looked_at < MOST_LOOKED_AT:
            return None
        data: dict[str, Any] = {"events": self._found}
        if len(self._found) < asked.limit and (full or len(rows) == limit):
            data["before"] = self._before
        return self._answer(Reply(transaction=asked.transaction, status="ok", data=data))

    def _collect(self, rows: Iterable[Row], asked: History) -> bool:
        """Add what is asked for of these; returns whether the answer can take no more."""
        for row in rows:
            wanted = asked.verdict in (None, row.verdict)
            if wanted and self._found and self._bytes + len(row.json) > MOST_BYTES:
                return True
            self._before = row.seq
            self._looked_at += 1
            if wanted:
                self._found.append(msgspec.json.decode(row.json))
                self._bytes += len(row.json)
            if len(self._found) == asked.limit:
                return True
        return False

    def _answer(self, reply: Reply) -> Reply:
        self._waiting.popleft()
        if self._waiting:
            self._begin()
        return reply

    def _begin(self) -> None:
        self._found, self._bytes, self._looked_at = [], 0, 0
        self._before = self._waiting[0].before or _NEWEST
