"""When the outbox tries again by itself, and what goes beside the verdicts: by the clock it is given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from ledger_samples import row
from outbox_bench import LONG, Bench, Shelf, delivered_five, numbers

from edge.contract.commands import Reply
from edge.contract.messages import Gap
from edge.mqtt.broker import FORBIDDEN
from edge.mqtt.retained import FORBIDDEN_SECONDS, REFUSED_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

QUOTA = "Quota exceeded"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return an outbox that has delivered five verdicts, the broker's answers being fresh, at the time 1."""
    return delivered_five(tmp_path)


def test_a_ledger_that_gave_nothing_is_asked_again_by_itself(bench: Bench) -> None:
    """Verdicts that could not be read when they were written are due again soon, though nothing else happens."""
    bench.prove(LONG)
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
    bench.prove(2 * LONG)
    assert bench.outbox.deadline(2 * LONG) is None
    bench.outbox.lose(2 * LONG)
    bench.outbox.written(7, 2 * LONG)
    assert bench.outbox.deadline(2 * LONG) is None, "nobody is there to get it"


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
    bench.outbox.settle(6, LONG, refused=QUOTA)
    bench.outbox.settle(7, LONG)
    bench.exchange(LONG)
    assert numbers(bench.sent[5:]) == [1, 2], "not at once"
    bench.exchange(LONG + REFUSED_SECONDS)
    assert numbers(bench.sent[7:]) == [1]


def test_a_range_that_is_refused_holds_up_nothing_live(bench: Bench) -> None:
    """While the broker refuses what is sent again, what is new goes at once."""
    bench.outbox.replays.put(1, 2)
    bench.outbox.send(LONG)
    for packet in (6, 7):
        bench.outbox.settle(packet, LONG, refused=QUOTA)
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
            bench.outbox.settle(answered, 1)
    assert most <= allowed
    assert bench.outbox.replays.wanted is None
    assert bench.sent[-1][0] == answered


def test_a_range_that_is_refused_while_a_backlog_waits_wakes_nobody(bench: Bench) -> None:
    """It is offered again behind the backlog, and until then it is not due."""
    bench.prove(LONG)
    bench.prove(LONG)
    bench.outbox.replays.put(1, 2)
    bench.outbox.send(LONG)
    bench.outbox.settle(6, LONG, refused=QUOTA)
    bench.shelf.entries += map(row, range(6, 100))
    bench.outbox.written(99, LONG)
    bench.outbox.send(LONG)  # Of these nothing is answered.
    later = LONG + 2 * REFUSED_SECONDS
    bench.outbox.send(later)
    due = bench.outbox.deadline(later)
    assert due is None or due > later


def test_a_state_that_is_refused_is_offered_again(bench: Bench) -> None:
    """An alarm that the broker does not take at first is not forgotten, nor is one sent that is over by then."""
    for refusals, message in ((1, b"one"), (2, b"other")):
        bench.outbox.retain("alarm/a", message)
        now = LONG * refusals
        for _ in range(refusals):
            bench.outbox.send(now)
            assert bench.sent[-1][1] == message
            assert bench.outbox.settle(bench.sent[-1][0], now, refused=QUOTA) == "alarm/a"
            known = len(bench.sent)
            bench.outbox.send(now)
            assert len(bench.sent) == known, "not at once"
            due = bench.outbox.deadline(now)
            assert due is not None
            now = now + REFUSED_SECONDS
            assert due <= now
        bench.exchange(now)
        assert bench.sent[-1][1] == message
    known = len(bench.sent)
    bench.exchange(10 * LONG)
    assert len(bench.sent) == known


@pytest.mark.parametrize("message", [b"", b"alarm"])
def test_what_is_forbidden_is_offered_again_but_not_taken_back(bench: Bench, message: bytes) -> None:
    """Somebody may mend the rules, and an alarm must not be missed by that; it goes not so often as after a quota."""
    bench.outbox.retain("alarm/a", message)
    bench.outbox.send(LONG)
    bench.outbox.settle(bench.sent[-1][0], LONG, refused=FORBIDDEN)
    known = len(bench.sent)
    bench.exchange(LONG + FORBIDDEN_SECONDS - 1)
    assert len(bench.sent) == known
    bench.exchange(LONG + FORBIDDEN_SECONDS)
    assert [payload for _, payload in bench.sent[known:]] == [message] * bool(message)


def test_what_is_forbidden_keeps_nothing_else_waiting(bench: Bench) -> None:
    """What is refused for a while comes after REFUSED_SECONDS though something is forbidden."""
    for name, reason in (("model", FORBIDDEN), ("alarm/a", QUOTA)):
        bench.outbox.retain(name, name.encode())
        bench.outbox.send(LONG)
        bench.outbox.settle(bench.sent[-1][0], LONG, refused=reason)
    bench.exchange(LONG + REFUSED_SECONDS)
    assert [payload for _, payload in bench.sent].count(b"alarm/a") == 2


def test_what_is_refused_all_the_time_keeps_nothing_else_waiting(bench: Bench) -> None:
    """A state that is refused often does not put off the time at which another is offered again."""
    bench.outbox.retain("alarm/a", b"alarm")
    bench.outbox.send(LONG)
    bench.outbox.settle(bench.sent[-1][0], LONG, refused=QUOTA)
    for step in range(1, 8):
        now = LONG + step * REFUSED_SECONDS * 0.8
        bench.outbox.retain("health", b"health")
        known = len(bench.sent)
        bench.outbox.send(now)
        for packet, payload in bench.sent[known:]:
            bench.outbox.settle(packet, now, refused=QUOTA if payload == b"health" else "")
    assert [payload for _, payload in bench.sent].count(b"alarm") == 2


def test_a_gap_that_is_forbidden_keeps_its_place(tmp_path: Path) -> None:
    """Rules that allow verdicts and no gaps: it is told by its name, nothing overtakes it, and mended, all arrive."""
    bench = Bench(tmp_path, Shelf(Gap(first=1, last=2, reason="shed", verdicts={}), *map(row, range(3, 60))))
    bench.outbox.written(59, 0)
    bench.outbox.begin(100, 1)
    for step in range(4):
        now = 1 + step * REFUSED_SECONDS
        known = len(bench.sent)
        bench.outbox.send(now)
        ((packet, payload),) = bench.sent[known:]
        assert json.loads(payload)["first"] == 1
        assert bench.outbox.settle(packet, now, refused=FORBIDDEN) == "gap"
    bench.exchange(LONG)
    assert numbers([each for each in bench.sent if b'"seq"' in each[1]]) == list(range(3, 60))


def test_a_broker_that_died_unnoticed_gets_no_more_than_it_takes(tmp_path: Path) -> None:
    """What it has not answered when its late word shows that it died counts on until it does."""
    bench = Bench(tmp_path, Shelf(row(1)))
    bench.outbox.written(1, 0)
    bench.outbox.begin(100, 1)
    bench.outbox.hear_uptime(500, 1)
    bench.exchange(1)
    bench.shelf.entries += map(row, range(2, 9))
    bench.outbox.lose(1)
    bench.outbox.begin(1, 2)
    bench.outbox.written(8, 3)
    bench.outbox.send(3)
    assert numbers(bench.sent) == [1, 2]
    bench.outbox.hear_uptime(1, 3)
    bench.outbox.send(3)
    assert numbers(bench.sent) == [1, 2]
    bench.outbox.settle(bench.sent[-1][0], 3)
    bench.exchange(3)
    assert numbers(bench.sent) == [1, 2, *range(1, 9)]


def test_an_end_waits_for_a_state_that_was_refused(bench: Bench) -> None:
    """An alarm that the broker did not take at first is offered again before the end; not what its rules forbid.

    Nor the status, in whose place the goodbye goes.
    """
    for name, reason, waits in (("alarm/a", QUOTA, True), ("alarm/a", FORBIDDEN, False), ("status", QUOTA, False)):
        bench.outbox.retain(name, b"state")
        assert bench.outbox.is_empty is (name == "status")
        bench.outbox.send(LONG)
        assert bench.outbox.is_empty is (name == "status")
        bench.outbox.settle(bench.sent[-1][0], LONG, refused=reason)
        assert bench.outbox.is_empty is not waits
        bench.exchange(LONG + REFUSED_SECONDS)
    bench.outbox.retain("alarm/a", b"over")
    bench.outbox.lose(LONG)
    bench.outbox.begin(100, LONG)
    bench.exchange(LONG + REFUSED_SECONDS)
    assert bench.outbox.is_empty
