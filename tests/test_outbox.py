"""What the outbox tells the ledger, and when it tries again by itself: without a broker, by the clock it is given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from ledger_samples import row

from edge.album import Album
from edge.contract.commands import Reply
from edge.contract.messages import Gap
from edge.ledger.rows import Row
from edge.mqtt.delivery import SETTLED_SECONDS
from edge.mqtt.outage import HOLD_SECONDS
from edge.mqtt.outbox import REFUSED_SECONDS, Outbox
from edge.mqtt.pictures import Pictures

if TYPE_CHECKING:
    from pathlib import Path

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
        self.outbox = Outbox(shelf, self.pictures, self._publish)  # type: ignore[arg-type]

        self.largest = 1 << 20
        """Bytes of what can be sent."""

    def _publish(self, _name: str, payload: bytes, _manner: Manner) -> int | None:
        if len(payload) > self.largest:
            return None
        self.sent.append((len(self.sent) + 1, payload))
        return len(self.sent)

    def exchange(self, now: float, unanswered: bytes | None = None) -> None:
        """Send what may be sent and answer all of it, one payload perhaps not, until nothing more comes."""
        answered = len(self.sent)
        self.outbox.send(now)
        while answered < len(self.sent):
            answered += 1
            if self.sent[answered - 1][1] != unanswered:
                self.outbox.settle(answered, now, refused=False)
            self.outbox.send(now)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return an outbox that has delivered five verdicts, the broker's answers being fresh, at the time 1."""
    made = Bench(tmp_path, Shelf(*map(row, range(1, 6))))
    made.outbox.written(0, 0)
    made.outbox.written(5, 0)
    made.outbox.begin(100, 1)
    made.exchange(1)
    return made


def test_nothing_settles_while_the_broker_is_away(bench: Bench) -> None:
    """What was acknowledged just before a connection ended is not delivered by waiting, nor by an end meanwhile."""
    bench.outbox.lose(1)
    for now in (1 + SETTLED_SECONDS * 2, LONG, None):
        bench.outbox.note_delivered(now)
        assert bench.shelf.delivered == 0


@pytest.mark.parametrize(("uptime", "delivered"), [(1, 0), (200, 5)])
def test_the_mark_follows_what_is_sent_again(bench: Bench, uptime: int, delivered: int) -> None:
    """Until the broker has said whether it died nothing counts as delivered; then as much as is not sent again."""
    bench.outbox.hear_uptime(100, 1)
    bench.outbox.lose(1)
    bench.outbox.begin(100, LONG)
    bench.outbox.note_delivered(None)
    assert bench.shelf.delivered == 0
    bench.outbox.hear_uptime(uptime, LONG)
    bench.outbox.note_delivered(LONG)
    assert bench.shelf.delivered == delivered
    bench.exchange(LONG)
    bench.outbox.note_delivered(LONG + HOLD_SECONDS)
    assert bench.shelf.delivered == 5
    assert len(bench.sent) == 10 - delivered


def test_an_end_waits_for_a_broker_that_may_not_have_it_all(bench: Bench) -> None:
    """What was acknowledged just before a connection ended keeps an end waiting until the next one tells."""
    assert bench.outbox.is_empty
    bench.outbox.lose(1)
    assert not bench.outbox.is_empty
    bench.outbox.begin(100, LONG)
    assert not bench.outbox.is_empty
    bench.outbox.hear_uptime(int(LONG), LONG)
    bench.exchange(LONG)
    assert bench.outbox.is_empty


def test_an_outage_from_the_start_forgets_nothing(tmp_path: Path) -> None:
    """What earlier starts delivered stays delivered though no connection came before the ledger was open."""
    bench = Bench(tmp_path, Shelf(*map(row, range(1, 6)), delivered=4))
    bench.outbox.lose(0)
    bench.outbox.written(5, 1)
    bench.outbox.note_delivered(2)
    assert bench.shelf.delivered == 4
    bench.outbox.begin(100, 3)
    bench.outbox.hear_uptime(1, 3)
    bench.exchange(3)
    assert len(bench.sent) == 1


def test_a_ledger_that_gave_nothing_is_asked_again_by_itself(bench: Bench) -> None:
    """Verdicts that could not be read when they were written are due again soon, though nothing else happens."""
    assert bench.outbox.deadline(LONG) is None
    bench.shelf.entries.append(row(6))
    bench.shelf.doubt = "disk I/O error"
    bench.outbox.written(6, LONG)
    bench.exchange(LONG)
    assert len(bench.sent) == 5
    due = bench.outbox.deadline(LONG)
    assert due is not None
    assert LONG < due <= LONG + 1
    bench.shelf.doubt = ""
    bench.exchange(due)
    assert len(bench.sent) == 6
    assert bench.outbox.deadline(2 * LONG) is None
    bench.outbox.lose(2 * LONG)
    bench.outbox.written(7, 2 * LONG)
    assert bench.outbox.deadline(2 * LONG) is None, "nobody is there to get it"


def numbers(sent: list[tuple[int, bytes]]) -> list[int]:
    """Return the numbers of the verdicts that were sent."""
    return [json.loads(payload)["seq"] for _, payload in sent]


def test_a_range_does_not_end_because_the_ledger_cannot_be_read(bench: Bench) -> None:
    """While there is a doubt a range waits, and is due again by itself; what is truly not there ends it."""
    bench.shelf.doubt = "disk I/O error"
    assert bench.outbox.replays.put(2, 9) == ""
    bench.exchange(LONG)
    due = bench.outbox.deadline(LONG)
    assert due is not None
    bench.shelf.doubt = ""
    bench.exchange(due)
    assert numbers(bench.sent[5:]) == [2, 3, 4, 5]
    assert bench.outbox.replays.wanted is None
    assert bench.outbox.deadline(LONG) is None


def test_a_range_goes_on_behind_gaps(tmp_path: Path) -> None:
    """More gaps than are read at once do not end a range, and none of them is sent again."""
    gaps = [Gap(first=at, last=at, reason="shed", verdicts={}) for at in range(2, 40)]
    bench = Bench(tmp_path, Shelf(row(1), *gaps, row(40), delivered=40))
    bench.outbox.written(40, 0)
    bench.outbox.begin(100, 1)
    bench.outbox.replays.put(1, 50)
    bench.exchange(1)
    assert numbers(bench.sent) == [1, 40]


def test_what_is_refused_again_is_offered_again(bench: Bench) -> None:
    """A verdict of a range that the broker refuses is not skipped."""
    bench.outbox.replays.put(1, 2)
    bench.outbox.send(LONG)
    bench.outbox.settle(6, LONG, refused=True)
    bench.outbox.settle(7, LONG, refused=False)
    bench.exchange(LONG)
    assert numbers(bench.sent[5:]) == [1, 2], "not at once"
    bench.exchange(LONG + REFUSED_SECONDS)
    assert numbers(bench.sent[7:]) == [1]


def test_a_range_that_is_refused_holds_up_nothing_live(bench: Bench) -> None:
    """While the broker refuses what is sent again, what is new goes at once."""
    bench.outbox.replays.put(1, 2)
    bench.outbox.send(LONG)
    for packet in (6, 7):
        bench.outbox.settle(packet, LONG, refused=True)
    bench.shelf.entries.append(row(6))
    bench.outbox.written(6, LONG)
    bench.exchange(LONG)
    assert numbers(bench.sent[7:]) == [6]


def test_a_verdict_of_a_range_that_is_too_large_is_passed_over(tmp_path: Path) -> None:
    """The range behind it arrives: nobody would get that one however often it is tried."""
    bench = Bench(tmp_path, Shelf(row(1), row(2, labels=500), row(3), delivered=3))
    bench.outbox.written(3, 0)
    bench.largest = 2_000
    bench.outbox.begin(100, 1)
    bench.outbox.replays.put(1, 3)
    bench.exchange(1)
    assert numbers(bench.sent) == [1, 3]
    assert bench.outbox.replays.wanted is None


def test_an_answer_that_is_too_large_is_told_so(bench: Bench) -> None:
    """Who asks for more than the broker takes gets an answer nevertheless."""
    bench.largest = 500
    bench.outbox.reply("reply/history", Reply(transaction="t", status="ok", data={"events": ["x" * 1_000]}))
    bench.exchange(LONG)
    reply = json.loads(bench.sent[-1][1])
    assert (reply["transaction"], reply["status"]) == ("t", "failed")
    assert "ask for less" in reply["error"]


@pytest.mark.parametrize("allowed", [1, 2, 5, 20, 65_535])
def test_no_more_is_under_way_than_the_broker_takes(tmp_path: Path, allowed: int) -> None:
    """States, answers, verdicts and a range together keep to it, and an alarm finds room beside a backlog."""
    bench = Bench(tmp_path, Shelf(*map(row, range(1, 400)), delivered=50))
    for name in ("status", "info", "model", "health"):
        bench.outbox.retain(name, b"{}")
    bench.outbox.written(399, 0)
    bench.outbox.begin(allowed, 1)
    bench.outbox.replays.put(1, 40)
    bench.outbox.reply("reply/pause", Reply(transaction="t", status="ok"))
    answered, most = 0, 0
    for count in range(500):
        bench.outbox.send(1)
        most = max(most, len(bench.sent) - answered)
        if count == 100:
            bench.outbox.retain("alarm/a", b"now")
            bench.outbox.send(1)
            assert allowed == 1 or bench.sent[-1][1] == b"now"
        if answered < len(bench.sent):
            answered += 1
            bench.outbox.settle(answered, 1, refused=False)
    assert most <= allowed
    assert bench.outbox.replays.wanted is None
    assert bench.sent[-1][0] == answered
