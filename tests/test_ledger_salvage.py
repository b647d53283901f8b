"""What is read of ledgers that were damaged."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from ledger_samples import make_ledger, row

from edge.contract.messages import Gap, Verdict
from edge.errors import DamagedLedgerError
from edge.ledger.mainfile import MainFile
from edge.ledger.numbers import Numbers
from edge.ledger.reading import newest, opened
from edge.ledger.repair import repair
from edge.ledger.retention import Retention
from edge.ledger.rows import DAMAGED, Marks, Row, first_of, last_of, pack_row
from edge.ledger.salvage import salvage
from edge.ledger.store import Span, Store
from edge.ledger.stores import Stores
from edge.ledger.wal import FRAME_BYTES, HEADER_BYTES, PAGE, index_of, is_whole, log_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("killed")

ALL = Span(0, 1 << 60)


def test_a_whole_file_is_read_to_the_last_row(tmp_path: Path) -> None:
    """Rows within a page and rows over many, gaps and marks: all come back as they were written."""
    rows = make_ledger(tmp_path / "l.db", 1_000)
    store = Store(tmp_path / "l.db")
    gap = Gap(first=1_001, last=1_004, reason="shed", verdicts={Verdict.PASS: 4})
    store.add((), [gap], Marks(700))
    store.close()
    found = list(salvage(tmp_path / "l.db"))
    assert sorted((r for r in found if isinstance(r, Row)), key=last_of) == rows
    assert [entry for entry in found if isinstance(entry, Gap)] == [gap]
    assert [entry for entry in found if isinstance(entry, Marks)] == [Marks(700)]


def test_rows_of_the_log_are_read(tmp_path: Path) -> None:
    """What only the write-ahead log holds, as after a crash, is read too."""
    store = Store(tmp_path / "l.db")
    rows = [row(seq, labels=2 if seq % 20 else 200) for seq in range(1, 100)]
    store.add(rows)
    copy = tmp_path / "copy.db"
    shutil.copy(tmp_path / "l.db", copy)
    shutil.copy(log_of(tmp_path / "l.db"), log_of(copy))
    store.close()
    assert is_whole(copy)
    assert set(map(str, salvage(copy))) >= {str(r) for r in rows}


def test_what_the_log_kept_of_its_earlier_use_hides_no_row(tmp_path: Path) -> None:
    """Pages that the log had before it began anew are not taken for those of rows that are larger than a page."""
    path, copy = tmp_path / "l.db", tmp_path / "copy.db"
    store = Store(path)
    for seq in range(1, 41):
        store.add([row(seq, labels=200)])
    store.checkpoint()
    store.add([row(41)])
    store.forget(20)
    store.checkpoint()
    for seq in range(42, 52):
        store.add([row(seq, labels=200)])
    store.checkpoint()
    store.add([row(52)])
    crash(path, copy)
    rows = store.read(ALL, 100)
    store.close()
    for damaged in (False, True):
        if damaged:
            flip(log_of(copy), 17)  # The head's salts, by which the log's present use is known.
        assert {*map(str, salvage(copy))} >= {*map(str, rows)}


def test_the_newest_state_is_kept(tmp_path: Path) -> None:
    """Of a row's states in the log's present use, in the file and in what the log had before, the newest is kept."""
    path, copy = tmp_path / "l.db", tmp_path / "copy.db"
    states = [row(5, labels=labels) for labels in range(1, 5)]
    store = Store(path)
    store.add([*(row(seq) for seq in range(1, 5)), states[0]])
    for number, state in enumerate(states):
        if number == 2:
            store.checkpoint()
        store._all("UPDATE event SET body = ? WHERE seq = 5", pack_row(state))
    crash(path, copy)
    store.close()
    found = [entry for entry in salvage(copy) if isinstance(entry, Row) and entry.seq == 5]
    assert found[0] == states[-1]
    assert set(map(str, found)) > {str(states[-1])}
    repair(copy, 0)
    repaired = Store(copy)
    assert repaired.newest(6, 1) == [states[-1]]
    repaired.close()


def test_a_torn_frame_is_no_damage_and_a_lost_one_is(tmp_path: Path) -> None:
    """What a kill leaves behind the last commit is an end; the same damage within what was committed is noticed."""
    store, copy = Store(tmp_path / "l.db"), tmp_path / "copy.db"
    store.add(row(seq) for seq in range(1, 400))
    store.checkpoint()
    store.add(row(seq) for seq in range(400, 450))
    for path in (store_file := tmp_path / "l.db", log_of(store_file), index_of(store_file)):
        shutil.copy(path, path.with_name(path.name.replace("l.db", "copy.db")))
    store.close()
    log = bytearray(log_of(copy).read_bytes())
    frames = range(HEADER_BYTES, len(log), FRAME_BYTES)
    end = next(at for at in frames if log[at + 8 : at + 16] != log[16:24])
    assert is_whole(copy)
    torn = log[:]
    torn[end : end + 24] = log[end - FRAME_BYTES : end - FRAME_BYTES + 24]
    for content, whole in (
        (torn, True),
        (log[: end + 24], True),
        (log[: end - FRAME_BYTES], False),
        (log[: end - 1] + bytes([log[end - 1] ^ 1]) + log[end:], False),
    ):
        log_of(copy).write_bytes(content)
        assert is_whole(copy) is whole
    log_of(copy).write_bytes(torn)
    assert Store(copy, read_only=True).last == 449


def crash(path: Path, to: Path) -> None:
    """Copy a ledger that is in use, as a kill leaves it."""
    for each, copy in ((path, to), (log_of(path), log_of(to)), (index_of(path), index_of(to))):
        shutil.copy(each, copy)


def flip(path: Path, at: int) -> None:
    """Change a bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_damage_is_noticed_where_the_index_is_old(tmp_path: Path) -> None:
    """An index that a power cut left behind the log does not hide a broken frame that others were committed behind."""
    store, copy = Store(tmp_path / "l.db"), tmp_path / "copy.db"
    for seq in range(1, 20):
        store.add([row(seq)])
    old = index_of(tmp_path / "l.db").read_bytes()
    for seq in range(20, 60):
        store.add([row(seq)])
    crash(tmp_path / "l.db", copy)
    store.close()
    index_of(copy).write_bytes(old)
    assert is_whole(copy)
    flip(log_of(copy), HEADER_BYTES + 60 * FRAME_BYTES + 100)
    assert not is_whole(copy)


def test_a_log_that_is_gone_is_damage(tmp_path: Path) -> None:
    """Without its log, or with less than its head, a ledger is damaged if the index knows of pages only there."""
    store, copy = Store(tmp_path / "l.db"), tmp_path / "copy.db"
    store.add(row(seq) for seq in range(1, 60))
    crash(tmp_path / "l.db", copy)
    log = log_of(copy).read_bytes()
    for kept in (0, 20, HEADER_BYTES, HEADER_BYTES + 100):
        log_of(copy).write_bytes(log[:kept])
        assert not is_whole(copy), kept
    log_of(copy).unlink()
    assert not is_whole(copy)
    store.checkpoint()
    shutil.copy(index_of(tmp_path / "l.db"), index_of(copy))
    store.close()
    assert is_whole(copy)


def test_a_transaction_given_up_is_no_damage(tmp_path: Path) -> None:
    """What a transaction wrote to the log before it was rolled back, as on a full disk, is not taken for commits."""
    store, copy = Store(tmp_path / "l.db"), tmp_path / "copy.db"
    store._all("BEGIN")
    for seq in range(1, 3_000):  # More than the cache holds.
        store._all("INSERT INTO event VALUES (?, 0, ?)", seq, bytes(500))
    store._all("ROLLBACK")
    store.add([row(1)])
    crash(tmp_path / "l.db", copy)
    store.close()
    log = log_of(copy).read_bytes()
    last = HEADER_BYTES + (len(log) - HEADER_BYTES) // FRAME_BYTES * FRAME_BYTES - FRAME_BYTES
    assert log[last + 8 : last + 16] == log[16:24]
    assert is_whole(copy)
    index_of(copy).unlink()
    assert is_whole(copy)


def damage(path: Path, dice: random.Random) -> None:
    """Flip a bit, blank a page or cut the end off, somewhere in a file or its log."""
    victim = dice.choice([each for each in (path, log_of(path)) if each.exists() and each.stat().st_size])
    data = bytearray(victim.read_bytes())
    at = dice.randrange(len(data))
    match dice.choice(["flip", "blank", "cut"]):
        case "flip":
            data[at] ^= 1 << dice.randrange(8)
        case "blank":
            data[at : at + PAGE] = bytes(len(data[at : at + PAGE]))
        case "cut":
            del data[at:]
    victim.write_bytes(data)


def copy_open(path: Path, to: Path) -> None:
    """Copy a ledger that is in use, as a crash leaves it."""
    shutil.copy(path, to)
    shutil.copy(log_of(path), log_of(to))


@pytest.mark.parametrize("seed", range(200))
def test_a_repair_keeps_what_can_be_read(tmp_path: Path, seed: int) -> None:
    """After a random damage all rows on pages that are whole are there, exact, and the rest are gaps."""
    dice = random.Random(seed)  # noqa: S311 - damage, not a secret
    path, crashed = tmp_path / "l.db", tmp_path / "crashed.db"
    rows = make_ledger(path, 500)
    store = Store(path)
    store.add(rows_behind := [row(seq) for seq in range(501, 560)])
    copy_open(path, crashed)
    store.close()
    damage(crashed, dice)
    found = {crashed: crashed.read_bytes(), log_of(crashed): log_of(crashed).read_bytes()}
    repair(crashed, 0)
    repaired = Store(crashed)
    entries = repaired.read(ALL, 10_000)
    repaired.close()
    given = {entry.seq: entry for entry in (*rows, *rows_behind)}
    assert all(given[entry.seq] == entry for entry in entries if isinstance(entry, Row))
    assert all(entry.reason == DAMAGED for entry in entries if isinstance(entry, Gap))
    first = [entry.seq if isinstance(entry, Row) else entry.first for entry in entries]
    assert all(last_of(one) + 1 == next_first for one, next_first in zip(entries, first[1:], strict=False))
    assert {path.read_bytes() for path in tmp_path.glob("crashed-damaged-1.db*")} == set(found.values())


@pytest.mark.parametrize("seed", range(200))
def test_a_start_accounts_for_the_last_verdict(tmp_path: Path, seed: int) -> None:
    """After a random damage, looked at before or not, each number up to the last is a verdict's or a gap's.

    Without the index the log's lost end looks like a kill's; without the claimed numbers no gap knows how far to go.
    """
    dice = random.Random(seed)  # noqa: S311 - damage, not a secret
    path, crashed = tmp_path / "l.db", tmp_path / "crashed.db"
    make_ledger(path, 100)
    store = Store(path)
    for start in range(101, 151, 10):
        store.add(row(seq) for seq in range(start, start + 10))
    has_index, has_numbers, is_looked_at = (dice.random() < 0.5 for _ in range(3))
    (crash if has_index else copy_open)(path, crashed)
    store.close()
    if has_numbers:
        Numbers(crashed.with_suffix(".numbers")).cover(150)
    damage(crashed, dice)
    if is_looked_at:
        with suppress(DamagedLedgerError), opened(crashed) as reader:
            newest(reader, Span(0, reader.last), 20, None)
    stores = Stores(MainFile(crashed), 10 << 20, Retention())
    stores.open()
    if not (entries := stores.take(0, 10_000)):  # What is missing is sought first.
        stores.tend()
        entries = stores.take(0, 10_000)
    stores.close(())
    is_noticed = crashed.with_name("crashed-damaged-1.db").exists()
    assert stores.trouble == ""
    if has_numbers and (has_index or is_noticed):
        assert last_of(entries[-1]) >= 150
    elif has_index:
        assert is_noticed or last_of(entries[-1]) == 150
    first = [entry.seq if isinstance(entry, Row) else entry.first for entry in entries]
    assert all(last_of(one) + 1 == next_first for one, next_first in zip(entries, first[1:], strict=False))


def test_a_log_that_is_cut_in_use_is_damage(tmp_path: Path) -> None:
    """What the system reads less of than is in it is no disk that refuses: it is repaired, and the rest are gaps."""
    stores = Stores(MainFile(tmp_path / "l.db"), 10 << 20, Retention())
    stores.open()
    for _ in range(6):
        stores.write(lambda first: ([row(seq) for seq in range(first, first + 10)], []))
    with log_of(tmp_path / "l.db").open("r+b") as log:
        log.truncate(HEADER_BYTES + 20 * FRAME_BYTES)
    assert stores.take(0, 100) == []
    assert stores.trouble == ""
    stores.tend()
    entries = stores.take(0, 100)
    assert (tmp_path / "l-damaged-1.db").exists()
    assert [seq for each in entries for seq in range(first_of(each), last_of(each) + 1)] == list(range(1, 61))
    assert any(isinstance(each, Row) for each in entries)
    stores.write(lambda first: ([row(first)], []))
    assert stores.close(()) == 0
