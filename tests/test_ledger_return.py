"""From memory back to the file: each verdict is there once, with a gap for what is missing only."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from ledger_samples import make_ledger
from test_ledger_removed import remove_file
from test_stores import ALL, fail, give, lie, numbers, stores

from edge.contract.messages import Gap, Verdict
from edge.errors import DamagedLedgerError, FullLedgerError, LedgerError
from edge.ledger import mainfile
from edge.ledger.ledger import FILE
from edge.ledger.rows import Marks
from edge.ledger.store import Store
from edge.ledger.wal import log_of

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("killed")


def test_a_gap_of_memory_comes_to_the_file_with_the_verdicts_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes gaps but no verdicts: nothing seems to be missing, and nothing is told twice."""
    held = stores(tmp_path)
    held.open()
    give(held, 5)
    add, full = Store.add, [True]

    def failing(self: Store, *given: Any) -> None:
        rows = list(given[0])
        if full and rows and self._name != ":memory:":
            raise FullLedgerError("database or disk is full")
        add(self, rows, *given[1:])

    monkeypatch.setattr(Store, "add", failing)
    give(held, 10)
    held.write(lambda first: ([], [Gap(first=first, last=first + 4, reason="shed", verdicts={Verdict.PASS: 5})]))
    give(held, 3)
    for _ in range(2):
        held._retry_at = 0
        held.tend()
        assert numbers(held.take(5, 100)) == [*range(6, 16), (16, 20), 21, 22, 23]
        full.clear()
    assert held.trouble == ""


def test_what_both_file_and_memory_have_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that took verdicts and said it did not: each is there once, whatever is asked for, and none is missing."""
    held = stores(tmp_path)
    held.open()
    give(held, 5)
    add, refusals = Store.add, [True, True]

    def failing(self: Store, *given: Any) -> None:
        add(self, *given)
        if refusals and self._name != ":memory:":
            refusals.pop()
            raise LedgerError("disk I/O error")

    monkeypatch.setattr(Store, "add", failing)
    give(held, 5)
    give(held, 10)
    assert numbers(held.look(ALL, 100)) == list(range(1, 21))
    assert numbers(held.take(0, 12)) == list(range(1, 13))
    assert numbers(held.take(4, 3)) == [5, 6, 7]
    assert numbers(held.newest(18, 14, None)) == list(range(17, 3, -1))
    for _ in range(2):
        held._retry_at = 0
        held.tend()
        assert numbers(held.take(0, 100)) == list(range(1, 21))
    assert held.trouble == ""


def test_damage_that_shows_on_the_way_back_is_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that comes back with a damaged page: the file is repaired at once, and all that memory had is in it."""
    held = stores(tmp_path)
    held.open()
    give(held, 50)
    fail(monkeypatch, LedgerError)
    give(held, 1_200)
    add, damages = Store.add, [3]

    def failing(self: Store, *given: Any) -> None:
        if self._name == str(tmp_path / "ledger.db") and damages:
            damages[0] -= 1
            if not damages[0]:
                damages.clear()
                raise DamagedLedgerError("database disk image is malformed")
        add(self, *given)

    monkeypatch.setattr(Store, "add", failing)
    held._retry_at = 0
    held.tend()
    assert (held.trouble, held.doubt, damages) == ("", "", [])
    assert len(list(tmp_path.glob("ledger-damaged-*.db"))) == 1
    assert numbers(held.take(0, 2_000)) == list(range(1, 1_251))


def test_what_memory_shed_is_shed_though_the_disk_took_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that took verdicts, said it did not, and memory shed them: the gap counts, before and after they meet."""
    held = stores(tmp_path)
    held.open()
    give(held, 5)
    lie(monkeypatch)
    give(held, 5)
    give(held, 10)
    assert held._shelf.spare is not None
    held._shed(held._shelf.spare, 0)
    give(held, 1)
    for _ in range(2):
        assert numbers(held.take(0, 100)) == [1, 2, 3, 4, 5, (6, 20), 21]
        held._retry_at = 0
        held.tend()
    assert held.trouble == ""


@pytest.mark.parametrize("kind", [LedgerError, DamagedLedgerError])
def test_what_memory_has_is_delivered_though_the_file_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[LedgerError]
) -> None:
    """Where the broker has all that is in the file nothing waits for it; what it does not have stays first in line."""
    held = stores(tmp_path)
    held.open()
    give(held, 50)
    read = Store.read

    def failing(self: Store, *given: Any) -> Any:
        if self._name != ":memory:":
            raise kind("the disk says no")
        return read(self, *given)

    fail(monkeypatch, LedgerError)
    give(held, 3)
    with monkeypatch.context() as broken:
        broken.setattr(Store, "read", failing)
        for _ in range(2):
            assert numbers(held.take(49, 100)) == []
            assert held.doubt != ""
            assert numbers(held.take(50, 100)) == [51, 52, 53]
            assert held.doubt != "", "what is in the file is in doubt still"
            assert numbers(held.take(52, 100)) == [53]
    held._retry_at = 0
    held.tend()
    assert numbers(held.take(49, 100)) == [50, 51, 52, 53]
    assert (held.trouble, held.doubt, held.close(())) == ("", "", 0)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_disk_that_was_away_is_used_again(tmp_path: Path, *, damaged: bool) -> None:
    """What is open cannot be read any more, but has its name on the disk that came back: a gap names what that lost."""
    folder, disk = tmp_path / "state", tmp_path / "disk"
    folder.mkdir()
    held = stores(folder)
    held.open()
    give(held, 40)
    shutil.copytree(folder, disk)
    give(held, 10)
    assert held._main.store is not None
    for link in (held._main.store._db, held._main.store._reader):
        link.run("PRAGMA shrink_memory")  # Nothing is remembered of what the disk had.
    for path in (folder / FILE, log_of(folder / FILE)):
        os.truncate(path, 0)
    folder.rename(tmp_path / "gone")
    held._main.damaged = damaged
    for _ in range(2):
        give(held, 2)
        held._retry_at = 0
        held.tend()
        assert "cannot be put back" in held.trouble
    shutil.rmtree(folder)
    disk.rename(folder)
    held._retry_at = 0
    held.tend()
    give(held, 1)
    assert numbers(held.take(0, 100)) == [*range(1, 41), (41, 50), *range(51, 56)]
    assert (held.trouble, held.close(())) == ("", 0)
    assert not list(folder.glob("*damaged*"))


def test_what_can_be_read_does_not_give_way_to_another_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not take the copy is no reason to let go of the only one."""
    held = stores(tmp_path)
    held.open()
    give(held, 40)
    remove_file(tmp_path)
    make_ledger(tmp_path / FILE, 5)
    with monkeypatch.context() as broken:
        broken.setattr(Store, "copy", lambda *_: (_ for _ in ()).throw(LedgerError("disk I/O error")))
        held.tend()
    assert "cannot be put back" in held.trouble
    held._retry_at = 0
    held.tend()
    assert (held.trouble, numbers(held.take(0, 100))) == ("", list(range(1, 41)))
    held.close(())


def test_what_was_put_back_but_cannot_be_opened_is_not_passed_over(tmp_path: Path) -> None:
    """Verdicts that memory takes until it is repaired are not delivered before those that it has."""
    held = stores(tmp_path)
    held.open()
    give(held, 40)
    held.write(lambda _: ((), ()), Marks(10))
    with closing(sqlite3.connect(tmp_path / FILE)) as other, other:
        other.execute("UPDATE marks SET body = x'00'")
    remove_file(tmp_path)
    held.tend()
    assert "damaged" in held.trouble
    give(held, 3)
    assert held.take(10, 100) == []
    held._retry_at = 0
    held.tend()
    assert (held.trouble, numbers(held.take(10, 100))) == ("", list(range(11, 44)))
    assert held.close(()) == 0


@pytest.mark.parametrize("repaired", [0, 1])
def test_a_file_that_does_not_open_for_once_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repaired: int
) -> None:
    """Put back or just repaired, it is opened once more; meanwhile what it has is not passed over."""
    held = stores(tmp_path)
    held.open()
    give(held, 40)
    held.write(lambda _: ((), ()), Marks(10))
    if repaired:
        held._main.damaged = True
    else:
        remove_file(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(mainfile, "Store", lambda _: (_ for _ in ()).throw(LedgerError("disk I/O error")))
        for _ in range(2):
            held._retry_at = 0
            held.tend()
            assert "disk I/O error" in held.trouble
            assert not held._main.damaged
            give(held, 3)
            assert held.take(10, 100) == []
            assert held.doubt != ""
    held._retry_at = 0
    held.tend()
    assert (held.trouble, numbers(held.take(10, 100))) == ("", list(range(11, 47)))
    assert len(list(tmp_path.glob("*damaged*.db"))) == repaired
    assert held.close(()) == 0
