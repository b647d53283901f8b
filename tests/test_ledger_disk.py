"""The ledger on disks that are full, read-only, slow or damaged."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from ledger_samples import event, make_ledger, row
from test_ledger import everything, opened
from test_ledger_removed import remove_file, until
from test_ledger_salvage import copy_open, damage

from edge.contract.messages import Gap, Verdict
from edge.errors import LedgerError
from edge.ledger import stores
from edge.ledger.ledger import FILE
from edge.ledger.mainfile import MainFile
from edge.ledger.repair import repair
from edge.ledger.retention import Retention
from edge.ledger.room import RESERVE_BYTES
from edge.ledger.rows import Row
from edge.ledger.store import Span, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path) -> Path:
    """Leave not a byte of a disk, as somebody else's log would."""
    hog = disk / "hog"
    with hog.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    return hog


def numbers(entries: list[Row | Gap]) -> list[int]:
    """Return every number that is there or named by a gap."""
    return [n for e in entries for n in ([e.seq] if isinstance(e, Row) else range(e.first, e.last + 1))]


def test_a_disk_that_is_too_small_sheds_in_order(small_disk: Path) -> None:
    """With a budget beyond the disk verdicts are taken on and on, old PASS go, DEFECT stay, and each gap is named."""
    with opened(small_disk) as (ledger, heard):
        for number in range(30_000):
            ledger.append(event(verdict=Verdict.PASS if number % 100 else Verdict.DEFECT))
            if number % 1_000 == 999:
                heard.wait_for(number)
        heard.wait_for(30_000)
        found = everything(ledger)
        assert ledger.trouble == ""
    assert numbers(found) == list(range(1, 30_001))
    kept = [entry.verdict for entry in found if isinstance(entry, Row)]
    assert kept.count(Verdict.DEFECT) == 300
    passed = [entry.seq for entry in found if isinstance(entry, Row) and entry.verdict is Verdict.PASS]
    assert len(passed) > 5_000
    assert passed[-2_000:] == [seq for seq in range(1, 30_001) if (seq - 1) % 100][-2_000:], "the newest stay"
    assert passed[0] > 10_000, "the oldest go"


def test_a_disk_that_others_filled(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While others leave no room, verdicts are taken on; with the room they are all on the disk again."""
    monkeypatch.setattr(stores, "RETRY_SECONDS", 0.1)
    with opened(small_disk) as (ledger, heard):
        for _ in range(1_000):
            ledger.append(event())
        heard.wait_for(1_000)
        hog = fill(small_disk)
        for _ in range(8_000):
            ledger.append(event())
        heard.wait_for(9_000)
        assert numbers(everything(ledger)) == list(range(1, 9_001))
        hog.unlink()
        ledger.append(event(verdict=Verdict.DEFECT))
        heard.wait_for(9_001)
        deadline = time.monotonic() + 10
        while ledger.trouble:
            assert time.monotonic() < deadline, ledger.trouble
            time.sleep(0.05)
    with opened(small_disk) as (ledger, _):
        assert numbers(everything(ledger)) == list(range(1, 9_002))


def test_a_ledger_without_room_to_be_put_back_leaves_what_there_is(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removed one that does not fit once more is not begun to be copied; with room it is back."""
    monkeypatch.setattr(stores, "RETRY_SECONDS", 0.05)
    hog = small_disk / "hog"
    with opened(small_disk) as (ledger, heard):
        for _ in range(4_000):
            ledger.append(event())
        heard.wait_for(4_000)
        free = shutil.disk_usage(small_disk).free - (400 << 10)
        hog.write_bytes(bytes(free))
        left = shutil.disk_usage(small_disk).free
        with ledger._stores._main.moving:
            (small_disk / FILE).unlink()
        until(lambda: "cannot be put back (it takes " in ledger.trouble)
        ledger.append(event())
        heard.wait_for(4_001)
        assert shutil.disk_usage(small_disk).free > left - (64 << 10)
        assert not list(small_disk.glob("*.copy*"))
        hog.unlink()
        until(lambda: not ledger.trouble)
    with opened(small_disk) as (ledger, _):
        assert numbers(everything(ledger)) == list(range(1, 4_002))


def test_a_copy_has_room_for_what_is_free_in_it_too(small_disk: Path) -> None:
    """A removed ledger whose verdicts are mostly gone is not begun to be copied to a disk that its copy would fill."""
    make_ledger(small_disk / FILE, 5_000)
    with closing(Store(small_disk / FILE)) as store:
        store.expire(4_900, 4_900)
        assert store.used < store.size / 10
    held = stores.Stores(MainFile(small_disk / FILE), 10 << 20, Retention())
    held.open()
    remove_file(small_disk)
    (small_disk / "hog").write_bytes(bytes(shutil.disk_usage(small_disk).free - RESERVE_BYTES - (400 << 10)))
    held.tend()
    assert "cannot be put back (it takes " in held.trouble
    (small_disk / "hog").unlink()
    assert held.close(()) == 0
    with opened(small_disk) as (ledger, _):
        assert numbers(everything(ledger)) == list(range(4_901, 5_001))


def test_a_repair_without_room_leaves_nothing_half_done(small_disk: Path) -> None:
    """The damaged ledger is as it was, and the disk as full as before; with room it is repaired."""
    make_ledger(small_disk / FILE, 6_000)
    with (small_disk / FILE).open("r+b") as file:
        file.seek(0)
        file.write(b"damaged")
    damaged = (small_disk / FILE).read_bytes()
    hog = small_disk / "hog"
    hog.write_bytes(bytes(shutil.disk_usage(small_disk).free - (400 << 10)))
    free = shutil.disk_usage(small_disk).free
    with pytest.raises(LedgerError, match="is damaged and cannot be repaired"):
        repair(small_disk / FILE, 0)
    assert shutil.disk_usage(small_disk).free == free
    assert (small_disk / FILE).read_bytes() == damaged
    hog.unlink()
    repair(small_disk / FILE, 0)


def test_a_damaged_ledger_starts_with_what_can_be_read(
    tmp_path: Path, figure: Callable[[str], None], *, soak: bool
) -> None:
    """Whatever is flipped, blanked or cut off: it opens soon, goes on counting, delivers or names each verdict."""
    runs = 1_000 if soak else 40
    whole, closed, crashed = tmp_path / "whole.db", tmp_path / "closed.db", tmp_path / "crashed.db"
    rows = make_ledger(whole, 1_500)
    store = Store(whole)
    store.add([row(1_501)])
    rows += [each for each in store.read(Span(1_500, 1_501), 1) if isinstance(each, Row)]
    copy_open(whole, crashed)
    store.close()
    shutil.copy(whole, closed)
    longest, readable, repaired = 0.0, 0, 0
    for seed in range(runs):
        dice = random.Random(seed)  # noqa: S311 - damage, not a secret
        folder = tmp_path / "state"
        folder.mkdir()
        if dice.random() < 0.5:
            copy_open(crashed, folder / FILE)
        else:
            shutil.copy(closed, folder / FILE)
        for _ in range(dice.randrange(1, 4)):
            damage(folder / FILE, dice)
        seconds, kept, aside = start_damaged(folder, rows)
        longest, readable, repaired = max(longest, seconds), readable + kept, repaired + aside
        shutil.rmtree(folder)
    figure(
        f"{runs} damages: {repaired} repaired with the original kept aside, {readable / runs / len(rows):.1%} of rows"
        f" read, the longest start {longest:.2f} s"
    )
    assert longest < 10


def start_damaged(folder: Path, rows: list[Row]) -> tuple[float, int, bool]:
    """Open a damaged ledger and check it; returns the seconds, how many rows are there, and whether it was repaired."""
    damaged = {path.read_bytes() for path in folder.iterdir()}
    started = time.monotonic()
    with opened(folder) as (ledger, _):
        ledger.append(last := event(verdict=Verdict.DEFECT))
        ledger.flush(10)
        seconds = time.monotonic() - started
        found = everything(ledger)
    given = {row.seq: row for row in rows}
    kept = [entry for entry in found if isinstance(entry, Row) and last.id.encode() not in entry.json]
    assert all(given[entry.seq] == entry for entry in kept)
    there = numbers(found)
    assert there == list(range(there[0], there[-1] + 1))
    aside = {path.read_bytes() for path in folder.glob("*damaged*")}
    # A log whose end is gone looks like one that was never longer.
    unnoticed = kept == rows[: len(kept)] and not aside
    assert unnoticed or aside & damaged, "the damaged file is not kept as it was"
    return seconds, len(kept), bool(aside)
