"""For how long delivered verdicts stay: as long as was asked for, whatever the clock says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import event, row
from test_ledger import Heard, everything

from edge.album import Album, Picture
from edge.contract.messages import Event, Gap, Verdict
from edge.ledger import retention
from edge.ledger.ledger import Ledger
from edge.ledger.mainfile import MainFile
from edge.ledger.retention import HELD_SECONDS, SLACK_SECONDS, Retention, Stamp
from edge.ledger.rows import Marks, Row
from edge.ledger.store import Span
from edge.ledger.stores import Stores
from edge.ledger.wal import log_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DAY = 86_400.0
DECADE = 10 * 365 * DAY
BEGIN = datetime(2027, 5, 1, tzinfo=UTC)
PLENTY = 64 << 20
KINDS = ("right", "unsynced", "ahead", "back", "epoch")
"""Of clocks: right and synchronised; not so, and wrong; ten years ahead or back, or before 1970, and sure of it."""


@dataclass
class Given:
    """A verdict: when it was given, and what its clock said."""

    at: float
    said: float
    synced: bool

    def row(self, seq: int) -> Row:
        """Return it as it lies in the ledger."""
        time = datetime.fromtimestamp(0, UTC) + timedelta(seconds=self.said)
        return Row(seq, Verdict.PASS, msgspec.json.encode(Stamp(f"{seq}", time, self.synced)))


def given_at(at: float, kind: str, off: float) -> Given:
    """Return a verdict that was given at a time by a clock of some kind."""
    wrong = {"right": 0.0, "unsynced": off, "ahead": DECADE, "back": -DECADE, "epoch": -at - abs(off)}[kind]
    return Given(at, at + wrong, kind != "unsynced")


def settle(kept: Retention, rows: list[Row], now: float) -> None:
    """Have all looked at that is due, in batches."""
    while kept.is_due(now):
        kept.look([each for each in rows if each.seq > kept.looked][:7], now)


OFF = st.floats(-DECADE, DECADE)
VERDICTS = st.lists(st.tuples(st.floats(0, 20 * DAY), st.sampled_from(KINDS), OFF), max_size=60)
HEARD = st.lists(st.tuples(st.floats(0, HELD_SECONDS), st.sampled_from(KINDS), OFF), max_size=20)


@given(before=VERDICTS, heard=HEARD, days=st.integers(1, 40), pause=st.floats(0, 90 * DAY))
def test_no_clock_ends_a_verdict_early(
    before: list[tuple[float, str, float]], heard: list[tuple[float, str, float]], days: int, pause: float
) -> None:
    """Clocks ten years off, before 1970, unsynchronised or jumping: what is let go was kept for its days."""
    at, verdicts = BEGIN.timestamp(), []
    for passed, kind, off in before:
        at += passed
        verdicts.append(given_at(at, kind, off))
    rows = [each.row(seq) for seq, each in enumerate(verdicts, start=1)]
    start, kept = at + pause, Retention(days)
    # One right time is enough, wherever it comes: whatever else claims to be synchronised.
    for now, kind, off in [*heard, (HELD_SECONDS / 2, "right", 0.0)]:
        said = given_at(start + now, kind, off)
        if said.synced:
            kept.note(datetime.fromtimestamp(0, UTC) + timedelta(seconds=said.said), now)
    for now in (HELD_SECONDS * 2, HELD_SECONDS * 2 + 3 * DAY, HELD_SECONDS * 2 + 50 * DAY):
        settle(kept, rows, now)
        gone = verdicts[: kept.upto]
        assert all(start + now - each.at >= days * DAY - 1e-3 for each in gone)


@given(st.lists(st.floats(0, 20 * DAY), min_size=1, max_size=60), st.integers(1, 40))
def test_with_right_clocks_what_is_old_goes(passed: list[float], days: int) -> None:
    """Where all clocks are right, all that is older than its days and a little goes, and nothing else."""
    at, verdicts = BEGIN.timestamp(), []
    for step in passed:
        at += step
        verdicts.append(given_at(at, "right", 0))
    rows, kept = [each.row(seq) for seq, each in enumerate(verdicts, start=1)], Retention(days)
    kept.note(datetime.fromtimestamp(at, UTC), 0.0)
    settle(kept, rows, HELD_SECONDS - 1)
    assert kept.upto == 0
    for now in (HELD_SECONDS + 1, 9 * DAY, 100 * DAY):
        settle(kept, rows, now)
        ages = [at + now - each.at for each in verdicts]
        assert all(age >= days * DAY - 1e-3 for age in ages[: kept.upto])
        assert all(age <= days * DAY + 2 * SLACK_SECONDS for age in ages[kept.upto :])


def test_a_time_of_the_future_holds_nothing_up() -> None:
    """Verdicts whose clock was ahead, or not synchronised, go with the next that can be trusted."""
    at = BEGIN.timestamp()
    verdicts = [given_at(at, kind, DECADE) for kind in ("ahead", "unsynced", "epoch", "right", "ahead")]
    rows, kept = [each.row(seq) for seq, each in enumerate(verdicts, start=1)], Retention(30)
    kept.note(BEGIN + timedelta(days=40), 0.0)
    settle(kept, rows, HELD_SECONDS + 1)
    assert kept.upto == 4


def old(seq: int, age: timedelta) -> Event:
    """Return a verdict that was given a while ago."""
    verdict = Verdict.DEFECT if seq % 10 == 0 else Verdict.PASS
    return msgspec.structs.replace(event(seq, verdict), time=datetime.now(UTC) - age)


def test_old_verdicts_go_once_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is old and delivered goes, with its pictures; what waits stays, however old; numbers go on."""
    monkeypatch.setattr(retention, "HELD_SECONDS", 0.0)
    before, heard = Ledger(tmp_path, PLENTY), Heard()
    before.start(heard)
    given_ones = [old(seq, timedelta(days=40)) for seq in range(1, 1_001)]
    for each in given_ones:
        before.append(each)
    heard.wait_for(1_000)
    before.delivered = 700
    assert before.close(20) == 0
    album = Album(tmp_path, PLENTY)
    for each in (given_ones[9], given_ones[999]):
        album.add(picture := Picture(each.id, Verdict.DEFECT), b"jpeg")
        album.mark_sent(picture)
    kept = Retention(30)
    kept.on_removed = album.forget
    ledger, heard = Ledger(tmp_path, PLENTY, kept), Heard()
    ledger.start(heard)
    heard.wait_for(1_000)
    while kept.removed < 700:
        ledger.append(event())
        ledger.flush(10)
    assert ledger.look(Span(0, 1_000), 1)[0] == ledger.take(700, 1)[0]
    waiting = [entry.seq for entry in everything(ledger) if isinstance(entry, Row)]
    assert waiting == list(range(701, 701 + len(waiting)))
    assert ledger.close(20) == 0
    left = [path.name for path in (tmp_path / "pictures" / "sent").iterdir()]
    assert left == [f"{given_ones[999].id}-DEFECT.jpg"]


def test_an_emptied_ledger_counts_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all verdicts and gaps have gone for their age, the next start still knows the last number."""
    monkeypatch.setattr(retention, "HELD_SECONDS", 0.0)
    stores = Stores(MainFile(tmp_path / "ledger.db"), PLENTY, kept := Retention(1))
    stores.open()
    json = msgspec.json.encode(old(1, timedelta(days=3)))
    stores.write(lambda _: ([Row(1, Verdict.PASS, json)], []))
    stores.write(lambda _: ([], [Gap(first=2, last=5, reason="shed", verdicts={})]))
    stores.write(lambda _: ([Row(6, Verdict.PASS, json, 5)], []), Marks(6))
    kept.note(datetime.now(UTC), time.monotonic())
    while kept.removed < 6:
        stores.tend()
    assert stores.look(Span(0, 100), 10) == []
    stores.close([])
    again = Stores(MainFile(tmp_path / "ledger.db"), PLENTY, Retention())
    again.open()
    assert again.last == 6
    again.close([])


def test_nothing_is_written_while_nothing_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts that are young cost one look, and not a byte of the disk."""
    monkeypatch.setattr(retention, "HELD_SECONDS", 0.0)
    stores = Stores(MainFile(tmp_path / "ledger.db"), PLENTY, kept := Retention(1))
    stores.open()
    stores.write(lambda _: ([row(seq) for seq in range(1, 300)], []), Marks(299))
    stores.tend()
    kept.note(datetime.now(UTC), time.monotonic())
    written, looks = log_of(tmp_path / "ledger.db").read_bytes(), []
    look = kept.look
    monkeypatch.setattr(kept, "look", lambda *given: (looks.append(1), look(*given))[1])
    for _ in range(100):
        stores.tend()
    assert log_of(tmp_path / "ledger.db").read_bytes() == written
    assert len(looks) == 1
    stores.close([])
