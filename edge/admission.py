"""Which requests are obeyed: those that are allowed, well-formed, and not too many. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from edge.contract.commands import COMMANDS, LARGEST, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge.connection import Asked

PER_SECOND = 5.0
BURST = 20
"""So many requests are looked at in a second, and so many at once; the rest is counted and gets no answer."""
_REMEMBERED = 200
"""Answers that are given again instead of obeying twice: a broker may deliver a request twice."""
_SHOWN = 120
"""Characters of what a stranger sent."""


class Admission:
    """Looks at each request before anything obeys it. Times are seconds on the monotonic clock."""

    def __init__(self, allowed: Collection[str]) -> None:
        """Name the commands that are allowed; the others are refused."""
        self.overlooked = 0
        """Requests beyond the rate: not looked at, not answered."""
        self._allowed = frozenset(allowed)
        self._answers: OrderedDict[tuple[str, str], Reply] = OrderedDict()
        self._tokens = float(BURST)
        self._at: float | None = None

    def look(self, asked: Asked, now: float) -> Request | Reply | None:
        """Return the request to obey, or the answer that it gets at once; None: neither, there are too many."""
        if not self._has_token(now):
            self.overlooked += 1
            return None
        if asked.retained:
            return _refused("a retained command is not obeyed: it would be at each start; publish it without retain")
        if asked.name not in self._allowed:
            known = asked.name in COMMANDS
            return _refused(
                f"{asked.name[:_SHOWN]!r} is not {'allowed; see [commands] allow' if known else 'a command'}"
            )
        if len(asked.payload) > LARGEST:
            return _refused(f"{len(asked.payload)} bytes are too many: {LARGEST} at most")
        try:
            request = msgspec.json.decode(asked.payload, type=COMMANDS[asked.name])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _refused(f"not a request for {asked.name} ({str(error)[:_SHOWN]})", _transaction(asked.payload))
        return self._answers.get((asked.name, request.transaction), request)

    def remember(self, name: str, reply: Reply) -> None:
        """Keep the answer to a request that was obeyed."""
        self._answers[name, reply.transaction] = reply
        while len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)

    def _has_token(self, now: float) -> bool:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._tokens = min(float(BURST), self._tokens + passed * PER_SECOND)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class _Named(msgspec.Struct):
    transaction: str


def _transaction(payload: bytes) -> str:
    """Return the word that a request without form may have nevertheless, for the answer."""
    try:
        return msgspec.json.decode(payload, type=_Named).transaction[:64]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _refused(error: str, transaction: str = "") -> Reply:
    return Reply(transaction=transaction, status="refused", error=error)
