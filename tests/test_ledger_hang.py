"""A disk that hangs in a commit, as worn cards do for seconds: whoever delivers does not wait for it."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from ledger_samples import event
from spark_host import until
from test_ledger import opened
from test_stores import fail, give, numbers, stores

from edge.errors import LedgerError
from edge.ledger.rows import Marks
from edge.ledger.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge.ledger.stores import Stores

pytestmark = pytest.mark.usefixtures("killed")

SOON_SECONDS = 5.0
HANGS_SECONDS = 30.0


@contextmanager
def hanging(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], when: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Do something in a thread of its own, of which the first such commit to a file hangs until the block ends."""
    reached, go_on = threading.Event(), threading.Event()
    transaction = Store._transaction

    @contextmanager
    def slow(self: Store) -> Iterator[Any]:
        with transaction(self) as run:
            yield run
            if self._name != ":memory:" and when():
                reached.set()
                go_on.wait(HANGS_SECONDS)

    monkeypatch.setattr(Store, "_transaction", slow)
    writer = threading.Thread(target=act)
    writer.start()
    assert reached.wait(SOON_SECONDS)
    begun = time.monotonic()
    try:
        yield
        assert time.monotonic() - begun < SOON_SECONDS, "whoever read waited for the disk"
    finally:
        go_on.set()
        writer.join()
        monkeypatch.setattr(Store, "_transaction", transaction)


@pytest.fixture
def held(tmp_path: Path) -> Stores:
    """Return stores with ten verdicts."""
    held = stores(tmp_path)
    held.open()
    give(held, 10)
    return held


def test_what_is_written_is_read_while_the_next_commit_hangs(held: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts are taken, and looked at, as before; those of the commit that hangs come after it."""
    with hanging(monkeypatch, lambda: give(held, 5)):
        assert numbers(held.take(0, 100)) == list(range(1, 11))
        assert numbers(held.newest(1 << 40, 3, None)) == [10, 9, 8]
    assert numbers(held.take(10, 100)) == [11, 12, 13, 14, 15]


def test_what_goes_back_to_the_file_is_read_meanwhile(held: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the commit hangs by which verdicts leave memory, each is taken once."""
    fail(monkeypatch, LedgerError)
    give(held, 10)
    held._retry_at = 0
    with hanging(monkeypatch, held.tend):
        assert numbers(held.take(0, 100)) == list(range(1, 21))
        assert numbers(held.newest(1 << 40, 100, None)) == list(range(20, 0, -1))
    assert numbers(held.take(0, 100)) == list(range(1, 21))
    assert held.trouble == ""


def test_what_is_being_shed_is_not_taken(held: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the commit hangs by which verdicts go, those taken before may be taken again, others after it."""
    assert numbers(held.take(2, 3)) == [3, 4, 5]
    held.marks = Marks(2)
    file = held._main.open()
    with hanging(monkeypatch, lambda: held._shed(file, 0), when=lambda: held._shedder.open_upto == 5):
        assert numbers(held.take(2, 100)) == [3, 4, 5]
        assert held.take(5, 100) == []
    assert numbers(held.take(2, 100)) == [3, 4, 5, (6, 10)]
    assert held.lost == 5


def test_a_disk_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within seconds, and no longer than it lasts: else no verdict would go out, and nobody know why."""
    monkeypatch.setattr("edge.ledger.ledger.HANG_SECONDS", 0.8)
    with opened(tmp_path) as (ledger, heard):

        def go_on() -> None:
            ledger.append(event(1))
            ledger.hurry()

        with hanging(monkeypatch, go_on):
            until(lambda: ledger.trouble != "")
            assert "its disk hangs" in ledger.trouble
            assert "verdicts wait in memory" in ledger.trouble
            assert ledger.unwritten == 1
        heard.wait_for(1)
        until(lambda: ledger.trouble == "")
