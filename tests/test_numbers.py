"""Which numbers were used is remembered beside the ledger, whatever happens to it: none is given twice."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import make_ledger
from test_stores import ALL, give, numbers, stores

from edge.contract.messages import Gap
from edge.errors import LedgerError
from edge.ledger.numbers import GROUP, Numbers
from edge.ledger.rows import DAMAGED, Row

if TYPE_CHECKING:
    from collections.abc import Callable


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
