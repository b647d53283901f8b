"""A look at a ledger that nobody has open leaves it as a crash left it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from device import run_inspect
from ledger_samples import row
from test_ledger_command import contents

from edge.ledger import reading
from edge.ledger.ledger import FILE
from edge.ledger.store import Store
from edge.ledger.wal import FRAME_BYTES, HEADER_BYTES, index_of, log_of

if TYPE_CHECKING:
    import pytest


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
