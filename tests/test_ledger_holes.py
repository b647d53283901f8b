"""No number is passed over in silence, and none is called lost that is not, whatever life the ledger has had."""

from __future__ import annotations

import random
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import event, row
from test_ledger_salvage import crash

from edge.contract.messages import Gap, Verdict
from edge.errors import LedgerError
from edge.ledger import stores as stores_module
from edge.ledger.ledger import numbered
from edge.ledger.mainfile import MainFile
from edge.ledger.retention import Retention
from edge.ledger.rows import DAMAGED, Marks, Row, first_of, last_of, without_holes
from edge.ledger.store import Span, Store
from edge.ledger.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("killed")

PLENTY = 64 << 20
ALL = Span(0, 1 << 40)


def opened(folder: Path, budget: int = PLENTY) -> Stores:
    """Open a ledger's stores."""
    held = Stores(MainFile(folder / "ledger.db"), budget, Retention())
    held.open()
    return held


def numbers(entries: list[Row | Gap]) -> list[int | tuple[int, int]]:
    """Return an entry's number or numbers, each."""
    return [entry.seq if isinstance(entry, Row) else (entry.first, entry.last) for entry in entries]


@given(st.data())
def test_all_numbers_are_stood_for_once(data: st.DataObject) -> None:
    """Whatever entries there are, each number of the span is one's or a gap's, and entries stay as they are."""
    after, upto = sorted(data.draw(st.tuples(*[st.integers(0, 30)] * 2)))
    firsts = sorted(data.draw(st.sets(st.integers(1, 40))))
    lasts = [data.draw(st.integers(first, behind - 1)) for first, behind in pairwise([*firsts, 50])]
    entries = [
        Gap(first=first, last=last, reason="shed", verdicts={}) if data.draw(st.booleans()) else Row(first, PASS, b"")
        for first, last in zip(firsts, lasts, strict=True)
    ]
    whole = list(without_holes(entries, after, upto))
    assert [entry for entry in whole if not isinstance(entry, Gap) or entry.reason != DAMAGED] == entries
    there = [n for entry in whole for n in range(first_of(entry), last_of(entry) + 1)]
    assert there == sorted(set(there))
    assert set(there) >= set(range(after + 1, upto + 1))
    assert all(after < gap.first for gap in whole if isinstance(gap, Gap) and gap.reason == DAMAGED)


PASS = Verdict.PASS


def vanish(held: Stores, where: str) -> Stores:
    """Have verdicts be gone without a trace and return the ledger, opened again."""
    held.close(())
    other = Store(held._main.path)
    other._all("PRAGMA secure_delete = ON")
    other._all(f"DELETE FROM event WHERE {where}")  # noqa: S608 - the test's own
    other.close()
    return opened(held._main.path.parent)


def test_what_vanished_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rows that are gone from the front and the middle are gaps to whoever delivers, after a repair sought them.

    Where nothing was delivered a repair does not know that there was a front: it is sought once, and told as missing.
    """
    held = opened(tmp_path)
    held.write(lambda _: ([row(seq) for seq in range(1, 101)], []))
    held = vanish(held, "seq <= 3 OR seq BETWEEN 40 AND 49")
    assert held.take(0, 200) == []
    held.tend()
    for _ in range(2):
        found = held.take(0, 200)
        assert [numbers([gap])[0] for gap in found if isinstance(gap, Gap)] == [(1, 3), (40, 49)]
        assert {gap.reason for gap in found if isinstance(gap, Gap)} == {DAMAGED}
        assert len(found) == 2 + 87
    repaired, missing = (record.message for record in caplog.records)
    assert "87 verdicts were read" in repaired
    assert missing.endswith("verdicts 1 to 3 are not there any more")
    assert [each.name for each in tmp_path.glob("ledger-damaged-*.db")] == ["ledger-damaged-1.db"]
    assert numbers(held.take(30, 5)) == [31, 32, 33, 34, 35]
    held.close(())


def test_in_doubt_nothing_is_called_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the file is damaged or not open what is not read may be there: no gap."""
    held = opened(tmp_path)
    held.write(lambda _: ([row(seq) for seq in range(1, 11)], []))
    held._main.damaged = True
    assert held.take(0, 100) == []
    held.tend()
    assert numbers(held.take(0, 100)) == list(range(1, 11))
    with monkeypatch.context() as broken:
        broken.setattr(Store, "read", lambda *_: (_ for _ in ()).throw(LedgerError("disk I/O error")))
        assert held.take(0, 100) == []
    held.close(())
    late = Stores(MainFile(tmp_path / "ledger.db"), PLENTY, Retention())
    monkeypatch.setattr(MainFile, "look_through", lambda _: (_ for _ in ()).throw(OSError(5, "EIO")))
    late.open()
    late.write(lambda first: ([row(first)], []))
    assert len(late.take(0, 100)) == 1


def test_a_gap_that_was_delivered_does_not_grow(tmp_path: Path) -> None:
    """What is shed on its way to the disk is told, though a gap just before it is with the broker."""
    held = opened(tmp_path)
    for _ in range(2):
        held.write(lambda first: ([], [Gap(first=first, last=first, reason="shed", verdicts={PASS: 1})]))
        assert numbers(held.take(held.last - 1, 10)) == [(held.last, held.last)]
        held.marks = Marks(held.last)
    held.close(())


def test_gaps_stay_apart_where_delivery_stands(tmp_path: Path) -> None:
    """Between a gap that was delivered and one that was not neither a move from memory nor a repair takes the end."""
    held = opened(tmp_path)
    held._fall_back(OSError("no disk"))
    for _ in range(2):
        held.write(lambda first: numbered([PASS, PASS], first, 0))
        held.take(held.last - 2, 10)
    held.marks = Marks(2)
    held.tend()
    held._retry_at = 0
    held.tend()
    assert held.trouble == ""
    for _ in range(2):
        assert numbers(held.take(2, 10)) == [(3, 4)]
        held._main.damaged = True
        held.tend()
    held.close(())


@pytest.mark.parametrize("how", ["shed", "expired"])
def test_what_went_without_a_gap_is_not_missed_after_a_kill(tmp_path: Path, how: str) -> None:
    """The mark on the disk covers what was removed as delivered, though nobody had written it by then."""
    held = opened(tmp_path / "a" if (tmp_path / "a").mkdir() is None else tmp_path)
    held.write(lambda _: ([row(seq, labels=100) for seq in range(1, 201)], []))
    held.marks = Marks(150)
    if how == "shed":
        held._shed(held._main.open(), 60_000)
    else:
        held._retention.upto = 150
        held.tend()
    (tmp_path / "b").mkdir()
    crash(tmp_path / "a" / "ledger.db", tmp_path / "b" / "ledger.db")
    again = opened(tmp_path / "b")
    assert again.marks.delivered == 150
    assert first_of(again.take(150, 1)[0]) == 151
    for each in (held, again):
        each.close(())


def test_a_kill_after_a_late_opening_hides_no_backlog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What memory knew was delivered, before the file could be opened, is no mark for the verdicts in that file."""
    before = opened(tmp_path)
    before.write(lambda _: ([row(seq) for seq in range(1, 11)], []), Marks(4))
    before.close(())
    with monkeypatch.context() as broken:
        broken.setattr(MainFile, "look_through", lambda _: (_ for _ in ()).throw(OSError(5, "EIO")))
        late = opened(tmp_path)
    for _ in range(2):
        late.write(lambda first: numbered([event()], first, first - 1))
        late.marks = Marks(late.last)
    late.tend()
    assert (late.trouble, late.backlog) == ("", 4)
    (tmp_path / "b").mkdir()
    crash(tmp_path / "ledger.db", tmp_path / "b" / "ledger.db")
    again = opened(tmp_path / "b")
    assert again.marks.delivered == 4
    assert first_of(again.take(4, 1)[0]) == 5
    for each in (late, again):
        each.close(())


def test_what_is_being_written_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts that come while one looks are found by the next look, not called lost by this one."""
    held = opened(tmp_path)
    held.write(lambda _: ([row(1)], []))
    read = Store.read

    def slowly(self: Store, *asked: Any) -> Any:
        found = read(self, *asked)
        held.write(lambda first: ([row(first)], []))
        return found

    with monkeypatch.context() as busy:
        busy.setattr(Store, "read", slowly)
        assert numbers(held.take(0, 10)) == [1]
    assert numbers(held.take(0, 10)) == [1, 2]
    held.close(())


class Life:
    """A ledger that is written, delivered, shed, killed and opened anew, with what a broker would have got of it."""

    def __init__(self, folder: Path, dice: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.dice, self.monkeypatch = folder, dice, monkeypatch
        self.count = 0
        self.lives: list[Stores] = []
        self.refused = False
        add = Store.add

        def adding(store: Store, *entries: Any) -> None:
            if self.refused and store._name != ":memory:":
                raise LedgerError("the disk says no")
            add(store, *entries)

        monkeypatch.setattr(Store, "add", adding)
        self.begin()

    def begin(self, *, late: bool = False) -> None:
        """Open what the last life left."""
        (self.folder / str(self.count)).mkdir(exist_ok=True)
        self.held = Stores(MainFile(self.folder / str(self.count) / "ledger.db"), 120_000, Retention())
        self.lives.append(self.held)
        with self.monkeypatch.context() as broken:
            if late:
                broken.setattr(MainFile, "look_through", lambda _: (_ for _ in ()).throw(OSError(5, "EIO")))
            self.held.open()
        self.read = self.delivered = self.held.marks.delivered

    def give(self) -> None:
        kinds = self.dice.choices([*Verdict], [6, 1, 2], k=self.dice.randrange(1, 120))
        items = [kind if self.dice.random() < 0.02 else event(verdict=kind, labels=30) for kind in kinds]
        delivered = self.delivered
        self.held.write(lambda first: numbered(items, first, delivered))
        self.held.marks = self.held.marks.further(Marks(delivered))

    def take(self) -> None:
        for entry in self.held.take(self.read, self.dice.randrange(1, 100)):
            self.read = max(self.read, last_of(entry))
            if self.dice.random() < 0.7 and self.held.backlog is None:
                self.delivered = max(self.delivered, self.read)

    def tend(self) -> None:
        self.held._retry_at = 0
        self.held._retention.upto = self.delivered if self.dice.random() < 0.3 else 0
        self.held.tend()
        if self.held.backlog is not None:
            self.read = self.delivered = self.held.backlog
            self.held.backlog = None

    def mark(self) -> None:
        self.held.write(lambda _: ((), ()), self.held.marks.further(Marks(self.delivered)))

    def refuse(self) -> None:
        self.refused = True
        self.give()
        self.take()
        self.refused = False

    def repair(self) -> None:
        if self.held._main.store is not None:
            self.held._main.damaged = True

    def kill(self) -> None:
        if self.held._shelf.spare is None and not self.held._main.damaged:
            old, self.count = self.folder / str(self.count), self.count + 1
            shutil.copytree(old, self.folder / str(self.count))
            self.begin(late=self.dice.random() < 0.3)

    def end(self) -> None:
        self.held.marks = self.held.marks.further(Marks(self.delivered))
        self.held.close(())
        self.begin(late=self.dice.random() < 0.3)


@pytest.mark.parametrize("seed", range(40))
def test_no_life_makes_a_false_gap(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shedding, expiry, memory, repairs, kills, late openings, in any order: nothing is missing that was not told."""
    monkeypatch.setattr(stores_module, "SPARE_BYTES", 40_000)
    dice = random.Random(seed)  # noqa: S311 - a life, not a secret
    life = Life(tmp_path, dice, monkeypatch)
    acts: list[Callable[[], None]] = [life.give, life.take, life.tend, life.mark, life.refuse, life.repair]
    for _ in range(120):
        dice.choices([*acts, life.kill, life.end], [8, 8, 8, 2, 1, 0.3, 1, 1])[0]()
    assert life.held.last > 1_000
    assert [each._shelf.missed for each in life.lives] == [0] * len(life.lives)
    for each in life.lives:
        each.close(())
