"""Verdicts on their way to the disk: how long they may wait, and what goes where there are too many."""

from __future__ import annotations

import threading
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from edge.contract.messages import Verdict
from edge.ledger.rows import VERDICTS

if TYPE_CHECKING:
    from edge.contract.messages import Event

GROUP_SECONDS = 0.1
"""Verdicts of this time are written together; a DEFECT takes those before it along at once, and so does the first."""
MOST_WAITING = 20_000
"""Some 40 MB, for a disk that hangs."""
_SHED_SHARE = 10
"""One in so many goes at a time: each time all are looked through."""


class Pending:
    """A queue from the judging thread to the writer; adding takes no time and never waits."""

    def __init__(self) -> None:
        self._waiting: deque[Event | Verdict] = deque()
        """A verdict without its event is one that was shed here."""
        self._kept = 0
        self._since = 0.0
        self._urgent = False
        self._is_first = True
        """Whether none was added yet: whoever has started the line is waiting to see one."""
        self._added = self._taken = self._done = 0
        """How many were ever added, are with whoever took them, and were there: it came back since."""
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Return how many have no number yet, those that were shed among them: they get theirs in a gap."""
        return len(self._waiting)

    def add(self, event: Event) -> None:
        """Put one behind the others; where MOST_WAITING are here, some that matter least give way."""
        with self._changed:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append(event)
            self._added += 1
            self._kept += 1
            hurry = (event.verdict is Verdict.DEFECT or self._is_first) and not self._urgent
            self._urgent, self._is_first = self._urgent or hurry, False
            if self._kept > MOST_WAITING:
                self._shed()
            if hurry or len(self._waiting) == 1:
                self._changed.notify_all()

    def wake(self) -> None:
        """Have `wait` return now."""
        with self._changed:
            self._urgent = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Return when a group is due, or after this time."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._come_back(with_more=0)
            self._changed.notify_all()
            while not self._urgent and (left := self._due(deadline) - time.monotonic()) > 0:
                self._changed.wait(left)

    @property
    def added(self) -> int:
        """How many were ever added."""
        return self._added

    @property
    def done(self) -> int:
        """How many of them, the first, were taken by somebody who came back since."""
        return self._done

    @property
    def empty(self) -> bool:
        """Whether nothing is left and who took the last of it has come back to `wait`."""
        with self._changed:
            return self._done == self._added

    def wait_empty(self, seconds: float) -> None:
        """Return when nothing is left and who took the last of it has come back to `wait`, or after this time."""
        with self._changed:
            self._changed.wait_for(lambda: self._done == self._added, seconds)

    def take(self, most: int) -> list[Event | Verdict]:
        """Take the first of them, in order; a bare verdict stands for one that was shed."""
        with self._changed:
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._kept -= sum(not isinstance(item, Verdict) for item in taken)
            self._urgent = bool(self._waiting)
            self._come_back(with_more=len(taken))
            return taken

    def _come_back(self, *, with_more: int) -> None:
        self._done += self._taken
        self._taken = with_more

    def _due(self, deadline: float) -> float:
        return min(deadline, self._since + GROUP_SECONDS) if self._waiting else deadline

    def _shed(self) -> None:
        share = MOST_WAITING // _SHED_SHARE
        for verdict in VERDICTS:
            of_it = (
                n for n, item in enumerate(self._waiting) if not isinstance(item, Verdict) and item.verdict is verdict
            )
            if gone := set(islice(of_it, share)):
                self._waiting = deque(verdict if n in gone else item for n, item in enumerate(self._waiting))
                self._kept -= len(gone)
                return
