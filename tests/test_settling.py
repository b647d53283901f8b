"""What counts as kept by the broker, so that the ledger may let go of it: by what it answers, never by time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ledger_samples import row
from outbox_bench import LONG, Bench, Shelf, delivered_five, numbers

from edge.mqtt.outage import HOLD_SECONDS, PROOF_SECONDS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return an outbox that has delivered five verdicts, the broker's answers being fresh, at the time 1."""
    return delivered_five(tmp_path)


def test_nothing_settles_while_the_broker_is_away(bench: Bench) -> None:
    """What was acknowledged just before a connection ended is not delivered by waiting, nor by an end meanwhile."""
    bench.outbox.lose(1)
    for at_end in (False, True):
        bench.outbox.note_delivered(at_end=at_end)
        assert bench.shelf.delivered == 0


def test_what_is_acknowledged_is_settled_when_a_later_question_is_answered(bench: Bench) -> None:
    """However slow its disk is: a broker answers again when it has written; it is asked for nothing twice."""
    bench.outbox.note_delivered()
    assert bench.shelf.delivered == 0
    assert len(bench.marks) == 1, "while verdicts flow, too"
    bench.prove(LONG)
    known = bench.shelf.delivered
    assert 0 < known < 5, "acknowledged after that was asked"
    assert bench.outbox.deadline(LONG) is not None
    bench.prove(LONG)
    assert bench.shelf.delivered == 5
    assert bench.outbox.deadline(LONG) is None
    bench.exchange(2 * LONG)
    assert len(bench.marks) == 2


def test_a_broker_that_answers_no_question_settles_nothing(bench: Bench) -> None:
    """One that dies in writing took what it had acknowledged with it: that is sent again."""
    bench.exchange(1 + PROOF_SECONDS)
    assert len(bench.marks) == 1
    bench.outbox.note_delivered()
    assert bench.shelf.delivered == 0
    bench.outbox.lose(LONG)
    bench.outbox.reached(bench.marks[-1])
    bench.outbox.begin(100, LONG)
    bench.outbox.hear_uptime(1, LONG)
    bench.exchange(LONG)
    assert numbers(bench.sent[5:]) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("uptime", "delivered"), [(1, 0), (200, 5)])
def test_the_mark_follows_what_is_sent_again(bench: Bench, uptime: int, delivered: int) -> None:
    """Until the broker has said whether it died nothing counts as delivered; then as much as is not sent again."""
    bench.outbox.hear_uptime(100, 1)
    bench.outbox.lose(1)
    bench.outbox.begin(100, LONG)
    bench.outbox.note_delivered(at_end=True)
    assert bench.shelf.delivered == 0
    bench.outbox.hear_uptime(uptime, LONG)
    bench.outbox.note_delivered(at_end=True)
    assert bench.shelf.delivered == delivered
    bench.exchange(LONG)
    for _ in range(2):
        bench.prove(LONG + HOLD_SECONDS)
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
    bench.outbox.note_delivered()
    assert bench.shelf.delivered == 4
    bench.outbox.begin(100, 3)
    bench.outbox.hear_uptime(1, 3)
    bench.exchange(3)
    assert len(bench.sent) == 1


@pytest.mark.parametrize(("words", "sent_again"), [((3, 4), 5), ((3, 13), 0)])
def test_a_silence_makes_no_broker_a_rare_speaker(bench: Bench, words: tuple[int, ...], sent_again: int) -> None:
    """By its own words one that speaks each second is told from one that does not, however long a link hung.

    Of the first it is believed that it died, of the second its word is too old to tell.
    """
    for uptime in words:
        bench.outbox.hear_uptime(uptime, 1)
    bench.outbox.lose(LONG)
    bench.outbox.begin(100, LONG + 30)
    bench.outbox.hear_uptime(29, LONG + 30)
    bench.exchange(LONG + 30)
    assert len(bench.sent) == 5 + sent_again
