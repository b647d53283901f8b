"""One bit of a ledger that decayed, where SQLite does not see it: in what leads to rows, says what they are, or counts.

By "Database File Format", sqlite.org/fileformat2.html: 1.6 B-tree pages, 2.1 record format.
"""

from __future__ import annotations

import random
import signal
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import pytest
from device import assert_one_clear_line, run_inspect
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import audit, row
from test_ledger_holes import numbers, vanish
from test_ledger_holes import opened as held_in

from edge.contract.messages import Gap, Verdict
from edge.errors import DamagedLedgerError
from edge.ledger.mainfile import MainFile
from edge.ledger.numbers import Numbers
from edge.ledger.reading import entries, newest, opened
from edge.ledger.retention import Retention
from edge.ledger.rows import VERDICTS, Marks, Row, first_of, last_of, need_order, pack, pack_row, unpack
from edge.ledger.store import Span, Store
from edge.ledger.stores import Stores
from edge.ledger.verify import verify
from edge.ledger.wal import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LAST = 33
DELIVERED = 2
SHED = Gap(first=11, last=13, reason="shed", verdicts={})
ROWS = {
    seq: row(seq, VERDICTS[seq % 3], labels=60 if seq in (7, 20) else 2)
    for seq in range(1, LAST + 1)
    if not SHED.first <= seq <= SHED.last
}
INTERIOR, LEAF = 5, 13
SAMPLE = 120
"""Of each kind of place; `make soak` tries them all."""
ROUNDS = 40
"""Takes, and looks after the file, in which all has arrived."""
SECONDS = 5


class _HangError(BaseException):
    """Not an OSError, which what hangs might catch."""


@contextmanager
def ending() -> Iterator[None]:
    """Raise an error where something does not end."""

    def ring(*_: object) -> None:
        raise _HangError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a ledger's file as an orderly end leaves it."""
    path = tmp_path_factory.mktemp("sound") / "ledger.db"
    store = Store(path)
    store.add(ROWS.values(), [SHED], Marks(DELIVERED), [audit("one")])
    store.close()
    return path.read_bytes()


def varint(data: bytes, at: int) -> int:
    """Return where a number of 1 to 9 bytes ends."""
    return next((at + n + 1 for n in range(8) if data[at + n] < 128), at + 9)


def cells(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each cell's kind of page and where it begins, but for those of the schema."""
    for page in range(PAGE, len(data), PAGE):
        if (kind := data[page]) in (INTERIOR, LEAF):
            head = 12 if kind == INTERIOR else 8
            for number in range(int.from_bytes(data[page + 3 : page + 5])):
                at = page + head + 2 * number
                yield kind, page + int.from_bytes(data[at : at + 2])


def places(data: bytes) -> dict[str, list[int]]:
    """Return bytes of the file by what is there."""
    inner = [(at + 4, varint(data, at + 4)) for kind, at in cells(data) if kind == INTERIOR]
    leaves = [(at, varint(data, at)) for kind, at in cells(data) if kind == LEAF]
    heads = [(number, varint(data, number)) for _, number in leaves]
    return {
        "schema": list(range(PAGE)),
        "inner key": [each for begin, end in inner for each in range(begin, end)],
        "child": [each for begin, _ in inner for each in range(begin - 4, begin)],
        "leaf key": [each for begin, end in heads for each in range(begin, end)],
        "record's head": [each for _, begin in heads for each in range(begin, begin + data[begin] + 1)],
    }


def everything(held: Stores) -> list[Row | Gap]:
    """Take all that is there, as whoever delivers does."""
    after, found = held.marks.delivered, list[Row | Gap]()
    for _ in range(ROUNDS):
        batch = held.take(after, 7)
        if not batch:
            held._retry_at = 0
            held.tend()
            after = max(after, held.marks.delivered)
        found += batch
        after = max([after, *map(last_of, batch)])
    return found


def check_complete(found: list[Row | Gap]) -> None:
    """Have each number that the broker does not have be told, by its own verdict or as missing."""
    assert set(told(found)) >= set(range(DELIVERED + 1, LAST + 1))


def told(found: list[Row | Gap]) -> list[int]:
    """Return what numbers these stand for: in order, none twice, and verdicts are what they were."""
    numbers = [seq for each in found for seq in range(first_of(each), last_of(each) + 1)]
    assert numbers == sorted(set(numbers))
    assert all(each == ROWS[each.seq] for each in found if isinstance(each, Row) and each.seq <= LAST)
    return numbers


def lives(path: Path) -> int:
    """Look at a ledger, then let two daemons have it, one after the other; returns how many verdicts are lost."""
    with suppress(DamagedLedgerError), opened(path) as store:
        newest(store, Span(0, store.last), 20, None)
        told(list(entries(store, Span(0, store.last))))
    verify(path, None)
    for _ in range(2):
        held = Stores(MainFile(path), 64 << 20, Retention())
        held.open()
        found = everything(held)
        check_complete(found)
        held.write(lambda first: ([row(first)], []))
        found += held.take(last_of(found[-1]), 1)
        assert (held.trouble, last_of(found[-1])) == ("", held.last)
        assert [each.seq for each in held.newest(held.last + 1, 3, None)][:1] == [held.last]
        held.close(())
    return len({seq for seq in ROWS if seq > DELIVERED} - {each.seq for each in found if isinstance(each, Row)})


@pytest.mark.parametrize("number", [None, -1, 1 << 64, 1.0, b"1"])
def test_what_is_no_number_is_damage(number: Any) -> None:
    """A row without a number of its own is refused like one whose checksum is not right."""
    with pytest.raises(DamagedLedgerError, match="its number"):
        unpack(number, pack(1, b"{}"))


@pytest.mark.parametrize("number", [-1, (1 << 63) - 1])
@pytest.mark.parametrize("table", ["event", "gap", "marks", "audit"])
def test_a_number_out_of_all_bounds_ends_nothing(tmp_path: Path, table: str, number: int) -> None:
    """A start takes it for damage, wherever it is, and repairs the ledger; no verdict is lost but its own."""
    path = tmp_path / "ledger.db"
    store = Store(path)
    store.add(ROWS.values(), [SHED], Marks(DELIVERED), [audit("one")])
    store._all(f"UPDATE {table} SET rowid = {number} ORDER BY rowid LIMIT 1")  # noqa: S608 - the test's own
    store.close()
    Numbers(path.with_suffix(".numbers")).cover(LAST)
    for _ in range(2):
        held = Stores(MainFile(path), 64 << 20, Retention())
        held.open()
        held.write(lambda first: ([row(first)], []), None, [audit("two")])
        found = everything(held)
        check_complete(found)
        assert (held.trouble, last_of(found[-1])) == ("", held.last)
        held.close(())
    assert len([each for each in found if isinstance(each, Row) and each.seq <= LAST]) >= LAST - DELIVERED - 4


@pytest.mark.parametrize("table", ["event", "gap", "marks", "audit"])
def test_words_of_sqlite_that_quote_the_file_are_damage(tmp_path: Path, sound: bytes, table: str) -> None:
    """Where the name of a table is not even a text any more, SQLite's message is not either, and a repair follows."""
    path = tmp_path / "ledger.db"
    at = sound.index(f"table{table}{table}".encode()) + len("table")
    path.write_bytes(sound[:at] + b"\xff" + sound[at + 1 :])
    Numbers(path.with_suffix(".numbers")).cover(LAST)
    assert lives(path) == 0


@given(st.lists(st.one_of(st.none(), st.integers(-1, 9)), max_size=5), st.integers(-1, 9), st.integers(-1, 9))
def test_what_is_found_out_of_order_is_damage(found: list[int | None], after: int, upto: int) -> None:
    """Only numbers that rise, and lie within what was asked, are let by."""
    numbers = [number for number in found if number is not None and after < number <= upto]
    is_right = numbers == found == sorted(set(numbers))
    with nullcontext() if is_right else pytest.raises(DamagedLedgerError):
        need_order([(number, b"") for number in found], after, upto)


def test_a_command_ends_where_rows_lead_back(tmp_path: Path, sound: bytes) -> None:
    """Where a page's neighbour is itself again, each command ends with one line that says so."""
    path = tmp_path / "ledger.db"
    inner = next(at for kind, at in cells(sound) if kind == INTERIOR)
    second = sound[inner - 5 : inner - 1]  # Cells are written from a page's end on: the child of the one behind it.
    path.write_bytes(sound[:inner] + second + sound[inner + 4 :])
    done = run_inspect("ledger", "list", "-n", "100", "--ledger", path)
    assert_one_clear_line(done, 10, "is damaged", "edge-inspect ledger verify")
    done = run_inspect("ledger", "export", "--ledger", path, tmp_path / "all.csv")
    assert_one_clear_line(done, 10, "is damaged", "edge-inspect ledger verify")
    done = run_inspect("ledger", "verify", "--ledger", path)
    assert done.returncode == 10, done
    assert "is damaged, or what leads to it" in done.stdout


@pytest.mark.parametrize("kind", [0, 1, 3, 6])
def test_a_verdict_is_what_it_says_itself(tmp_path: Path, kind: int) -> None:
    """Where the column beside it decayed, a DEFECT is published as one, found as one, and not shed as a PASS."""
    rows, path = [row(seq, Verdict.DEFECT) for seq in range(1, 11)], tmp_path / "ledger.db"
    held = Stores(MainFile(path), 64 << 20, Retention())
    held.open()
    held.write(lambda _: (rows, []))
    store = held._main.open()
    store._all("UPDATE event SET verdict = ? WHERE seq = 5", kind)
    for verdict in VERDICTS[kind : kind + 1]:
        with pytest.raises(DamagedLedgerError, match="row 5 is damaged"):
            store.remove(Span(0, 10), verdict, 10, "shed")
    assert held.take(0, 100) == []
    held.tend()
    assert held.take(0, 100) == rows
    assert held.newest(6, 1, Verdict.DEFECT) == rows[4:5]
    held.close(())


def test_a_verdict_is_delivered_whose_column_is_gone(tmp_path: Path, sound: bytes) -> None:
    """Where one bit has SQLite find nothing in the column beside it, the verdict is whole, and is no gap."""
    path, at = tmp_path / "ledger.db", sound.index(pack_row(ROWS[9])) - 3
    assert sound[at] == 8  # What is 0 without a byte of its own; 0 is NULL.
    path.write_bytes(sound[:at] + b"\0" + sound[at + 1 :])
    assert lives(path) == 0
    with opened(path) as store:
        assert (store.nth_newest(Span(0, 9), 1), store.nth_newest(Span(0, 9), 1, Verdict.DEFECT)) == (9, 8)


def test_what_is_missing_among_later_verdicts_is_sought_too(tmp_path: Path) -> None:
    """Each hole has the file repaired once, and is told where it stays."""
    held = held_in(tmp_path)
    for times in (1, 2):
        held.write(lambda first: ([row(seq) for seq in range(first, first + 50)], []))
        held.marks = Marks(held.last - 20)
        held = vanish(held, f"seq BETWEEN {held.last - 9} AND {held.last - 5}")
        for _ in range(3):
            held.take(held.last - 20, 100)
            held.tend()
        held._main.open()._all("DELETE FROM gap")
        held.marks = Marks(held.last - 8)
        hole = (held.last - 7, held.last - 5)
        assert numbers(held.take(held.last - 20, 13))[9:12] == [held.last - 10, hole, held.last - 4]
        assert len(list(tmp_path.glob("ledger-damaged-*.db"))) == times
    held.close(())


@pytest.mark.parametrize("place", ["schema", "inner key", "child", "leaf key", "record's head"])
def test_one_bit_costs_one_verdict_at_most(
    tmp_path: Path, sound: bytes, place: str, figure: Callable[[str], None], *, soak: bool
) -> None:
    """Wherever it decays, a start ends, each number is told once and in order, and only the bit's own row is lost."""
    bits = [(at, bit) for at in places(sound)[place] for bit in range(8)]
    dice = random.Random(place)  # noqa: S311 - damage, not a secret
    chosen = bits if soak else dice.sample(bits, min(SAMPLE, len(bits)))
    repaired = 0
    for at, bit in chosen:
        folder = tmp_path / f"{at}-{bit}"
        folder.mkdir()
        path = folder / "ledger.db"
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << bit]) + sound[at + 1 :])
        Numbers(path.with_suffix(".numbers")).cover(LAST)
        with ending():
            lost = lives(path)
        assert lost <= (place in ("leaf key", "record's head")), (at, bit)
        repaired += path.with_name("ledger-damaged-1.db").exists()
    figure(f"{place}: {len(chosen)} of {len(bits)} bits, {repaired} of them repaired")
