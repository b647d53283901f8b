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
    from collections.abc import Sequence

    from edge.contract.messages import Event, Gap
    from edge.ledger.rows import Row

GROUP_SECONDS = 0.1
"""Verdicts of this time are written together; a DEFECT takes those before it along at once, and so does the first."""
MOST_WAITING = 20_000
"""Some 40 MB, for a disk that hangs."""
_SHED_SHARE = 10
"""One in so many goes at a time: each time all are looked through."""


class Batch:
    """Verdicts that are written at once."""

    def __init__(self, items: Sequence[Event | Verdict] = ()) -> None:
        """Take them in order; a bare verdict stands for one that was shed."""
        self.items = items
        self.numbered: tuple[Sequence[Row], Sequence[Gap]] = (), ()
        """What they were numbered as when they were last to be written; nothing before that."""


class Pending:
    """A queue from the judging thread to the writer; adding takes no time and never waits.

    The writer may end at any point: what it took stays here until it lets go of it.
    """

    def __init__(self) -> None:
        self._parts: tuple[Batch, deque[Event | Verdict]] = Batch(), deque()
        """What is being written, and what waits behind it: one value, so that nothing is ever in both or in neither.

        A verdict without its event is one that was shed here.
        """
        self._kept = 0
        self._since = 0.0
        self._urgent = False
        self._is_first = True
        """Whether none was added yet: whoever has started the line is waiting to see one."""
        self._added = self._taken = 0
        """How many were ever added, and how many are with whoever took them and did not come back yet."""
        # Held by itself: Condition's own `with` is Python's, and a thread that ends within it would keep it for ever.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    def __len__(self) -> int:
        """Return how many are not written yet, those that were shed among them: they get their numbers in a gap."""
        batch, waiting = self._parts
        return len(batch.items) + len(waiting)

    def add(self, event: Event) -> None:
        """Put one behind the others; where MOST_WAITING are here, some that matter least give way."""
        with self._lock:
            _, waiting = self._parts
            if not waiting:
                self._since = time.monotonic()
            waiting.append(event)
            self._added += 1
            self._kept += 1
            hurry = (event.verdict is Verdict.DEFECT or self._is_first) and not self._urgent
            self._urgent, self._is_first = self._urgent or hurry, False
            if self._kept > MOST_WAITING:
                self._shed()
            if hurry or len(waiting) == 1:
                self._changed.notify_all()

    def wake(self) -> None:
        """Have `wait` return now."""
        with self._lock:
            self._urgent = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Return when a group is due, or after this time."""
        deadline = time.monotonic() + seconds
        with self._lock:
            self._taken = 0
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
        with self._lock:
            return self._added - len(self._parts[1]) - self._taken

    @property
    def empty(self) -> bool:
        """Whether nothing is left and who took the last of it has come back to `wait`."""
        with self._lock:
            return not self._parts[1] and not self._taken

    def wait_empty(self, seconds: float) -> None:
        """Return when nothing is left and who took the last of it has come back to `wait`, or after this time."""
        with self._lock:
            self._changed.wait_for(lambda: not self._parts[1] and not self._taken, seconds)

    @property
    def taken(self) -> Batch:
        """What was taken and is not let go of yet; empty if there is none."""
        return self._parts[0]

    def take(self, most: int) -> Batch:
        """Take the first of them, or again what was not let go of."""
        with self._lock:
            batch, waiting = self._parts
            if not batch.items:
                batch = Batch(list(islice(waiting, most)))
                waiting = deque(islice(waiting, len(batch.items), None))
                self._parts = batch, waiting
                self._kept -= sum(not isinstance(item, Verdict) for item in batch.items)
            self._urgent, self._taken = bool(waiting), len(batch.items)
            return batch

    def let_go(self) -> None:
        """Forget what was taken: it is written."""
        with self._lock:
            self._parts = Batch(), self._parts[1]

    def _due(self, deadline: float) -> float:
        return min(deadline, self._since + GROUP_SECONDS) if self._parts[1] else deadline

    def _shed(self) -> None:
        share = MOST_WAITING // _SHED_SHARE
        batch, waiting = self._parts
        for verdict in VERDICTS:
            of_it = (n for n, item in enumerate(waiting) if not isinstance(item, Verdict) and item.verdict is verdict)
            if gone := set(islice(of_it, share)):
                self._parts = batch, deque(verdict if n in gone else item for n, item in enumerate(waiting))
                self._kept -= len(gone)
                return
