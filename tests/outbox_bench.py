"""An outbox before a shelf, for tests: without a broker, by the clock it is given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ledger_samples import row

from edge.album import Album
from edge.ledger.rows import Row
from edge.mqtt.manner import PICTURE
from edge.mqtt.outbox import Outbox
from edge.mqtt.pictures import Pictures

if TYPE_CHECKING:
    from pathlib import Path

    from edge.contract.messages import Gap
    from edge.ledger.store import Span
    from edge.mqtt.manner import Manner

LONG = 100.0
"""Seconds after which nothing is fresh any more."""


class Shelf:
    """Stands for a ledger that is open: its entries, and whether they can be read."""

    def __init__(self, *entries: Row | Gap, delivered: int = 0) -> None:
        self.entries = list(entries)
        self.delivered = delivered
        self.idle = True
        self.doubt = ""

    def take_backlog(self) -> int | None:
        """Nothing was opened late."""
        return None

    def take(self, after: int, limit: int) -> list[Row | Gap]:
        """Return the next entries; none while there is a doubt."""
        return [] if self.doubt else [e for e in self.entries if _number(e) > after][:limit]

    def look(self, span: Span, limit: int) -> list[Row | Gap]:
        """Return the entries of a span; none while there is a doubt."""
        return [each for each in self.take(span.after, 1 << 40) if _number(each) <= span.upto][:limit]


def _number(entry: Row | Gap) -> int:
    return entry.seq if isinstance(entry, Row) else entry.first


class Bench:
    """An outbox before a shelf, and what it publishes."""

    def __init__(self, folder: Path, shelf: Shelf) -> None:
        self.shelf = shelf
        self.sent: list[tuple[int, bytes]] = []
        """Packets with what is in them."""
        self.album = Album(folder, 1 << 20)
        self.pictures = Pictures(self.album, lambda _name, size, _manner: size <= self.largest, shows_defect=False)
        self.outbox = Outbox(shelf, self.pictures, self._publish, self._mark)  # type: ignore[arg-type]
        self.marks: list[int] = []
        """Packets of marks."""
        self._shown: bytes | None = None
        """A picture that was sent last: the next mark is the one behind it."""
        self._behind: dict[int, bytes] = {}
        """Pictures by the mark behind them, until it is answered."""
        self.largest = 1 << 20
        """Bytes of what can be sent."""

    def _publish(self, _name: str, payload: bytes, manner: Manner) -> int | None:
        if len(payload) > self.largest:
            return None
        self._shown = payload if manner is PICTURE else None
        self.sent.append((len(self.sent) + 1, payload))
        return len(self.sent)

    def _mark(self) -> int:
        self.marks.append(-1 - len(self.marks))
        if self._shown is not None:
            self._behind[self.marks[-1]], self._shown = self._shown, None
        return self.marks[-1]

    def prove(self, now: float) -> None:
        """Have the broker answer the last mark, and the ledger hear of it."""
        self.outbox.send(now)
        self.outbox.reached(self.marks[-1])
        self.outbox.note_delivered()

    def exchange(self, now: float, unanswered: bytes | None = None) -> None:
        """Send what may be sent and answer all of it, one payload perhaps not, until nothing more comes."""
        answered = len(self.sent)
        self.outbox.send(now)
        while answered < len(self.sent):
            answered += 1
            if self.sent[answered - 1][1] != unanswered:
                self.outbox.settle(answered, now)
            for mark in [mark for mark, payload in self._behind.items() if payload != unanswered]:
                del self._behind[mark]
                self.outbox.reached(mark)
            self.outbox.send(now)
        self._behind.clear()


def numbers(sent: list[tuple[int, bytes]]) -> list[int]:
    """Return the numbers of the verdicts that were sent."""
    return [json.loads(payload)["seq"] for _, payload in sent]


def delivered_five(folder: Path) -> Bench:
    """Return an outbox that has delivered five verdicts, the broker's answers being fresh, at the time 1."""
    made = Bench(folder, Shelf(*map(row, range(1, 6))))
    made.outbox.written(0, 0)
    made.outbox.written(5, 0)
    made.outbox.begin(100, 1)
    made.exchange(1)
    return made
