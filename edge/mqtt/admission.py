"""Which requests are obeyed: those that are allowed, well-formed, and not too many. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from edge.contract.commands import COMMANDS, LARGEST, Reply, Request
from edge.contract.json import NOT_JSON
from edge.contract.messages import encode
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge.mqtt.connection import Asked

PER_SECOND = 5.0
BURST = 20
"""So many requests are looked at in a second, and so many at once; the rest gets no answer."""
_TRIGGERED = 10
"""Times as many of those by which each part is judged; they are counted apart, so that no others take their turns."""
_REMEMBERED = 200
"""Requests that are not obeyed twice: a broker may deliver one twice."""
_KEPT_BYTES = 256 << 10
"""Of their answers, to be given again: the newest. Who repeats a request whose answer is not kept is refused."""
_SHOWN = 120
"""Characters of what a stranger sent."""


class Refused(Record, frozen=True):
    """It is not obeyed, and this is why."""

    reply: Reply


class Repeated(Record, frozen=True):
    """It came before, and is not obeyed again; None: the answer is on its way."""

    reply: Reply | None


class Overlooked(Record, frozen=True):
    """It is one of too many: neither looked at nor answered."""


Found: TypeAlias = Request | Refused | Repeated | Overlooked


class _Turns:
    """So many requests may be looked at: a bucket of tokens that fills with time."""

    def __init__(self, times: int) -> None:
        """Have so many times the usual turns."""
        self._times = times
        self._left = float(BURST * times)
        self._at = inf

    def take(self, now: float) -> bool:
        """Say whether one is left, and take it."""
        passed = max(0.0, now - self._at)
        self._left = min(float(BURST * self._times), self._left + passed * PER_SECOND * self._times)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Admission:
    """Looks at each request before anything obeys it. Times are seconds on the monotonic clock."""

    def __init__(self, allowed: Collection[str]) -> None:
        """Name the commands that are allowed; the others are refused."""
        self._allowed = frozenset(allowed)
        self._answers: OrderedDict[tuple[str, str], bytes | None] = OrderedDict()
        """By name and transaction, as JSON; empty: it is not kept; None: the request is being obeyed."""
        self._bytes = 0
        """Of all answers."""
        self._triggers = _Turns(_TRIGGERED if "trigger" in allowed else 1)
        self._others = _Turns(1)

    def look(self, asked: Asked, now: float) -> Found:
        """Return the request to obey, or what it gets instead."""
        if not (self._triggers if asked.name == "trigger" else self._others).take(now):
            return Overlooked()
        if why := self._objection(asked):
            return _refused(why)
        try:
            request = msgspec.json.decode(asked.payload, type=COMMANDS[asked.name])
        except NOT_JSON as error:
            return _refused(f"not a request for {asked.name} ({str(error)[:_SHOWN]})", _transaction(asked.payload))
        asked_before = asked.name, request.transaction
        if asked_before in self._answers:
            return self._again(asked_before)
        self._keep(asked_before, None)
        return request

    def remember(self, name: str, reply: Reply) -> None:
        """Keep the answer to a request that was obeyed, or, of one that is too large, that it was given."""
        answer = encode(reply)
        self._keep((name, reply.transaction), answer if len(answer) <= _KEPT_BYTES else b"")

    def _objection(self, asked: Asked) -> str:
        """Return why a message is not even read; empty: it is."""
        if asked.retained:
            return "a retained command is not obeyed: it would be at each start; publish it without retain"
        if asked.name not in COMMANDS:
            return f"{asked.name[:_SHOWN]!r} is not a command"
        if asked.name not in self._allowed:
            return f"{asked.name!r} is not allowed; see [commands] allow"
        if len(asked.payload) > LARGEST:
            return f"more than {LARGEST} bytes are too many"
        return ""

    def _again(self, asked: tuple[str, str]) -> Repeated:
        """Return what a request gets that came before."""
        if (answer := self._answers[asked]) is None:
            return Repeated(None)
        return Repeated(msgspec.json.decode(answer, type=Reply) if answer else _not_kept(asked[1]))

    def _keep(self, asked: tuple[str, str], answer: bytes | None) -> None:
        self._bytes += len(answer or b"") - len(self._answers.get(asked) or b"")
        self._answers[asked] = answer
        while len(self._answers) > _REMEMBERED:
            self._bytes -= len(self._answers.popitem(last=False)[1] or b"")
        for older, kept in self._answers.items():
            if self._bytes <= _KEPT_BYTES:
                break
            if kept:
                self._answers[older] = b""
                self._bytes -= len(kept)


class _Named(msgspec.Struct):
    transaction: str


def _transaction(payload: bytes) -> str:
    """Return the word that a request without form may have nevertheless, for the answer."""
    try:
        return msgspec.json.decode(payload, type=_Named).transaction[:64]
    except NOT_JSON:
        return ""


def _not_kept(transaction: str) -> Reply:
    error = "it was answered before, and that answer is not kept any more; ask with another transaction"
    return Reply(transaction=transaction, status="refused", error=error)


def _refused(error: str, transaction: str = "") -> Refused:
    return Refused(Reply(transaction=transaction, status="refused", error=error))
