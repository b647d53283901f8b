"""The file of open triggers: what is noted is in it, whatever was there before and whatever happens to it."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import BOOT
from spark_host import until
from test_bad_disk import disk_image, frozen

from edge.contract.ulid import new_ulid
from edge.trigger.journal import FILE, Fired, Journal, _read
from edge.trigger.sheet import BYTES, SLOTS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a disk that others keep busy not count as one that hangs."""
    monkeypatch.setattr("edge.trigger.sheet._WRITE_SECONDS", 60.0)


def test_a_trigger_beyond_the_room_is_noted_once_there_is_some(tmp_path: Path) -> None:
    """The oldest first, and none that has its verdict by then; the journal tells for as long as one waits."""
    journal = Journal(tmp_path / FILE, BOOT)
    names = [f"gpio-{number}" for number in range(SLOTS + 3)]
    for name in names[:SLOTS]:
        journal.note(name)
    assert not journal.trouble
    for name in names[SLOTS:]:
        journal.note(name)
    assert f"more than {SLOTS}" in journal.trouble
    journal.settle(names[SLOTS])
    journal.settle(names[7])
    assert journal.trouble
    until(lambda: {fired.name for fired in _read(tmp_path / FILE)} == {*names[:7], *names[8:SLOTS], names[SLOTS + 1]})
    journal.settle(names[8])
    assert not journal.trouble
    journal.close()


def test_what_was_noted_and_not_settled_is_left(tmp_path: Path) -> None:
    """And nothing else: to each later life with the life's own id, until one settles it."""
    journal = Journal(tmp_path / FILE, BOOT)
    names = [f"gpio-{number}" for number in range(10)]
    for name in names:
        journal.note(name)
    for name in names[5:]:
        journal.settle(name)
    journal.note("late")
    journal.close()
    lives = [new_ulid(), new_ulid()]
    left = tuple(Fired(BOOT, name) for name in (*names[:5], "late"))
    second = Journal(tmp_path / FILE, lives[0])
    assert second.left == left
    second.note("gpio-1")
    second.close()
    third = Journal(tmp_path / FILE, lives[1])
    assert {*third.left} == {*left, Fired(lives[0], "gpio-1")}, "killed again, before it had given any verdict"
    for fired in third.left:
        third.settle(fired.name, fired.boot_id)
    third.close()
    assert Journal(tmp_path / FILE, new_ulid()).left == ()


@pytest.mark.parametrize("how", ["removed", "with its folder", "emptied", "replaced"])
def test_a_file_that_somebody_took_away_is_written_again(tmp_path: Path, how: str) -> None:
    """With all that is open, without waiting for the next trigger: the process may be killed before that comes."""
    folder = tmp_path / "state"
    folder.mkdir()
    path = folder / FILE
    journal = Journal(path, BOOT)
    journal.note("gpio-1")
    journal.note("gpio-2")
    if how == "removed":
        path.unlink()
    elif how == "with its folder":
        shutil.rmtree(folder)
        until(lambda: "No such file or directory" in journal.trouble)
        folder.mkdir()
    elif how == "emptied":
        os.truncate(path, 0)
    else:
        (folder / "copy").write_bytes(path.read_bytes().replace(b"gpio-2", b"gpio-3"))
        (folder / "copy").replace(path)
    until(lambda: list(_read(path)) == [Fired(BOOT, "gpio-1"), Fired(BOOT, "gpio-2")])
    until(lambda: not journal.trouble)
    journal.close()
    assert Journal(path, new_ulid()).left == (Fired(BOOT, "gpio-1"), Fired(BOOT, "gpio-2"))


@pytest.mark.parametrize("obstacle", ["folder", "link"])
def test_where_the_file_cannot_be_the_device_goes_on(tmp_path: Path, obstacle: str) -> None:
    """With memory in its place, and it says so."""
    path = tmp_path / FILE
    if obstacle == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    journal = Journal(path, BOOT)
    journal.note("gpio-1")
    journal.settle("gpio-1")
    assert str(path) in journal.trouble
    assert journal.left == ()


def test_what_is_noted_is_in_the_file(tmp_path: Path) -> None:
    """Once `note` returns, for the process may be killed then; and in a file that somebody has just emptied."""
    path = tmp_path / FILE
    journal = Journal(path, BOOT)
    for number in range(SLOTS):
        journal.note(f"gpio-{number}")
        assert f"gpio-{number}".encode() in path.read_bytes()
        if number < SLOTS // 64 or number > SLOTS - 64:  # To read each takes long.
            assert list(_read(path))[-1:] == [Fired(BOOT, f"gpio-{number}")]
        journal.settle(f"gpio-{number}")
        if number == 10:
            os.truncate(path, 0)
    journal.close()
    assert _read(path) == {}
    assert journal.trouble == ""


def test_a_card_that_stalls_for_a_moment_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many do now and then; told is what lasts, until it is over, and nobody waits for it twice."""
    monkeypatch.setattr("edge.trigger.sheet.HANG_SECONDS", 2.0)
    monkeypatch.setattr("edge.trigger.sheet._WRITE_SECONDS", 0.05)
    with disk_image(tmp_path / "image", tmp_path / "disk", 32) as disk:
        journal = Journal(disk / FILE, BOOT)
        journal.note("gpio-1")
        with frozen(disk):
            began = time.monotonic()
            for number in range(2, 102):
                journal.note(f"gpio-{number}")
                assert journal.trouble == ""
            assert time.monotonic() - began < 1.0
            until(lambda: "its disk hangs" in journal.trouble)
            assert time.monotonic() - began > 1.0
        until(lambda: journal.trouble == "" and len(_read(disk / FILE)) == 101)
        journal.close()


@given(st.data())
def test_a_damaged_file_gives_names_or_nothing(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever is flipped in it, cut off or put there instead: no exception, and no name that could not be one."""
    path = tmp_path_factory.mktemp("journal") / FILE
    journal = Journal(path, BOOT)
    for number in range(20):
        journal.note(f"gpio-{number}")
    journal.close()
    assert list(_read(path)) == [Fired(BOOT, f"gpio-{number}") for number in range(20)]
    content = bytearray(path.read_bytes())
    assert len(content) == BYTES
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 255)), max_size=20)):
        content[at] = value
    instead: Any = data.draw(st.sampled_from([None, b"", b"\0" * 10, bytes(range(256)) * 200]))
    path.write_bytes(content[: data.draw(st.integers(0, BYTES))] if instead is None else instead)
    found = _read(path)
    words = [word for fired in found for word in (fired.boot_id, fired.name)]
    assert all(word.isascii() and word.isprintable() and 0 < len(word) < 96 for word in words)
