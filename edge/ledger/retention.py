"""How long delivered verdicts are kept: decided by times that were synchronised, never by what the clock says now.

A clock that is wrong and not synchronised, or that jumps, may keep a verdict for longer, until the budget ends that;
it never ends one early. What a synchronised clock says throughout a start is taken for the time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING

import msgspec

from edge.contract.messages import Gap
from edge.ledger.rows import last_of, parse
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge.ledger.rows import Row

EARLIEST = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""No verdict is older than this program: a clock that says so is wrong, whatever it claims."""
HELD_SECONDS = 3_600.0
"""For so long a start hears synchronised times before it believes them: the first ones may be a mistake."""
SLACK_SECONDS = 3_600.0
"""Verdicts of this time go together: one by one each would cost a commit."""
_DAY = timedelta(days=1).total_seconds()


class Stamp(msgspec.Struct, frozen=True):
    """What a verdict's JSON says of its time; `id` names its picture."""

    id: str
    time: datetime
    clock_synced: bool


class Outlook(Record, frozen=True):
    """What a look at verdicts, in order, came to. Times are seconds since 1970."""

    upto: int
    """All up to this number are old enough; 0: none is."""
    young_at: float | None
    """The time of the first that is not; None: there is none."""


class Present:
    """The present time, or an earlier one: never a later one than this start's synchronised verdicts agree on.

    Within a start no jump ahead is believed, and a jump back at once: the wall clock's least lead over the monotonic
    clock counts.
    """

    def __init__(self) -> None:
        self._lead = inf
        self._since: float | None = None

    def note(self, time: float, now: float) -> None:
        """Take in a synchronised time, and when that was on the monotonic clock, or a while later."""
        self._lead = min(self._lead, time - now)
        self._since = now if self._since is None else self._since

    def at(self, now: float) -> float:
        """Return the time at this instant of the monotonic clock; -inf: it is not known yet."""
        held = self._since is not None and now - self._since >= HELD_SECONDS
        return now + self._lead if held else -inf


def outlook(stamps: Iterable[tuple[int, float | None]], present: float, keep: float) -> Outlook:
    """Say which of these verdicts, the oldest first, were given `keep` seconds ago or earlier.

    They are numbers with times, None for a clock that was not synchronised. Such a one is as old as the next that can
    be trusted, at least; so is one of the future or of a time before this program.
    """
    upto = 0
    for number, time in stamps:
        if time is not None and EARLIEST <= time <= present:
            if time + keep > present:
                return Outlook(upto, time)
            upto = number
    return Outlook(upto, None)


class Retention:
    """Goes through the ledger from its oldest verdict on, and waits at the first that is too young. No I/O."""

    def __init__(self, days: float = inf) -> None:
        """Keep verdicts for so many days after they were given."""
        self.on_removed: Callable[[set[str]], None] = lambda _: None
        """Hears the ids of verdicts that went."""
        self.looked = 0
        """The number up to which verdicts were looked at."""
        self.upto = 0
        """All up to this number may go, once the broker has them."""
        self.removed = 0
        """All up to this number are gone."""
        self._keep = days * _DAY
        self._present = Present()
        self._look_at = -inf

    def note(self, time: datetime, now: float) -> None:
        """Take in a verdict's synchronised time; `now` is on the monotonic clock."""
        self._present.note(time.timestamp(), now)

    def is_due(self, now: float) -> bool:
        """Say whether verdicts behind `looked` should be looked at."""
        return self._keep < inf and self._present.at(now) > self._look_at

    def look(self, entries: Sequence[Row | Gap], now: float) -> None:
        """Look at those that follow `looked`; none: there are no more."""
        present = self._present.at(now)
        stamps = [(row.seq, _time(row)) for row in entries if not isinstance(row, Gap)]
        found = outlook(stamps, present, self._keep)
        self.upto = max(self.upto, found.upto)
        if found.young_at is not None:
            self.looked = max(self.looked, found.upto)
            self._look_at = found.young_at + self._keep + SLACK_SECONDS
        elif entries:
            self.looked = last_of(entries[-1])
        else:
            self._look_at = present + SLACK_SECONDS


def stamp_of(row: Row) -> Stamp:
    """Return what a verdict says of its time; raises DamagedLedgerError for what is no verdict."""
    return parse(row.seq, row.json, Stamp)


def _time(row: Row) -> float | None:
    stamp = stamp_of(row)
    return stamp.time.timestamp() if stamp.clock_synced else None
