"""Which numbers were used is remembered beside the ledger, whatever happens to it: none is given twice."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import make_ledger, row
from test_stores import ALL, fail, give, numbers, stores

from edge.contract.messages import Gap
from edge.errors import LedgerError
from edge.ledger.numbers import GROUP, Numbers
from edge.ledger.rows import DAMAGED, Row
from edge.ledger.store import Store
from edge.ledger.wal import PAGE, log_of

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.usefixtures("killed")


def test_without_any_known_number_none_is_given(tmp_path: Path) -> None:
    """Where neither the file nor the record beside it can be read, there is an error instead of a used number."""
    (tmp_path / "ledger.db").mkdir()
    (tmp_path / "ledger.numbers").mkdir()
    with pytest.raises(LedgerError, match="cannot be numbered"):
        stores(tmp_path).open()


@pytest.mark.parametrize("left", [None, b"", b"garbage" * 200])
def test_without_its_file_a_record_that_cannot_be_read_is_no_new_beginning(tmp_path: Path, left: bytes | None) -> None:
    """Where the file is gone, empty or damaged too, an error names the remedy; once done verdicts are taken."""
    if left is not None:
        (tmp_path / "ledger.db").write_bytes(left)
    (tmp_path / "ledger.numbers").mkdir()
    for _ in range(2):
        with pytest.raises(LedgerError, match="move it away: verdicts cannot be numbered"):
            stores(tmp_path).open()
    (tmp_path / "ledger.numbers").rmdir()
    held = stores(tmp_path)
    held.open()
    give(held, 1)
    assert (held.last, held.trouble) == (1, "")
    held.close(())


@pytest.mark.parametrize("record", [b"", b"x" * 32, None])
@pytest.mark.parametrize("left", ["ledger.db", "ledger.db-wal", "ledger.db.new"])
def test_behind_a_ledger_that_cannot_be_opened_no_number_is_guessed(
    tmp_path: Path, record: bytes | None, left: str
) -> None:
    """Where the record is damaged or gone too, an error says so; once the ledger opens numbers go on behind it."""
    made = Store(tmp_path / "made.db")
    made.add(row(seq) for seq in range(1, 101))
    shutil.copy(log_of(tmp_path / "made.db"), tmp_path / "ledger.db-wal")
    made.close()
    if left != "ledger.db-wal":
        (tmp_path / "ledger.db-wal").unlink()
        (tmp_path / "made.db").rename(tmp_path / left)
    if record is not None:
        (tmp_path / "ledger.numbers").write_bytes(record)
    (tmp_path / "ledger.db-shm").mkdir()
    for _ in range(2):
        with pytest.raises(LedgerError, match="no more can be numbered before it opens"):
            stores(tmp_path).open()
    (tmp_path / "ledger.db-shm").rmdir()
    held = stores(tmp_path)
    held.open()
    give(held, 1)
    assert numbers(held.look(ALL, 200)) == list(range(1, 102))
    held.close(())


def test_what_a_first_start_on_a_full_disk_leaves_holds_no_numbers(tmp_path: Path) -> None:
    """A ledger of one page and an empty record, as ext4 has them then: verdicts are taken."""
    (tmp_path / "ledger.db").write_bytes(bytes(PAGE))
    (tmp_path / "ledger.numbers").touch()
    (tmp_path / "ledger.db-shm").mkdir()
    held = stores(tmp_path)
    held.open()
    give(held, 1)
    assert held.last == 1
    assert "verdicts are kept in memory" in held.trouble


def test_verdicts_under_the_numbers_of_others_get_new_ones(tmp_path: Path) -> None:
    """A record older than a ledger that opens late: all of both are there, under the numbers that their JSON says."""
    before = make_ledger(tmp_path / "ledger.db", 1_400)
    Numbers(tmp_path / "ledger.numbers").cover(100)
    (tmp_path / "ledger.db-shm").mkdir()
    held = stores(tmp_path)
    held.open()
    give(held, 600)
    memory = held.take(0, 1_000)
    assert numbers(memory) == list(range(1_101, 1_701))
    (tmp_path / "ledger.db-shm").rmdir()
    held._retry_at = 0
    held.tend()
    give(held, 1)
    assert (held.trouble, held.backlog) == ("", 0)
    found = held.take(0, 3_000)
    assert found[:1_400] == before
    assert numbers(found) == [*range(1, 1_401), *range(1_401, 1_701), *range(1_701, 2_002)]
    rows = [each for each in found if isinstance(each, Row)]
    assert [json.loads(each.json)["seq"] for each in rows] == [each.seq for each in rows]
    given = {json.loads(each.json)["id"] for each in memory if isinstance(each, Row)}
    assert given == {json.loads(each.json)["id"] for each in rows[1_400:-1]}
    held.close(())


@pytest.mark.parametrize("lost", ["file", "log"])
def test_a_file_older_than_the_claims_gives_no_used_number(tmp_path: Path, lost: str) -> None:
    """After a copy came back, or the log of a killed daemon went, numbers go on behind the claims, and a gap tells."""
    held = stores(tmp_path)
    held.open()
    give(held, 100)
    if lost == "file":
        held.close(())
        (tmp_path / "ledger.db").rename(tmp_path / "older.db")
        shutil.copy(tmp_path / "older.db", tmp_path / "ledger.db")
        held = stores(tmp_path)
        held.open()
    else:
        held._main.open().checkpoint()
    for _ in range(5):
        give(held, GROUP)
    away = tmp_path / "away"
    away.mkdir()
    for name in ("ledger.db", "ledger.numbers"):
        shutil.copy(tmp_path / name, away)
    if lost == "file":
        shutil.copy(tmp_path / "older.db", away / "ledger.db")
    again = stores(away)
    again.open()
    give(again, 1)
    *before, gap, new = again.look(ALL, 5_000)
    assert numbers(before) == list(range(1, 101))
    assert isinstance(gap, Gap)
    assert (gap.first, gap.reason) == (101, DAMAGED)
    assert isinstance(new, Row)
    assert new.seq == gap.last + 1 > held.last
    for each in (held, again):
        each.close(())


def test_a_kill_while_in_memory_makes_one_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The starts after the next one have nothing to tell, however they end."""
    left = tmp_path / "killed"
    left.mkdir()
    held = stores(left)
    held.open()
    give(held, 5)
    fail(monkeypatch, LedgerError)
    give(held, 3)
    for life in range(4):
        left = shutil.copytree(left, tmp_path / str(life))
        after = stores(left)
        after.open()
        give(after, 10)
        assert numbers(after.look(ALL, 100)) == [*range(1, 6), (6, 1_000), *range(1_001, 1_011 + 10 * life)]
        if life % 2:
            after.close(())


def test_a_record_that_cannot_be_written_for_a_moment_makes_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That all came from memory to the file is recorded as soon as the disk lets it."""
    held = stores(tmp_path)
    held.open()
    fail(monkeypatch, LedgerError)
    give(held, 5)
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(5, "EIO")))
        held._retry_at = 0
        held.tend()
        assert not held.in_memory
    held.tend()
    assert not Numbers(tmp_path / "ledger.numbers").in_memory
    held.close(())


def test_numbers_that_are_not_safe_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a disk takes neither verdicts nor the record, trouble says both, and the record until it is written."""
    held = stores(tmp_path)
    held.open()
    give(held, 5)
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(5, "EIO")))
        fail(monkeypatch, LedgerError)
        give(held, 5)
        unsafe = f"{tmp_path / 'ledger.numbers'} cannot be written (EIO); check the disk: after a restart numbers"
        assert "verdicts are kept in memory" in held.trouble
        assert unsafe in held.trouble
        held._retry_at = 0
        held.tend()
        assert not held.in_memory
        assert held.trouble.startswith(unsafe)
    held.tend()
    assert held.trouble == ""
    held.close(())


@given(st.lists(st.tuples(st.integers(1, GROUP), st.booleans())))
def test_no_kill_makes_a_file_look_older(groups: list[tuple[int, bool]]) -> None:
    """Whatever groups there were, and whether the last was written or not, what is claimed proves no other verdicts."""
    with TemporaryDirectory() as folder:
        last, found = 0, Numbers(Path(folder, "n"))
        for count, is_killed in groups:
            found.cover(last + count)
            assert not found.exceed(last)
            last += 0 if is_killed else count
            assert not Numbers(Path(folder, "n")).exceed(last)


RECORDS = {b"12 %08x" % zlib.crc32(b"12"): (12, False), b"12 memory %08x" % zlib.crc32(b"12 memory"): (12, True)}
HUGE = b"1" + b"0" * 18


@pytest.mark.parametrize(
    "content",
    [
        *RECORDS,
        *(b"", b"12", b"12 memory", b"x", b"1" * 40, b"-3", b"\xff\x00", b"13 4f5344cd", b"12 memoryx", HUGE),
        HUGE + b" %08x" % zlib.crc32(HUGE),
    ],
)
def test_any_record_of_numbers_is_read(tmp_path: Path, content: bytes) -> None:
    """A damaged record is told and counts for nothing; what was claimed is written in its place."""
    (tmp_path / "n").write_bytes(content)
    found = Numbers(tmp_path / "n")
    assert (found.claimed, found.in_memory) == RECORDS.get(content, (0, False))
    found.cover(20_000)
    found.note_memory(in_memory=True)
    assert (Numbers(tmp_path / "n").claimed, Numbers(tmp_path / "n").in_memory) == (21_000, True)
    assert (tmp_path / "n").stat().st_size == max(32, len(content))


def test_a_record_that_says_more_stays(tmp_path: Path) -> None:
    """Where a disk with a record of its own was mounted over the folder no number of that is free again."""
    for write in (lambda each: each.cover(5), lambda each: each.note_memory(in_memory=True), Numbers.renew):
        held = Numbers(tmp_path / "n")
        Numbers(tmp_path / "mounted").cover(3_000)
        (tmp_path / "mounted").rename(tmp_path / "n")
        write(held)
        assert held.claimed == Numbers(tmp_path / "n").claimed == 4_000
        (tmp_path / "n").unlink()


def test_a_record_that_says_more_says_where_too(tmp_path: Path) -> None:
    """Of numbers that were in memory alone the next start hears, whoever writes the record meanwhile."""
    held, mounted = Numbers(tmp_path / "n"), Numbers(tmp_path / "n")
    mounted.cover(3_000)
    mounted.note_memory(in_memory=True)
    held.cover(5)
    assert held.in_memory is Numbers(tmp_path / "n").in_memory is True


def test_every_bit_of_a_record_counts(tmp_path: Path) -> None:
    """A record with any bit changed is read as it was or not at all, never as another number."""
    Numbers(tmp_path / "n").cover(123_456)
    record = (tmp_path / "n").read_bytes()
    for bit in range(8 * len(record)):
        changed = bytearray(record)
        changed[bit // 8] ^= 1 << bit % 8
        (tmp_path / "n").write_bytes(changed)
        assert Numbers(tmp_path / "n").claimed in {0, 124_456}


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_record_of_numbers_is_told_once(
    tmp_path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A folder or a pipe in its place: one line with the remedy, verdicts are taken, and nothing waits."""
    make_ledger(tmp_path / "ledger.db", 5)
    make(tmp_path / "ledger.numbers")
    held = stores(tmp_path)
    held.open()
    for _ in range(3):
        give(held, 600)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'ledger.numbers'} is no plain file; move it away"
    ]
    (tmp_path / "ledger.numbers").rename(tmp_path / "away")
    give(held, 600)
    held.close(())
    assert Numbers(tmp_path / "ledger.numbers").claimed >= 2_400
