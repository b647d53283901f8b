"""A repair that is broken off, wherever that is, is finished by the next start."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from device import assert_one_clear_line, run_inspect
from ledger_samples import audit, row

from edge.contract.messages import Gap
from edge.ledger.mainfile import MainFile
from edge.ledger.numbers import Numbers
from edge.ledger.repair import repair
from edge.ledger.retention import Retention
from edge.ledger.rows import DAMAGED, Marks, Row
from edge.ledger.salvage import salvage
from edge.ledger.store import Span, Store
from edge.ledger.stores import Stores
from edge.ledger.wal import FRAME_BYTES, HEADER_BYTES, PAGE, log_of

if TYPE_CHECKING:
    from collections.abc import Callable

LAST = 259
LEAF = 13
"""Begins a page with rows (sqlite.org/fileformat2.html, 1.6)."""
TABLES = 5
"""Pages that a new ledger has: its schema, and one for each table."""
STEPS = 9
"""How often a repair renames a file or removes one that may be there."""


class _Killed(BaseException):
    """Ends a repair like a kill: nothing may catch it."""


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Return a ledger as a kill left it, with a page blanked that the log has no copy of."""
    store, path = Store(tmp_path / "l.db"), tmp_path / "ledger.db"
    store.add(row(seq) for seq in range(1, 200))
    store.checkpoint()
    for seq in range(200, LAST + 1):
        store.add([row(seq)])
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(tmp_path / f"l.db{suffix}", tmp_path / f"ledger.db{suffix}")
    store.close()
    data = bytearray(path.read_bytes())
    data[20 * PAGE : 22 * PAGE] = bytes(2 * PAGE)
    path.write_bytes(data)
    return path


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch, how: type[BaseException] = _Killed) -> None:
    """End the process's work with names before or, if it is odd, behind its `step // 2`th change of one."""
    left = [step // 2]

    def until(act: Callable[..., object]) -> Callable[..., object]:
        def changed(path: Path, *arguments: object, **options: object) -> object:
            if not left[0] and not step % 2:
                raise how
            result = act(path, *arguments, **options)
            if not left[0]:
                raise how
            left[0] -= 1
            return result

        return changed

    for name in ("rename", "unlink"):
        monkeypatch.setattr(Path, name, until(getattr(Path, name)))


@pytest.mark.parametrize("earlier", [(), (1, 2), (2,)])
@pytest.mark.parametrize("step", range(2 * STEPS + 1))
def test_a_repair_broken_off_is_finished(
    damaged: Path, step: int, earlier: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before or after each of its changes, it leaves a ledger that is whole, and all of the damaged one."""
    for number in earlier:
        damaged.with_name(f"ledger-damaged-{number}.db").write_bytes(b"earlier")
    evidence = {damaged.read_bytes(), log_of(damaged).read_bytes()}
    with monkeypatch.context() as killing:
        kill_at(step, killing)
        with nullcontext() if step == 2 * STEPS else pytest.raises(_Killed):
            repair(damaged, 0)
    stores = Stores(MainFile(damaged), 10 << 20, Retention())
    stores.open()
    found = stores.look(Span(0, 1 << 60), 1_000)
    assert (stores.trouble, stores.last) == ("", LAST)
    stores.close(())
    numbers = [seq for entry in found for seq in _numbers(entry)]
    assert numbers == list(range(1, LAST + 1))
    assert sum(isinstance(entry, Row) for entry in found) > LAST // 2
    assert all(entry.reason == DAMAGED for entry in found if isinstance(entry, Gap))
    checked = Store(damaged)
    assert checked._all("PRAGMA integrity_check") == [(b"ok",)]
    checked.close()
    assert {each.read_bytes() for each in damaged.parent.glob("ledger-damaged-*")} - {b"earlier"} == evidence
    assert sorted(each.name for each in damaged.parent.glob("ledger.db*")) == ["ledger.db"]
    (aside,) = (each for each in damaged.parent.glob("ledger-damaged-*.db") if each.read_bytes() != b"earlier")
    assert log_of(aside).exists()


@pytest.mark.parametrize("step", range(2 * STEPS))
def test_a_repair_that_fails_is_made_up_for(damaged: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk refuses one of its changes and all behind it, the next repair has all that the first would."""
    evidence = {damaged.read_bytes(), log_of(damaged).read_bytes()}
    Numbers(damaged.with_suffix(".numbers"))._write(LAST, in_memory=False)
    stores = Stores(MainFile(damaged), 10 << 20, Retention())
    with monkeypatch.context() as broken:
        kill_at(step, broken, OSError)
        stores.open()
    assert "verdicts are kept in memory" in stores.trouble
    stores.tend()
    found = stores.look(Span(0, 1 << 60), 1_000)
    assert (stores.trouble, stores.last) == ("", LAST)
    stores.close(())
    assert [seq for entry in found for seq in _numbers(entry)] == list(range(1, LAST + 1))
    assert sum(isinstance(entry, Row) for entry in found) > LAST // 2
    assert {each.read_bytes() for each in damaged.parent.glob("ledger-damaged-*")} == evidence
    assert sorted(each.name for each in damaged.parent.glob("ledger.db*")) == ["ledger.db"]


@pytest.mark.parametrize("left", ["empty", "gone"])
def test_a_log_without_its_file_is_read(tmp_path: Path, left: str) -> None:
    """Of a ledger whose file was emptied or removed all that its log holds is kept, and the log beside the new one."""
    path = tmp_path / "ledger.db"
    store, log = Store(tmp_path / "l.db"), log_of(path)
    rows = [row(seq, labels=100 if seq % 7 == 0 else 2) for seq in range(1, 40)]
    for each in rows:
        store.add([each])
    shutil.copy(log_of(tmp_path / "l.db"), log)
    store.close()
    if left == "empty":
        path.touch()
    evidence = log.read_bytes()
    done = run_inspect("ledger", "verify", "--ledger", tmp_path)
    assert_one_clear_line(done, 10, "its log is not", str(path))
    stores = Stores(MainFile(path), 10 << 20, Retention())
    stores.open()
    assert stores.take(0, 100) == rows
    assert (stores.trouble, stores.last) == ("", 39)
    stores.close(())
    aside = tmp_path / "ledger-damaged-1.db"
    assert (aside.read_bytes(), log_of(aside).read_bytes()) == (b"", evidence)
    again = Stores(MainFile(path), 10 << 20, Retention())
    again.open()
    assert again.take(0, 100) == rows
    again.close(())


def test_a_log_that_decays_under_a_running_daemon_costs_nothing_that_is_there_twice(tmp_path: Path) -> None:
    """Of pages whose newest copy is damaged an older one has the rows: neither the file nor the log is changed."""
    path = tmp_path / "ledger.db"
    stores = Stores(MainFile(path), 10 << 20, Retention())
    stores.open()
    rows = [row(seq) for seq in range(1, 41)]
    for each in rows:
        stores.write(lambda _, each=each: ([each], []))
    log = bytearray(log_of(path).read_bytes())
    newest = {int.from_bytes(log[at : at + 4]): at for at in range(HEADER_BYTES, len(log), FRAME_BYTES)}
    leaves = [at for page, at in newest.items() if page > TABLES and log[at + FRAME_BYTES - PAGE] == LEAF]
    for at in leaves[:8]:
        log[at + FRAME_BYTES - 10] ^= 0xFF  # In the first of its rows, which earlier copies have too.
    with log_of(path).open("r+b") as file:
        file.write(log)
    assert stores._main.store is not None
    for link in (stores._main.store._db, stores._main.store._reader):
        link.run("PRAGMA shrink_memory")  # What was read before is read from the disk again.
    assert stores.look(Span(0, 100), 100) == []
    stores.tend()
    assert stores.look(Span(0, 100), 100) == rows
    assert log_of(tmp_path / "ledger-damaged-1.db").read_bytes() == log
    stores.close(())


def test_what_is_missing_before_a_last_gap_is_told(tmp_path: Path) -> None:
    """A repair names the numbers between the last verdict and a gap behind it too."""
    store = Store(tmp_path / "ledger.db")
    shed = Gap(first=14, last=15, reason="shed", verdicts={})
    store.add([row(seq) for seq in range(1, 11)], [shed])
    store.close()
    repair(tmp_path / "ledger.db", 20)
    repaired = Store(tmp_path / "ledger.db")
    found = [entry for entry in repaired.read(Span(0, 100), 100) if isinstance(entry, Gap)]
    repaired.close()
    assert [(gap.first, gap.last, gap.reason) for gap in found] == [
        (11, 13, DAMAGED),
        (14, 15, "shed"),
        (16, 20, DAMAGED),
    ]


@pytest.mark.parametrize("kind", ["CAST(body AS TEXT)", "'text'", "7", "0", "1.5"])
@pytest.mark.parametrize("table", ["event", "gap", "marks", "audit"])
def test_a_value_that_decayed_to_another_kind_is_damage(tmp_path: Path, table: str, kind: str) -> None:
    """Where a row's bytes read as a text or a number, it is repaired like any damage, and no other row is lost."""
    path = tmp_path / "ledger.db"
    store = Store(path)
    rows = [row(seq) for seq in range(1, 10)]
    store.add(rows, [Gap(first=10, last=12, reason="shed", verdicts={})], Marks(1), [audit("one")])
    store._all(f"UPDATE {table} SET body = {kind} ORDER BY rowid DESC LIMIT 1")  # noqa: S608 - both are the test's own
    store.close()
    Numbers(path.with_suffix(".numbers"))._write(12, in_memory=False)
    salvaged = [entry for entry in salvage(path) if isinstance(entry, Row)]
    stores = Stores(MainFile(path), 10 << 20, Retention())
    stores.open()
    stores.look(Span(0, 100), 100)
    stores.write(lambda _: ([], []), None, [audit("two")])
    stores.tend()
    found = stores.look(Span(0, 100), 100)
    assert [seq for entry in found for seq in _numbers(entry)] == list(range(1, 13))
    is_lost = table == "event" and "CAST" not in kind  # The same bytes are right, whatever they are said to be.
    assert [entry for entry in found if isinstance(entry, Row)] == salvaged == rows[: 8 if is_lost else 9]
    assert stores.trouble == ""
    stores.close(())
    done = run_inspect("ledger", "verify", "--ledger", path)
    # No verdict goes with the record of a command: nobody repairs a ledger for that unasked.
    assert done.returncode == (10 if table == "audit" and "CAST" not in kind else 0), done


def _numbers(entry: Row | Gap) -> range:
    return range(entry.first, entry.last + 1) if isinstance(entry, Gap) else range(entry.seq, entry.seq + 1)
