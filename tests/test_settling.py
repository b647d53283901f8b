"""What counts as kept by the broker, so that the ledger may let go of it: by what it answers, never by time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ledger_samples import row
from outbox_bench import LONG, Bench, Shelf, delivered_five, numbers

from edge.mqtt.outage import HOLD_SECONDS, QUIET_SECONDS, WORD_SECONDS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return an outbox that has delivered five verdicts, the broker's answers being fresh, at the time 1."""
    return delivered_five(tmp_path)


def kept(bench: Bench) -> int:
    """Return up to which number the ledger may let go of verdicts."""
    bench.outbox.note_delivered()
    return bench.shelf.delivered


def test_nothing_settles_while_the_broker_is_away(bench: Bench) -> None:
    """What was acknowledged just before a connection ended is not delivered by waiting, nor by an end meanwhile."""
    before = kept(bench)
    assert before < 5
    bench.outbox.lose(1)
    for at_end in (False, True):
        bench.outbox.note_delivered(at_end=at_end)
        assert bench.shelf.delivered == before


def test_what_is_acknowledged_is_settled_by_the_answer_to_something_later(tmp_path: Path) -> None:
    """Be it another verdict, or a state; not by the answer to what was sent before that acknowledgement."""
    bench = Bench(tmp_path, Shelf(row(1), row(2)))
    bench.outbox.written(2, 0)
    bench.outbox.begin(100, 1)
    bench.outbox.retain("health", b"early")
    bench.outbox.send(1)
    (early, first) = (packet for packet, _ in bench.sent)
    bench.outbox.settle(first, 1)
    bench.outbox.send(1)
    second = bench.sent[-1][0]
    bench.outbox.settle(early, 1)
    assert kept(bench) == 0
    bench.outbox.settle(second, 1)
    assert kept(bench) == 1
    bench.outbox.retain("health", b"late")
    bench.outbox.send(1)
    assert kept(bench) == 1
    bench.outbox.settle(bench.sent[-1][0], 1)
    assert kept(bench) == 2
    assert bench.marks == []


def test_what_nothing_follows_is_settled_by_the_brokers_own_word(bench: Bench) -> None:
    """By its second one: a turn of its loop lies between, whichever way it goes. It is not asked."""
    bench.outbox.hear_uptime(7, 2)
    assert kept(bench) < 5
    bench.outbox.hear_uptime(8, 3)
    assert kept(bench) == 5
    bench.exchange(LONG)
    assert bench.marks == []
    assert bench.outbox.deadline(LONG) is None


def test_a_silent_broker_is_asked_once(bench: Bench) -> None:
    """However slow its disk is: it answers when it has written; and not before nothing was sent for a while."""
    bench.exchange(1)
    assert bench.marks == []
    due = bench.outbox.deadline(1)
    assert due == 1 + QUIET_SECONDS
    bench.outbox.send(due)
    assert len(bench.marks) == 1
    assert kept(bench) < 5
    bench.outbox.reached(bench.marks[-1])
    assert kept(bench) == 5
    assert bench.outbox.deadline(LONG) is None
    bench.exchange(LONG)
    assert len(bench.marks) == 1


def test_a_broker_that_answers_no_question_settles_nothing(bench: Bench) -> None:
    """One that dies in writing took what it had acknowledged with it: that is sent again."""
    before = kept(bench)
    bench.outbox.hear_uptime(500, 1)
    bench.exchange(1 + QUIET_SECONDS)
    assert kept(bench) == before
    bench.outbox.lose(LONG)
    bench.outbox.reached(bench.marks[-1])
    bench.outbox.begin(100, LONG)
    bench.outbox.hear_uptime(1, LONG)
    bench.exchange(LONG)
    assert numbers(bench.sent[5:]) == list(range(before + 1, 6))


@pytest.mark.parametrize(("uptime", "died"), [(1, True), (200, False)])
def test_the_mark_follows_what_is_sent_again(bench: Bench, uptime: int, *, died: bool) -> None:
    """Until the broker has said whether it died nothing counts as delivered; then as much as is not sent again."""
    before = kept(bench)
    bench.outbox.hear_uptime(100, 1)
    bench.outbox.lose(1)
    bench.outbox.begin(100, LONG)
    bench.outbox.note_delivered(at_end=True)
    assert bench.shelf.delivered == before
    bench.outbox.hear_uptime(uptime, LONG)
    bench.outbox.note_delivered(at_end=True)
    assert bench.shelf.delivered == (before if died else 5)
    bench.exchange(LONG)
    bench.prove(LONG + QUIET_SECONDS)
    assert bench.shelf.delivered == 5
    assert len(bench.sent) == 5 + (5 - before) * died


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
    bench.outbox.note_delivered()
    assert bench.shelf.delivered == 4
    bench.outbox.begin(100, 3)
    bench.outbox.hear_uptime(1, 3)
    bench.exchange(3)
    assert len(bench.sent) == 1


def test_a_word_that_comes_late_still_tells(bench: Bench) -> None:
    """Of a broker that died: delivery did not wait for it longer than it had to, and what it may lack goes again.

    Until that word what it answers proves nothing of an earlier life of it.
    """
    before = kept(bench)
    bench.outbox.hear_uptime(500, 1)
    bench.outbox.lose(1)
    bench.outbox.begin(100, LONG)
    now = LONG + HOLD_SECONDS
    bench.shelf.entries.append(row(6))
    bench.outbox.written(6, now)
    bench.exchange(now)
    assert numbers(bench.sent[5:]) == [6]
    bench.outbox.retain("health", b"health")
    bench.outbox.send(now)
    bench.outbox.settle(bench.sent[-1][0], now)
    assert kept(bench) == before
    known = len(bench.sent)
    bench.outbox.hear_uptime(1, now)
    bench.exchange(now)
    assert numbers(bench.sent[known:]) == list(range(before + 1, 7))


def test_a_broker_that_never_says_a_word_proves_by_its_answers(bench: Bench) -> None:
    """After a while on a new connection, as one does that has no such topic."""
    before = kept(bench)
    bench.outbox.lose(1)
    bench.outbox.begin(100, LONG)
    for now in (LONG + HOLD_SECONDS, LONG + HOLD_SECONDS + QUIET_SECONDS):
        bench.prove(now)
        assert kept(bench) == before
    bench.prove(LONG + WORD_SECONDS)
    assert kept(bench) == 5
    assert len(bench.sent) == 5


@pytest.mark.parametrize("spoke_once", [False, True])
def test_a_broker_that_never_says_a_word_proves_over_short_connections_too(bench: Bench, *, spoke_once: bool) -> None:
    """Or none any more: a link that is cut more often than that does not keep the ledger from letting go."""
    if spoke_once:
        bench.outbox.hear_uptime(500, 1)
    now = LONG
    for _ in range(4):
        bench.outbox.lose(now)
        bench.outbox.begin(100, now + 1)
        now += WORD_SECONDS / 2
    bench.shelf.entries.append(row(6))
    bench.outbox.written(6, now)
    bench.exchange(now)
    bench.prove(now + QUIET_SECONDS)
    assert kept(bench) == 6
    bench.outbox.lose(now + QUIET_SECONDS)
    assert kept(bench) == 6
    bench.outbox.begin(100, now + LONG)
    assert not bench.outbox._doubt.is_open, "nobody waits for a word"
    assert len(bench.sent) == 6


def test_an_outage_that_was_not_answered_counts_with_the_next(bench: Bench) -> None:
    """A broker that died in the first of two, and whose word came on neither connection before the third."""
    before = kept(bench)
    bench.outbox.hear_uptime(500, 1)
    bench.outbox.lose(1)
    for begun in (LONG, 2 * LONG):
        bench.outbox.begin(100, begun)
        bench.exchange(begun + HOLD_SECONDS)
        bench.outbox.lose(begun + 1)
    bench.outbox.begin(100, 3 * LONG)
    bench.outbox.hear_uptime(int(3 * LONG) - 50, 3 * LONG)
    bench.exchange(3 * LONG)
    assert numbers(bench.sent[5:]) == list(range(before + 1, 6))


def test_a_broker_that_was_restarted_may_speak_less_often(bench: Bench) -> None:
    """Its words are older then: a cut after that is no restart for it."""
    now, passed = LONG, 22
    for uptime in (500, 501):
        bench.outbox.hear_uptime(uptime, LONG)
    bench.shelf.entries.append(row(6))
    bench.outbox.written(6, now)
    bench.exchange(now)
    bench.outbox.lose(now)
    bench.outbox.begin(100, now + 60)
    bench.outbox.hear_uptime(40, now + 60)
    bench.exchange(now + 60)
    known = len(bench.sent)
    assert numbers(bench.sent[5:]) == [6, 6]
    bench.outbox.lose(now + 60)
    bench.outbox.begin(100, now + 60 + passed)
    bench.outbox.hear_uptime(40 + passed - 10, now + 60 + passed)
    bench.exchange(now + 60 + passed)
    assert len(bench.sent) == known
