"""File and memory in turn: no verdict is passed over, shown twice or given a used number, whatever the disk does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from ledger_samples import event, row

from edge.contract.messages import Gap, Verdict
from edge.errors import DamagedLedgerError, LedgerError
from edge.ledger.ledger import Ledger, numbered
from edge.ledger.mainfile import MainFile
from edge.ledger.retention import Retention
from edge.ledger.rows import Marks, Row
from edge.ledger.store import Span, Store
from edge.ledger.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("killed")

PLENTY = 64 << 20
ALL = Span(0, 1 << 40)


def stores(folder: Path) -> Stores:
    return Stores(MainFile(folder / "ledger.db"), PLENTY, Retention())


def give(to: Stores, count: int) -> None:
    """Write so many verdicts, the same ones wherever they go."""
    events = [event() for _ in range(count)]
    to.write(lambda first: numbered(events, first, 0))


def numbers(entries: Sequence[Row | Gap]) -> list[int | tuple[int, int]]:
    return [entry.seq if isinstance(entry, Row) else (entry.first, entry.last) for entry in entries]


def fail(monkeypatch: pytest.MonkeyPatch, kind: type[LedgerError], times: int = 1) -> None:
    """Have the next writes to files fail; memory takes what it gets."""
    add, left = Store.add, [None] * times

    def failing(self: Store, *given: Any) -> None:
        if left and self._name != ":memory:":
            left.pop()
            raise kind("the disk says no")
        add(self, *given)

    monkeypatch.setattr(Store, "add", failing)


def lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the file take what is written next, and say that it did not; memory takes it too."""
    add, refusals = Store.add, [True]

    def lying(self: Store, *given: Any) -> None:
        add(self, *given)
        if refusals and self._name != ":memory:":
            refusals.pop()
            raise LedgerError("disk I/O error")

    monkeypatch.setattr(Store, "add", lying)


def test_verdicts_that_move_from_memory_to_the_file_are_seen_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads just then gets each, in order, and passes none over."""
    held = stores(tmp_path)
    held.open()
    give(held, 1)
    fail(monkeypatch, LedgerError)
    give(held, 1)
    for _ in range(12):
        give(held, 100)
    reading, moved = threading.Event(), threading.Event()
    read = Store.read

    def slowly(self: Store, *given: Any) -> Any:
        found = read(self, *given)
        if threading.current_thread() is not threading.main_thread():
            reading.set()
            moved.wait(1)  # As long as this thread reads nothing may move: it runs into its end.
        return found

    monkeypatch.setattr(Store, "read", slowly)
    taken: list[Row | Gap] = []
    reader = threading.Thread(target=lambda: taken.extend(held.take(0, 2_000)))
    reader.start()
    assert reading.wait(10)
    held._retry_at = 0
    held.tend()
    moved.set()
    reader.join()
    assert numbers(taken) == list(range(1, 1_203))
    assert numbers(held.look(ALL, 2_000)) == list(range(1, 1_203))
    assert held.trouble == ""


def test_numbers_given_in_memory_are_not_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill while verdicts are in memory the next start leaves their numbers out, and a gap says so."""
    held = stores(tmp_path)
    held.open()
    give(held, 5)
    fail(monkeypatch, LedgerError)
    give(held, 5)
    assert numbers(held.look(ALL, 100)) == list(range(1, 11))
    again = stores(tmp_path)
    again.open()
    give(again, 1)
    *before, gap, new = again.look(ALL, 100)
    assert numbers(before) == [1, 2, 3, 4, 5]
    assert isinstance(gap, Gap)
    assert gap.first == 6
    assert isinstance(new, Row)
    assert new.seq == gap.last + 1 > 10


def test_numbers_go_on_after_memory_was_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all is in the file again, a restart counts on without a gap."""
    held = stores(tmp_path)
    held.open()
    fail(monkeypatch, LedgerError)
    give(held, 3)
    held._retry_at = 0
    held.tend()
    assert held.trouble == ""
    again = stores(tmp_path)
    again.open()
    give(again, 1)
    assert numbers(again.look(ALL, 100)) == [1, 2, 3, 4]


def test_damage_found_while_writing_makes_no_gap_of_what_never_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repaired file goes on where the damaged one was, and the next repair loses nothing of it."""
    held = stores(tmp_path)
    held.open()
    give(held, 5)
    fail(monkeypatch, DamagedLedgerError)
    give(held, 1)
    give(held, 1)
    assert numbers(held.look(ALL, 100)) == [1, 2, 3, 4, 5, 6, 7]
    held._main.damaged = True
    held.tend()
    assert numbers(held.look(ALL, 100)) == [1, 2, 3, 4, 5, 6, 7]


def test_what_a_late_file_holds_is_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that could not be opened at the start, with verdicts that nobody has: delivering begins behind them."""
    before = stores(tmp_path)
    before.open()
    give(before, 5)
    before.write(lambda _: ((), ()), Marks(2))
    before.close(())
    ledger = Ledger(tmp_path, PLENTY)
    held = ledger._stores
    look_through = MainFile.look_through
    monkeypatch.setattr(MainFile, "look_through", lambda _: (_ for _ in ()).throw(OSError(5, "EIO")))
    held.open()
    give(held, 2)
    ledger.delivered = held.last
    monkeypatch.setattr(MainFile, "look_through", look_through)
    held._retry_at = 0
    held.tend()
    assert held.backlog == 2
    ledger._go_back(held.backlog)
    ledger.delivered = held.last  # Who delivers has not heard of it yet.
    assert ledger.take_backlog() == ledger.delivered == 2
    waiting = numbers(ledger.take(2, 100))
    assert waiting[:3] == [3, 4, 5]
    assert waiting[-2:] == [held.last - 1, held.last]
    ledger.close(1)


class Slow(Ledger):
    """Lets others act when it has been asked whether delivering has to go back."""

    def __init__(self, folder: Path) -> None:
        self.asked, self.gone_back = threading.Event(), threading.Event()
        self.pausing = False
        self._value: int | None = None
        super().__init__(folder, PLENTY)

    @property
    def _backlog(self) -> int | None:
        value = self._value
        if self.pausing:
            self.asked.set()
            self.gone_back.wait(0.5)  # As long as this thread asks nobody may go back: it runs into its end.
        return value

    @_backlog.setter
    def _backlog(self, value: int | None) -> None:
        self._value = value


def test_whoever_delivers_hides_no_late_file(tmp_path: Path) -> None:
    """How far it is, told just while the file is opened, is no mark for the verdicts in it."""
    ledger = Slow(tmp_path)
    ledger.pausing = True
    sender = threading.Thread(target=setattr, args=(ledger, "delivered", 1_105))
    sender.start()
    assert ledger.asked.wait(10)
    ledger._go_back(0)
    ledger.gone_back.set()
    sender.join()
    ledger.pausing = False
    assert (ledger.delivered, ledger.take_backlog()) == (0, 0)
    ledger.close(1)


def test_an_end_while_in_memory_tells_what_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk takes at the last moment is kept; what it does not is counted, without what the broker has."""
    for refusals, lost in ((1, 0), (100, 3)):
        held = stores(tmp_path / str(lost))
        (tmp_path / str(lost)).mkdir()
        held.open()
        give(held, 5)
        with monkeypatch.context() as broken:
            fail(broken, LedgerError, refusals)
            give(held, 5)
            held.marks = Marks(7)
            assert held.close(()) == lost
        kept = Store(tmp_path / str(lost) / "ledger.db", read_only=True)
        assert kept.newest(1 << 40, 1)[0].seq == (5 if lost else 10)
        kept.close()


def test_a_gap_that_was_read_does_not_grow(tmp_path: Path) -> None:
    """What is shed behind one that was told already is a gap of its own, and is told."""
    store = Store(tmp_path / "l.db")
    store.add(row(seq) for seq in range(1, 301))
    store.remove(Span(0, 300), Verdict.PASS, 100, "shed")
    told = store.read(ALL, 1)
    assert numbers(told) == [(1, 100)]
    store.remove(Span(100, 300), Verdict.PASS, 100, "shed")
    assert numbers(store.read(Span(100, 300), 1)) == [(101, 200)]
    store.close()


def test_a_look_that_fails_is_no_lasting_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status names it until the next look succeeds."""
    held = stores(tmp_path)
    held.open()
    give(held, 3)
    with monkeypatch.context() as broken:
        broken.setattr(Store, "read", lambda *_: (_ for _ in ()).throw(LedgerError("disk I/O error")))
        assert held.look(ALL, 10) == []
        assert held.trouble == "disk I/O error"
    assert numbers(held.look(ALL, 10)) == [1, 2, 3]
    assert held.trouble == ""


def test_no_error_of_a_disk_ends_the_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a repair within a write meets what SQLite never told of, verdicts go on from memory, and back later."""
    held = stores(tmp_path)
    held.open()
    give(held, 5)
    with monkeypatch.context() as broken:
        fail(broken, DamagedLedgerError)
        broken.setattr("edge.ledger.place._is_whole", lambda _: (_ for _ in ()).throw(OSError(5, "EIO")))
        give(held, 3)
    assert "EIO" in held.trouble
    assert held.in_memory
    held._retry_at = 0
    held.tend()
    assert (numbers(held.look(ALL, 100)), held.trouble) == (list(range(1, 9)), "")
    held.close(())
