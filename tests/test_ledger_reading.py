"""A look at a ledger that nobody has open leaves it as a crash left it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from device import run_inspect
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import event, row
from msgspec import structs
from test_ledger_command import contents

from edge.contract.messages import Verdict, encode
from edge.ledger import reading
from edge.ledger.ledger import FILE
from edge.ledger.retention import Stamp, stamp_of
from edge.ledger.rows import Row
from edge.ledger.store import Store
from edge.ledger.wal import FRAME_BYTES, HEADER_BYTES, index_of, log_of

if TYPE_CHECKING:
    import pytest

BEGIN = datetime(2027, 1, 1, tzinfo=UTC)


def test_a_look_leaves_the_evidence_of_a_crash(tmp_path: Path) -> None:
    """Of a killed daemon's damaged log each look changes no byte, so that verify and the next start see the damage."""
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    store = Store(tmp_path / FILE)
    for seq in range(1, 60):
        store.add([row(seq)])
    for path in (tmp_path / FILE, log_of(tmp_path / FILE), index_of(tmp_path / FILE)):
        shutil.copy(path, crashed)
    store.close()
    log = bytearray(log_of(crashed / FILE).read_bytes())
    index = index_of(crashed / FILE).read_bytes()
    committed = int.from_bytes(index[16:20], sys.byteorder)
    log[HEADER_BYTES + committed * FRAME_BYTES - 1] ^= 1  # Without its index this is the end that a kill leaves.
    log_of(crashed / FILE).write_bytes(log)
    before = contents(crashed)
    for action in ("list", "verify", "audit", "verify"):
        done = run_inspect("ledger", action, "--ledger", crashed)
        assert done.returncode == (10 if action == "verify" else 0), done.stderr
        assert contents(crashed) == before
    assert f"{FILE}-wal is damaged" in done.stdout


HERE = Path(__file__).parent
HOLDS = """
import sys
from pathlib import Path
from ledger_samples import row
from edge.ledger.store import Store
store = Store(Path(sys.argv[1]))
store.add([row(1)])
print("written", flush=True)
sys.stdin.read()
"""


def test_only_what_nobody_has_open_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a process has the ledger open it is read where it is; once that was killed, a copy of it is."""
    path = tmp_path / FILE
    copied: list[Path] = []
    copy = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", lambda source, to: (copied.append(source), copy(source, to)))
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=HERE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"written\n"
        with reading.opened(path) as store:
            assert (store.last, copied) == (1, [])
        holder.kill()
    with reading.opened(path) as store:
        assert (store.last, copied) == (1, [path, log_of(path)])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=60),
    st.integers(0, 99),
)
def test_a_time_is_found_as_if_all_were_looked_at(verdicts: list[tuple[int, bool, bool]], moment: int) -> None:
    """Whatever clocks were synchronised, and whatever is missing: from that number on the first one is as late."""
    with TemporaryDirectory() as folder:
        path, time, times = Path(folder, "l.db"), BEGIN, []
        store = Store(path)
        for seq, (step, synced, there) in enumerate(verdicts, start=1):
            time += timedelta(seconds=step)
            if there:
                one = structs.replace(event(seq), time=time if synced else BEGIN, clock_synced=synced)
                store.add([Row(seq, one.verdict, encode(one))])
                times.append((seq, time if synced else None))
        store.close()
        with reading.opened(path) as reader:
            found = reading.first_at(reader, (BEGIN + timedelta(seconds=moment)).timestamp())
    late = [seq for seq, time in times if time is not None and time >= BEGIN + timedelta(seconds=moment)]
    early = [seq for seq, time in times if time is not None and time < BEGIN + timedelta(seconds=moment)]
    assert all(seq < found for seq in early)
    assert all(seq >= found for seq in late)
    assert all((seq < found) == any(seq < other for other in early) for seq, time in times if time is None)


def test_each_verdict_is_looked_at_once_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger without any synchronised clock is not read again and again for its times."""
    path, looks = tmp_path / FILE, [0]
    unsure = encode(structs.replace(event(), clock_synced=False))
    store = Store(path)
    store.add(Row(seq, Verdict.PASS, unsure) for seq in range(1, 3_001))
    store.close()

    def look(row: Row) -> Stamp:
        looks[0] += 1
        return stamp_of(row)

    monkeypatch.setattr(reading, "stamp_of", look)
    with reading.opened(path) as reader:
        assert reading.first_at(reader, 0) == 1
    assert looks[0] <= 3_000
