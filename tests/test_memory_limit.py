"""The memory that a daemon may have: what it says and does when it has more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from accelerators import bundle, engine, line, wait_until_it_judges
from device import end, running_daemon
from recorder import Recorder
from slot_samples import make_bundle, wanting
from test_config import refusal

from edge import memory
from edge.errors import MemoryLimitError
from edge.health import rss_mib
from edge.memory import Ceiling
from edge.slots import starts

if TYPE_CHECKING:
    from accelerators import Standin
    from conftest import Broker

_GROWING = """
import sys
if "run" in sys.orig_argv:
    from edge import memory
    memory.CHECK_SECONDS = 0.5
    ballast = b"x" * (200 << 20)
"""


def test_a_daemon_that_has_grown_ends_in_order_with_its_reason(tmp_path: Path, broker: Broker) -> None:
    """Beyond its limit it delivers, says offline and why, and asks for a new start; the model on trial is counted."""
    made = make_bundle(tmp_path, "new")
    config = wanting(tmp_path, broker.port, "new", memory_limit_mib=150)
    (tmp_path / "sitecustomize.py").write_text(_GROWING)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with Recorder(broker.port) as recorder, running_daemon(config, {"PYTHONPATH": path}) as daemon:
        said = end(daemon)
        assert daemon.returncode == MemoryLimitError.exit_code, said
        last = said.splitlines()[-1]
        assert last.startswith("edge-inspect: the daemon has grown to ")
        assert "150 are its limit" in last
        assert "raise memory_limit_mib" in last
        assert recorder.wait_for_status("offline")["reason"] == last.removeprefix("edge-inspect: ")
        assert recorder.named("event")
    assert starts.in_vain(tmp_path / "state", made.sha256) == 1


def test_the_limit_is_half_of_the_devices_memory() -> None:
    """Without a setting it follows the device."""
    rows = dict(row.split(":") for row in Path("/proc/meminfo").read_text("ascii").splitlines())
    total = int(rows["MemTotal"].split()[0]) / 1024
    assert Ceiling(None).limit == pytest.approx(total / 2, rel=0.01)


def test_the_accelerators_process_counts(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs the accelerator is a part of the daemon, however small the daemon itself is."""
    monkeypatch.setattr(memory, "CHECK_SECONDS", 0.0)
    judging = line(bundle(), standin.settings())
    try:
        wait_until_it_judges(judging)
        assert engine(judging).rss_mib() > 10
        limit = round(rss_mib() + engine(judging).rss_mib() / 2)
        Ceiling(limit).check()
        with pytest.raises(MemoryLimitError):
            Ceiling(limit, judging.accelerated).check()
    finally:
        judging.close()
    assert engine(judging).rss_mib() == 0


def test_it_looks_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that turns a thousand times a second does not read the kernel's figures as often."""
    ceiling = Ceiling(100)
    monkeypatch.setattr(ceiling, "limit", 0.0)
    ceiling.check()
    monkeypatch.setattr(memory, "CHECK_SECONDS", 0.0)
    with pytest.raises(MemoryLimitError):
        ceiling.check()


@pytest.mark.parametrize("limit", [99, 0, -1])
def test_a_limit_that_no_daemon_keeps_is_refused(limit: int) -> None:
    """A value below what any daemon needs is one line with the key and the least."""
    assert f"memory_limit_mib is {limit}: expected" in refusal(memory_limit_mib=limit)


def test_what_a_thread_has_freed_goes_back_to_the_system() -> None:
    """All threads take memory from one heap, and what lies free within it is given back, not kept for hours."""
    code = """
import ctypes, threading
from edge.health import rss_mib
from edge.memory import give_back, use_one_heap

use_one_heap()
def work():
    blocks = [bytearray(100_000) for _ in range(1_000)]
    place = ctypes.addressof(ctypes.c_char.from_buffer(blocks[0]))
    (heap,) = [line.split()[0] for line in open("/proc/self/maps") if line.endswith("[heap]\\n")]
    first, last = (int(each, 16) for each in heap.split("-"))
    before = rss_mib()
    kept = blocks[999]
    blocks.clear()
    between = rss_mib()
    give_back()
    print(first <= place < last, before - between < 10, between - rss_mib() > 80)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["True"] * 3
