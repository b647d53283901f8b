"""The ledger: what was appended is there, in order, once, whatever happened to the process or the disk."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ledger_samples import event, row

from edge.contract.messages import Gap, Verdict
from edge.ledger import pending
from edge.ledger.ledger import FILE, Ledger
from edge.ledger.rows import Row, last_of
from edge.ledger.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

PLENTY = 64 << 20


class Heard:
    """Follows what a ledger says it has written."""

    def __init__(self) -> None:
        self.last = -1
        self._changed = threading.Condition()

    def __call__(self, last: int) -> None:
        with self._changed:
            self.last = last
            self._changed.notify_all()

    def wait_for(self, last: int, seconds: float = 20) -> None:
        """Wait until verdicts up to a number are written."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.last >= last, seconds), f"{self.last}, not {last}"


@contextmanager
def opened(folder: Path, budget: int = PLENTY) -> Iterator[tuple[Ledger, Heard]]:
    """Open a ledger and close it in order."""
    ledger, heard = Ledger(folder, budget), Heard()
    ledger.start(heard)
    heard.wait_for(0)
    try:
        yield ledger, heard
    finally:
        assert ledger.close(20) == 0


def everything(ledger: Ledger) -> list[Row | Gap]:
    """Return all that there is to deliver, once what has to go for want of room is gone."""
    ledger.flush(20)
    found: list[Row | Gap] = []
    after = ledger.delivered
    while (entries := ledger.take(after, 100)) or ledger.doubt:  # What is missing is sought first, by a repair.
        found += entries
        after = max([after, *map(last_of, entries)])
    return found


def test_verdicts_come_back_as_given_and_numbered_on(tmp_path: Path) -> None:
    """Over a restart too, verdicts are numbered from 1 on without a gap, and their JSON is what was appended."""
    given = [event() for _ in range(700)]
    for part in (given[:300], given[300:]):
        with opened(tmp_path) as (ledger, heard):
            before = heard.last
            for each in part:
                ledger.append(each)
            heard.wait_for(before + len(part))
            found = everything(ledger)
    assert [entry.seq for entry in found if isinstance(entry, Row)] == list(range(1, 701))
    ids = [json.loads(entry.json)["id"] for entry in found if isinstance(entry, Row)]
    assert ids == [each.id for each in given]


def test_a_defect_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PASS may wait for others, a DEFECT does not, and takes those before it along; nor does a start's first."""
    monkeypatch.setattr(pending, "GROUP_SECONDS", 60.0)
    with opened(tmp_path) as (ledger, heard):
        ledger.append(event(verdict=Verdict.PASS))
        heard.wait_for(1)
        ledger.append(event(verdict=Verdict.PASS))
        ledger.append(event(verdict=Verdict.DEFECT))
        heard.wait_for(3)
        kinds = [entry.verdict for entry in ledger.take(0, 10) if isinstance(entry, Row)]
    assert kinds == [Verdict.PASS, Verdict.PASS, Verdict.DEFECT]


def test_a_pass_is_written_within_a_group(tmp_path: Path) -> None:
    """A lone PASS is on the disk a group's time after it was appended."""
    with opened(tmp_path) as (ledger, heard):
        ledger.append(event())
        heard.wait_for(1)
        started = time.monotonic()
        ledger.append(event())
        heard.wait_for(2)
        assert pending.GROUP_SECONDS * 0.9 < time.monotonic() - started < pending.GROUP_SECONDS + 1


def test_what_was_delivered_is_not_taken_again(tmp_path: Path) -> None:
    """The mark of what the broker has survives a restart, and what it has stays readable."""
    with opened(tmp_path) as (ledger, heard):
        for _ in range(20):
            ledger.append(event())
        heard.wait_for(20)
        ledger.delivered = 15
        assert ledger.waiting == 5
    with opened(tmp_path) as (ledger, _):
        assert ledger.delivered == 15
        assert [entry.seq for entry in everything(ledger)] == [16, 17, 18, 19, 20]
        assert len(ledger.take(0, 100)) == 20


def test_a_number_is_never_used_twice(tmp_path: Path) -> None:
    """Where the file turns out to have a verdict of the next number already, the new one gets one behind all used."""
    with opened(tmp_path) as (ledger, heard):
        ledger.append(event())
        heard.wait_for(1)
        other = Store(tmp_path / FILE)
        other.add([row(2)])
        other.close()
        given = event()
        ledger.append(given)
        heard.wait_for(3)
        *before, gap, newest = everything(ledger)
        assert ledger.trouble == ""
    assert [entry.seq for entry in before if isinstance(entry, Row)] == [1, 2]
    assert isinstance(gap, Gap)
    assert isinstance(newest, Row)
    assert (gap.first, gap.last + 1) == (3, newest.seq)
    assert json.loads(newest.json)["id"] == given.id
    assert list(tmp_path.glob("ledger-damaged-*.db"))


def test_the_budget_sheds_in_order_and_says_so(tmp_path: Path) -> None:
    """Beyond the budget PASS goes before UNKNOWN, the oldest first, DEFECT stays, and gaps name each that went."""
    kinds = [Verdict.PASS] * 8 + [Verdict.UNKNOWN, Verdict.DEFECT]
    with opened(tmp_path, budget=300_000) as (ledger, heard):
        for number in range(5_000):
            ledger.append(event(verdict=kinds[number % 10]))
        heard.wait_for(5_000)
    with opened(tmp_path, budget=300_000) as (ledger, _):
        found = everything(ledger)
    rows = [entry for entry in found if isinstance(entry, Row)]
    gaps = [entry for entry in found if isinstance(entry, Gap)]
    shed = {verdict: sum(gap.verdicts.get(verdict, 0) for gap in gaps) for verdict in Verdict}
    assert len(rows) + sum(shed.values()) == 5_000
    assert shed[Verdict.DEFECT] == 0
    assert shed[Verdict.PASS] > 2_000
    assert shed[Verdict.UNKNOWN] == 0 or all(row.verdict is not Verdict.PASS for row in rows)
    covered = sorted([*(row.seq for row in rows), *(n for gap in gaps for n in range(gap.first, gap.last + 1))])
    assert covered == list(range(1, 5_001))


APPENDS = """
import sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from ledger_samples import event, row
from edge.ledger.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), 1 << 30)
ledger.start(lambda last: print(last, flush=True))
while True:
    ledger.append(event())
    threading.Event().wait(0.0005)
"""


def test_nothing_written_is_lost_by_a_kill(tmp_path: Path) -> None:
    """After kill -9 at any moment all that was said to be written is there, without a gap."""
    for _ in range(15):
        command = [sys.executable, "-c", APPENDS, str(tmp_path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(6):
                said = int(writer.stdout.readline())
            writer.kill()
        with opened(tmp_path) as (ledger, heard):
            assert heard.last >= said
            numbers = [entry.seq for entry in everything(ledger) if isinstance(entry, Row)]
            assert numbers == list(range(1, heard.last + 1))
    assert not list(tmp_path.glob("*damaged*"))
