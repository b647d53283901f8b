"""The ledger's folder or files removed or replaced under a running daemon: what the broker does not have stays."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from device import running_daemon, stop, write_config
from ledger_samples import event, make_ledger, row
from recorder import Recorder
from test_ledger import Heard, everything, opened

from edge.album import Album, Picture
from edge.contract.messages import Gap, Verdict
from edge.errors import ClaimedLedgerError
from edge.ledger import stores
from edge.ledger.ledger import FILE, Ledger
from edge.ledger.mainfile import MainFile
from edge.ledger.numbers import Numbers
from edge.ledger.reading import opened as reading
from edge.ledger.retention import Retention
from edge.ledger.rows import Marks, Row
from edge.ledger.wal import index_of, log_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Broker

pytestmark = pytest.mark.usefixtures("killed")

PLENTY = 64 << 20


def remove_folder(folder: Path) -> None:
    """Remove all of it; at once, since the daemon makes some of its files again."""
    folder.rename(folder.with_name("going"))
    shutil.rmtree(folder.with_name("going"))


def move_folder(folder: Path) -> None:
    """Give it another name."""
    folder.rename(folder.with_name("moved"))


def remove_file(folder: Path) -> None:
    """Remove the ledger and all that SQLite has beside it."""
    for path in (folder / FILE, log_of(folder / FILE), index_of(folder / FILE)):
        path.unlink()


def remove_log(folder: Path) -> None:
    """Remove what was not moved to the ledger yet."""
    log_of(folder / FILE).unlink()


def replace(folder: Path) -> None:
    """Put another ledger there, as who restores a copy does."""
    make_ledger(folder / "other.db", 30)
    remove_file(folder)
    (folder / "other.db").rename(folder / FILE)


def seqs(ledger: Ledger) -> list[int]:
    """Return the numbers of all that waits for the broker."""
    return [entry.seq for entry in everything(ledger) if isinstance(entry, Row)]


@pytest.mark.parametrize("vanish", [remove_folder, move_folder, remove_file, remove_log, replace])
def test_what_the_broker_does_not_have_stays(tmp_path: Path, vanish: Callable[[Path], None]) -> None:
    """It is back in its place within a moment, verdicts before and after are there, and the numbers go on."""
    folder = tmp_path / "state"
    folder.mkdir()
    with opened(folder) as (ledger, heard):
        for _ in range(700):
            ledger.append(event())
        heard.wait_for(700)
        ledger.delivered = 100
        ledger.flush(10)
        with ledger._stores._main.moving:  # Else it may be back before all of it is gone.
            vanish(folder)
        for last in (701, 702):
            ledger.append(event(verdict=Verdict.DEFECT))
            heard.wait_for(last)
            ledger.flush(10)
        assert ledger.trouble == ""
        crashed = tmp_path / "crashed"
        shutil.copytree(folder, crashed)
        assert seqs(ledger) == list(range(101, 703))
    for left in (crashed, folder):
        with opened(left) as (again, heard):
            assert again.delivered == 100
            assert seqs(again) == list(range(101, 703))
            again.append(event())
            heard.wait_for(703)
        assert not list(left.glob("*.copy"))
    aside = folder / "ledger-damaged-1.db"
    assert aside.exists() == (vanish is replace)


def test_what_cannot_be_put_back_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While something else has the folder's name the trouble says what to do; an end then tells how many are lost."""
    monkeypatch.setattr(stores, "RETRY_SECONDS", 0.05)
    for ends in (False, True):
        folder = tmp_path / f"state-{ends}"
        folder.mkdir()
        ledger, heard = Ledger(folder, PLENTY), Heard()
        ledger.start(heard)
        for number in range(20):
            ledger.append(event(number))
        heard.wait_for(20)
        ledger.flush(10)
        with ledger._stores._main.moving:
            remove_folder(folder)
            folder.touch()
        while "was removed or replaced and cannot be put back" not in ledger.trouble:
            time.sleep(0.01)
        ledger.append(event(20))
        heard.wait_for(21)
        assert seqs(ledger) == list(range(1, 22))
        if not ends:
            folder.unlink()
            while ledger.trouble:
                time.sleep(0.01)
        assert ledger.close(20) == (21 if ends else 0)
    with opened(tmp_path / "state-False") as (again, _):
        assert seqs(again) == list(range(1, 22))


@pytest.mark.parametrize("damage", ["UPDATE event SET body = x'00' WHERE seq = 7", "UPDATE marks SET body = x'00'"])
@pytest.mark.parametrize("is_kept_away", [False, True])
def test_damage_of_a_removed_ledger_costs_no_sound_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, *, is_kept_away: bool
) -> None:
    """What is open is the only copy: it is put back before it is repaired, and kept open while it cannot be."""
    monkeypatch.setattr(stores, "RETRY_SECONDS", 0)
    folder = tmp_path / "state"
    folder.mkdir()
    held = stores.Stores(MainFile(folder / FILE), PLENTY, Retention())
    held.open()
    held.write(lambda _: ([row(seq) for seq in range(1, 41)], []), Marks(1))
    with closing(sqlite3.connect(folder / FILE)) as other, other:
        other.execute(damage)
    remove_folder(folder)
    if is_kept_away:
        folder.touch()
    held._main.damaged = True  # As whoever reads it may find.
    held.tend()
    assert ("cannot be put back" in held.trouble) is is_kept_away
    if is_kept_away:
        folder.unlink()
        held.tend()
    sound = [seq for seq in range(1, 41) if seq != 7 or "event" not in damage]
    found = held.take(0, 100)
    assert [entry.seq for entry in found if isinstance(entry, Row)] == sound
    assert [(entry.first, entry.last) for entry in found if isinstance(entry, Gap)] == [(7, 7)] * (len(sound) < 40)
    assert (held.trouble, held.close(())) == ("", 0)


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("vanish", [remove_folder, move_folder])
def test_a_folder_that_was_put_back_is_claimed(tmp_path: Path, vanish: Callable[[Path], None]) -> None:
    """A second daemon is refused as before; one that ends leaves the folder to the next."""
    folder = tmp_path / "state"
    folder.mkdir()
    with opened(folder) as (ledger, heard):
        ledger.append(event())
        heard.wait_for(1)
        with ledger._stores._main.moving:
            vanish(folder)
        until((folder / "ledger.numbers").exists)
        with pytest.raises(ClaimedLedgerError, match="in use by another daemon"):
            Ledger(folder, PLENTY)
        if vanish is move_folder:  # Nothing of this daemon's is there any more.
            until(lambda: can_be_opened(tmp_path / "moved"))
    assert can_be_opened(folder)


def can_be_opened(folder: Path) -> bool:
    """Say whether nobody has a folder."""
    try:
        return Ledger(folder, PLENTY).close(1) == 0
    except ClaimedLedgerError:
        return False


def test_a_folder_that_is_another_daemons_by_now_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the ledger there is touched nor this one's verdicts are lost: they are back when the other has ended."""
    monkeypatch.setattr(stores, "RETRY_SECONDS", 0.05)
    folder = tmp_path / "state"
    folder.mkdir()
    with opened(folder) as (ledger, heard):
        for number in range(1, 21):
            ledger.append(event())
            heard.wait_for(number)
        with ledger._stores._main.moving:
            remove_folder(folder)
            folder.mkdir()
            other, other_heard = Ledger(folder, PLENTY), Heard()
            other.start(other_heard)
            other.append(event())
            other_heard.wait_for(1)
        until(lambda: "another daemon uses what is there now; stop one of them" in ledger.trouble)
        for number in range(1, 11):
            for each, listener, last in ((ledger, heard, 20 + number), (other, other_heard, 1 + number)):
                each.append(event())
                listener.wait_for(last)
        assert (seqs(ledger), seqs(other)) == (list(range(1, 31)), list(range(1, 12)))
        assert not list(folder.glob("*damaged*"))
        assert not Numbers(folder / "ledger.numbers").in_memory
        assert other.close(20) == 0
        until(lambda: not ledger.trouble)
        assert seqs(ledger) == list(range(1, 31))
    with opened(folder) as (again, _):
        assert seqs(again) == list(range(1, 31))


def test_who_removes_it_again_and_again_does_not_get_a_copy_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put back once in so many seconds; the end does not wait for them."""
    monkeypatch.setattr(stores, "RETRY_SECONDS", 1_000)
    held = stores.Stores(MainFile(tmp_path / FILE), PLENTY, Retention())
    held.open()
    held.write(lambda _: ([row(seq) for seq in range(1, 11)], []))
    for is_back in (True, False, False):
        remove_file(tmp_path) if (tmp_path / FILE).exists() else None
        held.tend()
        assert (tmp_path / FILE).exists() is is_back
    assert held.close(()) == 0
    with opened(tmp_path) as (again, _):
        assert seqs(again) == list(range(1, 11))


def test_pictures_are_kept_when_their_folder_was_removed(tmp_path: Path) -> None:
    """The next picture makes it again."""
    album = Album(tmp_path, PLENTY)
    shutil.rmtree(tmp_path / "pictures")
    picture = Picture(event().id, Verdict.DEFECT)
    assert album.add(picture, b"jpeg")
    album.mark_sent(picture)
    assert (album.lost, album.count_waiting) == (0, 0)
    assert [path.name for path in (tmp_path / "pictures" / "sent").iterdir()] == [picture.name]


def test_a_killed_daemon_whose_state_was_removed(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Of a line without a broker, whose folder goes while it runs, the next start delivers all, in order, no gap."""
    broker.stop()
    camera = {"kind": "synthetic", "rate": 100, "width": 64, "height": 64}
    mqtt = {"host": "127.0.0.1", "port": broker.port}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt=mqtt)
    state = tmp_path / "state"
    with running_daemon(config) as daemon:
        wait_for_numbers(state, 50)
        state.rename(tmp_path / "away")
        shutil.rmtree(tmp_path / "away")
        wait_for_numbers(state, 100)
        daemon.kill()
        assert "was removed or replaced while it was in use" in daemon.communicate()[1]
    broker.start()
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        recorder.wait_for("event", 100)
        log = stop(daemon)
        assert daemon.returncode == 0, log
    seqs = list(dict.fromkeys(event["seq"] for event in recorder.named("event")))
    assert seqs == list(range(1, len(seqs) + 1))
    assert recorder.named("gap") == []


def wait_for_numbers(state: Path, count: int) -> None:
    """Wait until so many verdicts are on the disk."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), reading(state / FILE) as store:
            if store.last >= count:
                return
        time.sleep(0.05)
    pytest.fail(f"{state / FILE} has no {count} verdicts")
