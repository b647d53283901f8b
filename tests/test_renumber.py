"""What memory has makes way for a ledger that opens late and turns out to have others under the same numbers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from ledger_samples import make_ledger
from test_stores import fail, give, lie, numbers, stores

from edge.contract.messages import Gap, Verdict
from edge.errors import LedgerError
from edge.ledger.ledger import FILE
from edge.ledger.numbers import BLOCK, Numbers
from edge.ledger.rows import Marks
from edge.ledger.store import Store
from edge.ledger.wal import log_of

if TYPE_CHECKING:
    from pathlib import Path

    from edge.ledger.rows import Row
    from edge.ledger.stores import Stores

COUNT = 1_120
FIRST = 1_101
"""Memory's first number: the record of numbers is older than the ledger."""


@pytest.fixture
def before(tmp_path: Path) -> list[Row]:
    """Leave a ledger that cannot be opened, with a record that is older, and return its verdicts."""
    made = make_ledger(tmp_path / "ledger.db", COUNT)
    Numbers(tmp_path / "ledger.numbers").cover(FIRST - 1 - BLOCK)
    (tmp_path / "ledger.db-shm").mkdir()
    return made


def fill_memory(folder: Path, gap_length: int) -> Stores:
    """Start, write two verdicts, a gap and one more verdict, and let the ledger be opened again."""
    held = stores(folder)
    held.open()
    give(held, 2)
    shed = {Verdict.PASS: gap_length}
    held.write(lambda first: ([], [Gap(first=first, last=first + gap_length - 1, reason="shed", verdicts=shed)]))
    give(held, 1)
    assert numbers(held.take(0, 100))[0] == FIRST
    (folder / "ledger.db-shm").rmdir()
    held._retry_at = 0
    return held


def test_a_gap_of_memory_removes_no_verdicts_of_others(tmp_path: Path, before: list[Row]) -> None:
    """The gap gets new numbers as the verdicts beside it do, in their order."""
    held = fill_memory(tmp_path, 5)
    held.tend()
    assert (held.trouble, held.backlog) == ("", 0)
    found = held.take(0, 2_000)
    assert found[:COUNT] == before
    assert numbers(found[COUNT:]) == [1_121, 1_122, (1_123, 1_127), 1_128]
    held.close(())


def test_a_gap_that_reaches_beyond_the_others_leaves_no_hole(tmp_path: Path, before: list[Row]) -> None:
    """The numbers that it alone had are explained too, and no number is used twice."""
    held = fill_memory(tmp_path, 30)
    held.tend()
    found = held.take(0, 2_000)
    assert found[:COUNT] == before
    assert numbers(found[COUNT:]) == [(1_121, 1_132), 1_133, 1_134, 1_135, (1_136, 1_165)]
    gaps = [(entry.reason, entry.verdicts) for entry in found if isinstance(entry, Gap)]
    assert gaps == [("shed", {}), ("shed", {Verdict.PASS: 30})]
    assert held.trouble == ""
    held.close(())


def test_memory_is_behind_a_late_ledger_that_takes_nothing_yet(
    tmp_path: Path, before: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From when it is open all of it is read before what memory has: nothing is passed over meanwhile."""
    held = fill_memory(tmp_path, 5)
    fail(monkeypatch, LedgerError)
    for in_memory in (True, False):
        held._retry_at = 0
        held.tend()
        assert held.in_memory is in_memory
        found = held.take(0, 2_000)
        assert found[:COUNT] == before
        assert numbers(found[COUNT:]) == [1_121, 1_122, (1_123, 1_127), 1_128]
    held.close(())


@pytest.mark.parametrize("shed", [False, True])
def test_verdicts_of_another_ledger_that_is_used_instead_stay(tmp_path: Path, *, shed: bool) -> None:
    """Where the one that was open cannot be read any more, memory's verdicts go behind those of the one there now."""
    folder = tmp_path / "state"
    folder.mkdir()
    held = stores(folder)
    held.open()
    give(held, 40)
    assert held._main.store is not None
    for link in (held._main.store._db, held._main.store._reader):
        link.run("PRAGMA shrink_memory")  # Nothing is remembered of what the disk had.
    for path in (folder / FILE, log_of(folder / FILE)):
        os.truncate(path, 0)
    folder.rename(tmp_path / "gone")
    held.tend()
    give(held, 4)
    if shed:
        gap = Gap(first=0, last=0, reason="shed", verdicts={Verdict.PASS: 5})
        held.write(lambda first: ((), [msgspec.structs.replace(gap, first=first, last=first + 4)]))
    other = make_ledger(folder / FILE, 60)
    held._retry_at = 0
    held.tend()
    found = held.take(0, 100)
    assert found[:60] == other
    assert numbers(found[60:]) == [61, 62, 63, 64, *[(65, 69)] * shed]
    assert (held.trouble, held.close(())) == ("", 0)


def test_a_ledger_that_was_another_once_is_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind it memory numbers later: of what it shed though the disk took it, nothing is told under new numbers."""
    held = stores(tmp_path)
    held.open()
    give(held, 5)
    held._main.is_another = True  # As `put_back` leaves it while nothing is in memory.
    lie(monkeypatch)
    give(held, 15)
    assert held._shelf.spare is not None
    held._shed(held._shelf.spare, 0)
    give(held, 1)
    told = [*range(1, 6), (6, 20), 21]
    for _ in range(2):
        assert numbers(held.take(0, 100)) == told
        held._retry_at = 0
        held.tend()
    assert held.trouble == ""
    held.close(())


@pytest.mark.parametrize("answers", range(18))
def test_a_late_file_that_fails_while_it_is_opened_forgets_nothing(
    tmp_path: Path, before: list[Row], answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the disk fails meanwhile, how far memory was delivered still counts at the next try."""
    held = fill_memory(tmp_path, 5)
    held.marks = Marks(held.last)
    delivered, marks, left = held.last, Store.marks, [True] * answers

    def failing(self: Store) -> Marks:
        if self._name != ":memory:" and not (left and left.pop()):
            monkeypatch.setattr(Store, "marks", marks)
            raise LedgerError("disk I/O error")
        found: Marks = marks.__get__(self)
        return found

    monkeypatch.setattr(Store, "marks", property(failing))
    for _ in range(2):
        held._retry_at = 0
        held.tend()
    assert (held.trouble, held.marks.passed) == ("", delivered)
    assert held.take(0, 2_000)[:COUNT] == before
    held.close(())
