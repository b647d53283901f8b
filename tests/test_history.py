"""Questions for the newest verdicts, on a real ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ledger_samples import event

from edge.contract.commands import History, Reply
from edge.contract.messages import Verdict, encode
from edge.errors import LedgerError
from edge.ledger.ledger import Ledger
from edge.ledger.store import Store
from edge.mqtt import history
from edge.mqtt.history import MOST_BYTES, MOST_WAITING, PAGE, Histories

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 4 * PAGE
DEFECTS = (10, PAGE + 5, COUNT - 3)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Return a ledger of four pages that holds three defects."""
    made = Ledger(tmp_path, 64 << 20)
    made.start(lambda _: None)
    for seq in range(1, COUNT + 1):
        made.append(event(seq, Verdict.DEFECT if seq in DEFECTS else Verdict.PASS))
    made.flush(20)
    yield made
    assert made.close(10) == 0


def answers(histories: Histories) -> list[Reply]:
    """Work until all is answered."""
    given = []
    while histories.waiting:
        if (reply := histories.step()) is not None:
            given.append(reply)
    return given


def answer(ledger: Ledger, **fields: object) -> tuple[list[int], object]:
    """Return the numbers of the verdicts in one answer, and where it says to ask on."""
    histories = Histories(ledger)
    assert histories.put(History(transaction="t", **fields)) == ""  # type: ignore[arg-type]
    (reply,) = answers(histories)
    assert (reply.status, reply.transaction) == ("ok", "t")
    return [each["seq"] for each in reply.data["events"]], reply.data.get("before")


def test_an_answer_is_the_newest_of_what_was_asked_for(ledger: Ledger) -> None:
    """By number, by kind, as many as were asked for, the newest first; behind the first verdict there is nothing."""
    assert answer(ledger, limit=3) == ([COUNT, COUNT - 1, COUNT - 2], None)
    assert answer(ledger, before=3) == ([2, 1], None)
    assert answer(ledger, verdict=Verdict.DEFECT) == (sorted(DEFECTS, reverse=True), None)
    assert answer(ledger, verdict=Verdict.DEFECT, limit=1, before=COUNT - 3) == ([PAGE + 5], None)
    assert answer(ledger, verdict=Verdict.UNKNOWN) == ([], None)


def test_a_rare_kind_is_not_looked_for_in_all_there_is(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many verdicts the answer says from where to ask on, and asking on finds the rest."""
    monkeypatch.setattr(history, "MOST_LOOKED_AT", 2 * PAGE)
    found, before = answer(ledger, verdict=Verdict.DEFECT)
    assert (found, before) == ([COUNT - 3], COUNT - 2 * PAGE + 1)
    assert answer(ledger, verdict=Verdict.DEFECT, before=before) == ([PAGE + 5, 10], 1)
    assert answer(ledger, verdict=Verdict.DEFECT, before=1) == ([], None)


def test_a_ledger_that_cannot_be_read_is_said(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without verdicts because of an error is no answer of none: it failed, with the reason."""

    def refuse(*_: object) -> None:
        raise LedgerError("ledger.db: disk I/O error")

    histories = Histories(ledger)
    histories.put(History(transaction="t"))
    with monkeypatch.context() as patched:
        patched.setattr(Store, "newest", refuse)
        (reply,) = answers(histories)
    assert (reply.status, reply.error) == ("failed", "ledger.db: disk I/O error")


def test_a_ledger_that_is_not_open_yet_is_said(tmp_path: Path) -> None:
    """Before the ledger is open nobody can say that it holds nothing."""
    closed = Ledger(tmp_path, 64 << 20)
    histories = Histories(closed)
    histories.put(History(transaction="t"))
    (reply,) = answers(histories)
    closed.close(0)
    assert reply.status == "failed"
    assert "being opened" in reply.error


def test_questions_are_answered_in_turn_and_not_too_many(ledger: Ledger) -> None:
    """One after the other, each its own answer; one too many is refused."""
    histories = Histories(ledger)
    for at in range(1, MOST_WAITING + 1):
        assert histories.put(History(transaction=f"t{at}", before=at + 1, limit=1)) == ""
    assert "requests wait" in histories.put(History(transaction="more"))
    given = [(reply.transaction, reply.data["events"][0]["seq"]) for reply in answers(histories)]
    assert given == [(f"t{at}", at) for at in range(1, MOST_WAITING + 1)]


def test_an_answer_is_no_larger_than_a_broker_takes(tmp_path: Path) -> None:
    """Of verdicts of many classes it holds fewer than asked for, and says where to go on; together they are all."""
    ledger = Ledger(tmp_path, 64 << 20)
    ledger.start(lambda _: None)
    for seq in range(1, 101):
        ledger.append(event(seq, labels=300))
    ledger.flush(20)
    found, before = answer(ledger, limit=100)
    assert isinstance(before, int)
    whole = found.copy()
    while before is not None:
        some, before = answer(ledger, limit=100, before=before)
        whole += some
    assert ledger.close(10) == 0
    assert len(encode(event(1, labels=300))) * len(found) <= MOST_BYTES
    assert len(found) < 100
    assert whole == list(range(100, 0, -1))
