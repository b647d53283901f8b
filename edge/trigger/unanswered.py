"""That each trigger from outside gets its verdict even where the process is killed in between."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from edge.camera.base import BadFrame
from edge.trigger.base import Shot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.contract.commands import Reply
    from edge.judge import Judged
    from edge.ledger.ledger import Ledger
    from edge.trigger.journal import Journal

Answer: TypeAlias = "tuple[str, Reply]"
"""To a command, by its name."""
ENDED = "the device ended before it was judged"
_LOOKED_AT = 2_000
"""Of the last verdicts, besides as many as are to be given: what was judged just before an end is among them."""
_ANY = 1 << 62


class _Known(msgspec.Struct, frozen=True):
    """What of a verdict tells which trigger and region it answers."""

    boot_id: str
    trigger: str
    region: str


class _Given(NamedTuple):
    """A trigger whose verdicts the ledger was given."""

    trigger: str
    boot_id: str
    upto: int
    """How many verdicts the ledger had been given then."""
    answers: Iterable[Answer]


class Unanswered:
    """Between journal and ledger. Used by the judging thread."""

    def __init__(self, journal: Journal, ledger: Ledger) -> None:
        self._journal = journal
        self._ledger = ledger
        self._left = journal.left
        self._judged: deque[_Given] = deque()
        """Whose verdicts are not surely on the disk yet, with what to answer then."""

    @property
    def waiting(self) -> bool:
        """Whether any waits for the disk."""
        return bool(self._judged)

    @property
    def trouble(self) -> str:
        """Why triggers before a crash would get no verdict; empty: they would."""
        return self._journal.trouble

    def judged(self, shot: Shot, answers: Iterable[Answer] = ()) -> None:
        """Note that the ledger was given a trigger's verdicts; nobody is told of them before they are kept."""
        self._judged.append(_Given(shot.trigger, shot.boot_id, self._ledger.appended, answers))
        self._ledger.hurry()

    def settle(self) -> list[Answer]:
        """Let go of those whose verdicts are on the disk by now; returns what is to be answered."""
        answers: list[Answer] = []
        kept = self._ledger.kept
        while self._judged and self._judged[0].upto <= kept:  # Not all that was given: a busy line gives ever more.
            given = self._judged.popleft()
            self._journal.settle(given.trigger, given.boot_id)
            answers += given.answers
        return answers

    def take_left(self) -> list[Shot]:
        """Return once what earlier lives left, as soon as the ledger can tell what of that has its verdict."""
        if not self._left or self._ledger.doubt:
            return []
        left, self._left = self._left, ()
        now = time.monotonic()
        return [Shot(each.name, BadFrame(0, "", now, ENDED), boot_id=each.boot_id) for each in left]

    def without_known(self, judged: Sequence[Judged]) -> list[Judged]:
        """Return the verdicts about what was left but those that the ledger has: they were written before the end."""
        rows = self._ledger.newest(_ANY, _LOOKED_AT + len(judged)) if judged else []
        known = {msgspec.json.decode(row.json, type=_Known) for row in rows}
        return [
            each for each in judged if _Known(each.event.boot_id, each.event.trigger, each.event.region) not in known
        ]
