"""Triggers from outside, such as a light barrier's: each is answered once, in order, by the frame exposed for it."""

from __future__ import annotations

import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

from edge.camera.base import BadFrame
from edge.record import Record
from edge.trigger.base import PAUSED, Shot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.capture import Capture
    from edge.trigger.journal import Journal
    from edge.wishes import Wish

MOST_WAITING = 16
"""Triggers that wait for their verdict: a line that fires faster than it is judged is UNKNOWN, not ever later."""


class _Fired(Record, frozen=True):
    """A trigger that is not answered yet."""

    name: str
    at: float
    deadline: float
    wish: Wish | None
    """None: it is not to be judged."""
    reason: str = ""


class External:
    """Answers triggers that any thread may fire."""

    def __init__(self, capture: Capture, journal: Journal, *, delay_s: float = 0.0, deadline_s: float) -> None:
        """Judge the first frame that is exposed `delay_s` after a trigger or later, within `deadline_s` of it.

        Each trigger is noted in the journal; whoever keeps its verdict says when it is to be forgotten there.
        """
        self._capture = capture
        self._journal = journal
        self._delay, self._patience = delay_s, deadline_s
        self._numbers = count(1)
        self._fired: deque[_Fired] = deque()
        """In order; to be touched by who holds the capture's lock."""
        self._is_woken = False
        self.refused = 0
        """Triggers that were not to be judged, for so many waited."""

    @property
    def waiting(self) -> int:
        """How many have no verdict yet."""
        return len(self._fired)

    @property
    def ended(self) -> bool:
        """As in Trigger: who was fired before is answered first."""
        with self._capture.changed:
            return self._capture.ended and not self._fired

    def fire(self, name: str = "", at: float | None = None) -> str:
        """Want a verdict about what is before the camera now; returns the trigger's name. Any thread may.

        `at`: what was there then, in time.monotonic() seconds: whoever tells of it may have been held up since.
        """
        at = time.monotonic() if at is None else min(at, time.monotonic())
        name = name or f"gpio-{next(self._numbers)}"
        with self._capture.changed:
            is_crowded = sum(each.wish is not None for each in self._fired) >= MOST_WAITING
            reason = f"more than {MOST_WAITING} triggers wait for their verdict" if is_crowded else ""
            self.refused += is_crowded
            wish = None if is_crowded else self._capture.expect(at + self._delay)
        self._journal.note(name)  # After the wish, for a disk may be slow and the part gone; before any verdict.
        with self._capture.changed:
            self._fired.append(_Fired(name, at, at + self._patience, wish, reason))
            self._capture.changed.notify_all()
        return name

    def next(self, timeout: float) -> Shot | None:
        """Return the oldest trigger with its frame, or once it is late with the reason, see Trigger."""
        until = time.monotonic() + timeout
        with self._capture.changed:
            while not (self._is_ready() or self._is_woken) and (left := self._wait(until)) > 0:
                if not self._fired:
                    self._capture.check()
                self._capture.changed.wait(left)
            self._is_woken = False
            return self._answer() if self._is_ready() else None

    def leave(self, timeout: float) -> Shot | None:
        """Answer that nothing is judged, see Trigger."""
        with self._capture.changed:
            self._capture.changed.wait_for(lambda: self._fired or self._is_woken, timeout)
            is_woken, self._is_woken = self._is_woken, False
        # Who woke us is heard first: it may be the end of the pause, and what was fired behind it is judged.
        if is_woken or (shot := next(self.give_up(PAUSED), None)) is None:
            self._capture.check()
            return None
        return shot

    def rest(self, timeout: float) -> Shot | None:
        """Answer only who is past the deadline, see Trigger: others have their frames, and are judged afterwards."""
        until = time.monotonic() + timeout
        with self._capture.changed:
            while (left := self._wait(until)) > 0:
                if not self._fired:
                    self._capture.check()
                self._capture.changed.wait(left)
            is_late = bool(self._fired) and time.monotonic() >= self._fired[0].deadline
            return self._answer() if is_late else None

    def wake(self) -> None:
        """As in Trigger."""
        with self._capture.changed:
            self._is_woken = True
            self._capture.changed.notify_all()

    def give_up(self, reason: str) -> Iterator[Shot]:
        """As in Trigger."""
        while True:
            with self._capture.changed:
                if not self._fired:
                    return
                fired = self._fired.popleft()
                self._capture.forget(fired.wish)
            yield Shot(fired.name, BadFrame(0, "", fired.at, reason))

    def _wait(self, until: float) -> float:
        """Return the seconds until something is due, though no frame comes."""
        due = min([until, *(each.deadline for each in list(self._fired)[:1])])
        return max(0.0, due - time.monotonic())

    def _is_ready(self) -> bool:
        if not self._fired:
            return False
        oldest = self._fired[0]
        has_frame = oldest.wish is None or oldest.wish.frame is not None
        # Once the camera has failed for good nobody waits: else a line that fires all the while would never hear of it.
        return has_frame or time.monotonic() >= oldest.deadline or self._capture.failure is not None

    def _answer(self) -> Shot:
        fired = self._fired.popleft()
        self._capture.forget(fired.wish)
        frame = fired.wish.frame if fired.wish is not None else None
        if frame is None:
            why = fired.reason or str(self._capture.failure or self._capture.trouble)
            frame = BadFrame(0, "", fired.at, why or f"no frame within {self._patience:g} s of the trigger")
        return Shot(fired.name, frame, fired.deadline)
