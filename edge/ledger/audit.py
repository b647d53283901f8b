"""What was asked of the device, and what became of it: what of that is recorded, so that a flood cannot push it out."""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from edge import clock
from edge.record import Record

if TYPE_CHECKING:
    from edge.contract.commands import Reply

Outcome: TypeAlias = Literal["ok", "failed", "refused", "repeated", "overlooked"]
"""repeated: answered again, not obeyed again; overlooked: not recorded one by one, see `count`."""
OBEYED = frozenset({"ok", "failed"})
"""Of these each is recorded."""
BURST = 20
EVERY_SECONDS = 60.0
"""Of the others so many are recorded at once, and then one in this time: each costs the card a page or two."""
MOST_WAITING = 1_000
"""For a disk that hangs."""
_NAME, _TRANSACTION, _ERROR = 60, 64, 200
"""Characters that are kept of what a stranger sent."""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """One request, or several that were overlooked. What was in it is not recorded: it may be a secret."""

    time: datetime
    clock_synced: bool
    boot_id: str
    name: str
    transaction: str
    outcome: Outcome
    error: str = ""
    count: int = 1
    """How many requests it stands for."""


class Audited(Record, frozen=True):
    """A record and its number in the ledger: numbers rise with time."""

    number: int
    audit: Audit


def audit_of(name: str, reply: Reply | None, outcome: Outcome, boot_id: str) -> Audit:
    """Return the record of a request that gets, or got, this reply; None: none yet, or never one."""
    return Audit(
        time=clock.now(),
        clock_synced=clock.is_synchronized(),
        boot_id=boot_id,
        name=_text(name, _NAME),
        transaction=_text(reply.transaction, _TRANSACTION) if reply else "",
        outcome=outcome,
        error=_text(reply.error, _ERROR) if reply else "",
    )


def unheard(count: int, boot_id: str) -> Audit:
    """Return the record of requests that were let go by."""
    return msgspec.structs.replace(audit_of("", None, "overlooked", boot_id), count=count)


def _text(text: str, most: int) -> str:
    """Return a text's beginning as UTF-8 can hold it: the name of a file may be one that it cannot."""
    return text[:most].encode("utf-8", "backslashreplace").decode()[:most]


class Trail:
    """Records on their way to the ledger. Any thread may call it; times are seconds on the monotonic clock."""

    def __init__(self) -> None:
        self._waiting: deque[Audit] = deque()
        self._overlooked: Audit | None = None
        """The last that was not recorded, and how many there are."""
        self._tokens = float(BURST)
        self._at: float | None = None
        self._lock = threading.Lock()

    def add(self, audit: Audit, now: float) -> None:
        """Put a record behind the others, or only count it."""
        with self._lock:
            room = len(self._waiting) < MOST_WAITING
            if room and audit.outcome != "overlooked" and (audit.outcome in OBEYED or self._has_token(now)):
                self._waiting.append(audit)
                return
            count = audit.count + (self._overlooked.count if self._overlooked else 0)
            self._overlooked = msgspec.structs.replace(
                audit, name="", transaction="", outcome="overlooked", error="", count=count
            )

    def take(self, now: float | None) -> list[Audit]:
        """Return what is to be written, and forget it; None for `now`: this is the last time."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
            if self._overlooked is not None and (now is None or self._has_token(now)):
                taken.append(self._overlooked)
                self._overlooked = None
            return taken

    def _has_token(self, now: float) -> bool:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._tokens = min(float(BURST), self._tokens + passed / EVERY_SECONDS)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
