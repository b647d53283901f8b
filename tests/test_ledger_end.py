"""While the disk refuses, and at an end just then: nothing waits for it, and what is lost is told."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from ledger_samples import event
from test_ledger import PLENTY, Heard, opened
from test_stores import fail, give, numbers, stores

from edge.contract.messages import Gap, Verdict
from edge.errors import LedgerError
from edge.ledger import mainfile, pending
from edge.ledger.ledger import FILE, Ledger
from edge.ledger.rows import Marks
from edge.ledger.store import Span, Store
from edge.ledger.stores import Stores

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("killed")


def test_a_repair_that_fails_is_tried_again_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for it a repair is not begun anew with each verdict."""
    held = stores(tmp_path)
    held.open()
    give(held, 5)
    tried: list[int] = []

    def repair(*_: Any) -> None:
        tried.append(1)
        raise LedgerError("no room")

    with monkeypatch.context() as broken:
        broken.setattr(mainfile, "repair", repair)
        held._main.damaged = True
        for _ in range(20):
            give(held, 1)
            held.tend()
        assert len(tried) <= 2
        assert "no room" in held.trouble
    held._retry_at = 0
    held.tend()
    assert (held.trouble, held.doubt) == ("", "")
    assert len(held.take(0, 100)) == 25


class Hanging:
    """A disk that refuses verdicts, and from then on hangs each time that it is looked at until it is let go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Semaphore(0)
        fail(monkeypatch, LedgerError, 1 << 10)
        monkeypatch.setattr(Stores, "tend", self._tend)

    def _tend(self, *_: Any) -> None:
        if self.reached.is_set():
            self.go_on.acquire(timeout=20)


def test_all_that_waits_goes_to_memory_before_the_disk_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long each look at a disk that refuses takes, no more than one is between a verdict and its delivery."""
    with opened(tmp_path) as (ledger, heard), monkeypatch.context() as broken:
        hanging = Hanging(broken)
        ledger.append(event())
        heard.wait_for(1)
        hanging.reached.set()
        for _ in range(3_000):
            ledger.append(event())
        hanging.go_on.release()
        hanging.go_on.release()  # It may have been about to look when it was told to hang.
        heard.wait_for(3_001, 5)
        assert numbers(ledger.take(0, 4_000)) == list(range(1, 3_002))
        hanging.reached.clear()
        hanging.go_on.release(100)
        broken.undo()


def test_an_end_that_does_not_wait_for_the_disk_tells_what_memory_alone_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk hangs until the process ends, what it did not take counts as lost, but not what the broker has."""
    ledger, heard = Ledger(tmp_path, PLENTY), Heard()
    ledger.start(heard)
    heard.wait_for(0)
    hanging = Hanging(monkeypatch)
    for _ in range(400):
        ledger.append(event())
    heard.wait_for(400)
    hanging.reached.set()
    ledger.delivered = 20
    for _ in range(30):
        ledger.append(event())
    assert ledger.close(0.2) == 410
    hanging.go_on.release(100)
    assert ledger.close(10) == 410


def test_a_disk_that_does_not_even_let_its_files_be_seen_is_left_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end while the folder's rights or a dying disk hide the files: what is open still takes all, marks too."""
    held = stores(tmp_path)
    held.open()
    give(held, 5)
    fail(monkeypatch, LedgerError)
    give(held, 30)
    held.marks = Marks(7)

    def hidden(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as broken:
        broken.setattr(mainfile, "_files", hidden)
        assert held.close(()) == 0
    kept = Store(tmp_path / FILE, read_only=True)
    assert (kept.last, kept.marks.delivered) == (35, 7)
    kept.close()


def test_an_end_while_a_removed_ledger_is_copied_tells_what_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its copy is not whole before the process ends, all that the broker does not have counts as lost."""
    folder = tmp_path / "state"
    folder.mkdir()
    ledger, heard = Ledger(folder, PLENTY), Heard()
    ledger.start(heard)
    for _ in range(50):
        ledger.append(event())
    heard.wait_for(50)
    ledger.delivered = 20
    ledger.flush(10)
    copy, begun, go_on = Store.copy, threading.Event(), threading.Event()

    def slowly(self: Store, path: Path) -> None:
        begun.set()
        go_on.wait(20)
        copy(self, path)

    monkeypatch.setattr(Store, "copy", slowly)
    folder.rename(tmp_path / "gone")
    assert begun.wait(10)
    assert ledger.close(0.1) == 30
    go_on.set()
    assert ledger.close(10) == 0


def test_a_verdict_that_was_shed_on_its_way_counts_until_it_has_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is the last one at an end: an end that has no time for its gap counts it, one that has writes that."""
    monkeypatch.setattr(pending, "MOST_WAITING", 100)
    ledger, heard = Ledger(tmp_path, PLENTY), Heard()
    ledger.start(heard)
    heard.wait_for(0)
    add, reached, go_on = Store.add, threading.Event(), threading.Event()

    def slowly(self: Store, *given: Any) -> None:
        reached.set()
        go_on.wait(20)
        add(self, *given)

    monkeypatch.setattr(Store, "add", slowly)
    ledger.append(event(verdict=Verdict.DEFECT))
    assert reached.wait(10)
    for _ in range(100):
        ledger.append(event(verdict=Verdict.DEFECT))
    ledger.append(event(verdict=Verdict.PASS))
    assert ledger.waiting == 102
    assert ledger.close(0.1) == 102
    go_on.set()
    assert (ledger.close(10), ledger.lost) == (0, 1)
    kept = Store(tmp_path / FILE, read_only=True)
    assert kept.read(Span(101, 200), 10) == [Gap(first=102, last=102, reason="shed", verdicts={Verdict.PASS: 1})]
    kept.close()


def test_what_ended_the_writer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An end after a fault of the program's own: the log names it, and what memory has counts as lost."""
    ledger, heard = Ledger(tmp_path, PLENTY), Heard()
    ledger.start(heard)
    heard.wait_for(0)
    fail(monkeypatch, LedgerError, 1 << 10)
    ledger.append(event())
    heard.wait_for(1)
    monkeypatch.setattr(Store, "close", lambda _: (_ for _ in ()).throw(ValueError("a fault")))
    assert ledger.close(10) == 1
    assert "the ledger was ended by ValueError('a fault')" in caplog.messages
