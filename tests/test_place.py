"""What was removed or replaced is put back, and a kill meanwhile, wherever it comes, costs nothing."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ledger_samples import make_ledger, row
from test_ledger_removed import remove_file, remove_folder, remove_log, replace
from test_ledger_repair import _Killed, kill_at
from test_stores import ALL, give, numbers, stores

from edge.errors import LedgerError
from edge.ledger.ledger import FILE
from edge.ledger.place import finish_repair
from edge.ledger.store import Store
from edge.ledger.wal import index_of, log_of

if TYPE_CHECKING:
    from collections.abc import Callable

GIVEN = 50
HALF = 1_000
"""Comes while the copy is written."""
STEPS = 10
"""How often putting back renames a file or removes one that may be there, at most."""
READS = """
import sys
from pathlib import Path
from edge.ledger.reading import opened
with opened(Path(sys.argv[1])) as store:
    print(store.last, flush=True)
    sys.stdin.read()
"""


def found_in(folder: Path, to: Path) -> list[int | tuple[int, int]]:
    """Return the numbers of all verdicts and gaps that a start finds in a copy of a folder."""
    shutil.copytree(folder, to)
    again = stores(to)
    again.open()
    assert again.trouble == ""
    found = numbers(again.look(ALL, 1_000))
    again.close(())
    return found


@pytest.mark.parametrize("vanish", [remove_folder, remove_file, remove_log, replace])
@pytest.mark.parametrize("step", [HALF, *range(2 * STEPS + 1)])
def test_a_kill_while_it_is_put_back_costs_nothing(
    tmp_path: Path, vanish: Callable[[Path], None], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the copy is whole the next start finds what it would have found, from then on every verdict."""
    folder = tmp_path / "state"
    folder.mkdir()
    held = stores(folder)
    held.open()
    for _ in range(GIVEN):
        give(held, 1)
    vanish(folder)
    foreign = (folder / FILE).read_bytes() if vanish is replace else b""
    folder.mkdir(exist_ok=True)
    before = found_in(folder, tmp_path / "before")
    real, copied = Store.copy, []

    def copy(store: Store, path: Path) -> None:
        if step == HALF:
            path.write_bytes(b"SQLite format 3")
            path.with_name(f"{path.name}-journal").write_bytes(b"half")
            raise _Killed
        real(store, path)
        copied.append(path)

    with monkeypatch.context() as killing:
        killing.setattr(Store, "copy", copy)
        kill_at(step, killing)
        with suppress(_Killed):
            held._main.put_back()
    was_whole = bool(copied) and not (folder / f"{FILE}.copy").exists()
    after = found_in(folder, tmp_path / "after")
    assert after == (list(range(1, GIVEN + 1)) if was_whole else before)
    assert was_whole or step != 2 * STEPS
    left = {path.read_bytes() for path in (tmp_path / "after").glob("ledger*.db")}
    assert not foreign or not was_whole or foreign in left
    assert not [path.name for path in (tmp_path / "after").glob(f"{FILE}.*")]
    held.close(())


@pytest.mark.parametrize("vanish", [remove_file, replace])
@pytest.mark.parametrize("step", range(2 * STEPS))
def test_a_try_that_fails_costs_nothing(
    tmp_path: Path, vanish: Callable[[Path], None], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk refuses a change and all behind it, a start finds no less, and the next try puts all back."""
    folder, everything = tmp_path / "state", list(range(1, GIVEN + 1))
    folder.mkdir()
    held = stores(folder)
    held.open()
    give(held, GIVEN)
    vanish(folder)
    foreign = (folder / FILE).read_bytes() if vanish is replace else b""
    before = found_in(folder, tmp_path / "before")
    with monkeypatch.context() as broken, suppress(LedgerError):
        kill_at(step, broken, OSError)
        held._main.put_back()
    assert found_in(folder, tmp_path / "after") in (before, everything)
    held._main.put_back()
    assert found_in(folder, tmp_path / "again") == numbers(held.look(ALL, 1_000)) == everything
    assert not foreign or foreign in {path.read_bytes() for path in folder.glob("ledger-damaged-*.db")}
    held.close(())


def test_a_copy_without_a_place_does_not_outlive_its_ledgers_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a ledger that was moved is moved back by hand, its older copy goes first: no start may take that."""
    folder = tmp_path / "state"
    folder.mkdir()
    held, copied, rename, unlink = stores(folder), folder / f"{FILE}.new", Path.rename, Path.unlink
    held.open()
    give(held, GIVEN)

    def refuse(path: Path, act: Callable[[], object]) -> None:
        if path == copied:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        act()

    moved = (folder / FILE, log_of(folder / FILE), index_of(folder / FILE))
    for path in moved:
        path.rename(tmp_path / path.name)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", lambda path, to: refuse(path, lambda: rename(path, to)))
        held.tend()
    assert "cannot be put back" in held.trouble
    for path in moved:
        (tmp_path / path.name).rename(path)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", lambda path, **how: refuse(path, lambda: unlink(path, **how)))
        held._retry_at = 0
        held.tend()
        give(held, GIVEN)
    assert f"{copied} cannot be removed (Input/output error)" in held.trouble
    assert found_in(folder, tmp_path / "killed")[:GIVEN] == list(range(1, GIVEN + 1))
    held._retry_at = 0
    held.tend()
    assert (held.trouble, held.close(())) == ("", 0)
    assert found_in(folder, tmp_path / "again") == list(range(1, 2 * GIVEN + 1))
    assert not list(folder.glob("*damaged*"))


def test_a_log_that_went_while_somebody_reads_is_not_lost(tmp_path: Path) -> None:
    """Though another process has the ledger open, all that was in the log is in its place again."""
    held = stores(tmp_path)
    held.open()
    give(held, 20)
    with subprocess.Popen(
        [sys.executable, "-c", READS, str(tmp_path / FILE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "20\n"
        give(held, 20)
        log_of(tmp_path / FILE).unlink()
        held.tend()
        give(held, 1)
        assert numbers(held.look(ALL, 100)) == list(range(1, 42))
        assert held.trouble == ""
        assert found_in(tmp_path, tmp_path / "copy") == list(range(1, 42))
        reader.communicate("")
    held.close(())
    assert found_in(tmp_path, tmp_path / "closed") == list(range(1, 42))
    assert not list(tmp_path.glob("*damaged*"))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_file_that_cannot_be_seen_is_not_given_up(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody may look into its folder, or the disk does not tell, an open ledger takes verdicts on."""
    held = stores(tmp_path)
    held.open()
    give(held, 1)
    file = held._main.store
    with monkeypatch.context() as blind:
        blind.setattr(Path, "stat", lambda *_, **__: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
        held.tend()
        give(held, 1)
        assert not held._main.is_displaced
    assert (held.trouble, held._main.store) == ("", file)
    assert held.close(()) == 0
    assert found_in(tmp_path, tmp_path / "copy") == [1, 2]


def test_who_reads_does_not_wait_for_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the ledger is copied all of it can be read."""
    held = stores(tmp_path)
    held.open()
    give(held, 10)
    remove_file(tmp_path)
    real, seen = Store.copy, []

    def copy(*given: Any) -> None:
        reader = threading.Thread(target=lambda: seen.extend(held.take(0, 100)), daemon=True)
        reader.start()
        reader.join(10)
        assert numbers(seen) == list(range(1, 11))
        real(*given)

    monkeypatch.setattr(Store, "copy", copy)
    held.tend()
    assert (held.trouble, len(seen)) == ("", 10)
    held.close(())


@pytest.mark.parametrize("left", [b"", b"garbage" * 1_000, None])
def test_what_is_no_ledger_takes_no_place(tmp_path: Path, left: bytes | None) -> None:
    """A stray file or folder of the name that a whole copy would have is let be."""
    rows = make_ledger(tmp_path / FILE, 10)
    stray = tmp_path / f"{FILE}.new"
    stray.mkdir() if left is None else stray.write_bytes(left)
    assert not finish_repair(tmp_path / FILE)
    held = stores(tmp_path)
    held.open()
    assert held.look(ALL, 100) == rows
    assert held.trouble == ""
    held.close(())


def test_logs_that_were_set_aside_stay_as_they_are(tmp_path: Path) -> None:
    """A log whose ledger is gone gets a name of its own, though an earlier one has its log beside it already."""
    make_ledger(tmp_path / f"{FILE}.new", 10)
    earlier = tmp_path / "ledger-damaged-4.db"
    for path in (earlier, log_of(earlier), log_of(tmp_path / FILE)):
        path.write_bytes(path.name.encode())
    index_of(tmp_path / FILE).touch()
    assert finish_repair(tmp_path / FILE)
    assert log_of(earlier).read_bytes() == log_of(earlier).name.encode()
    assert log_of(tmp_path / "ledger-damaged-5.db").read_bytes() == b"ledger.db-wal"
    assert sorted(path.name for path in tmp_path.glob(f"{FILE}*")) == [FILE]
    with_rows = Store(tmp_path / FILE)
    assert with_rows.last == 10
    with_rows.add([row(11)])
    with_rows.close()
