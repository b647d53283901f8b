"""How the computer fares, from what its kernel says."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spark_host import until
from test_heat import write

from edge import machine
from edge.machine import Lookout, available_mib, processor_seconds, resident_mib

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def lookout(tmp_path: Path) -> Iterator[Lookout]:
    """One that is not begun."""
    made = Lookout(tmp_path, lambda: None)
    yield made
    made.stop(10)


def test_this_computer(lookout: Lookout, tmp_path: Path) -> None:
    """Memory, disk, threads, descriptors and load are those of this process and this computer."""
    lookout.start()
    until(lambda: lookout.machine is not None)
    found = lookout.machine
    assert found is not None
    assert found.memory_available_mib is not None
    assert 1 < found.memory_available_mib < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    disk = os.statvfs(tmp_path)
    assert found.disk_free_mib == pytest.approx(disk.f_bavail * disk.f_frsize / (1 << 20), rel=0.1)
    assert found.threads >= 2
    assert found.descriptors >= 3
    assert found.cores >= 1
    assert found.worker_rss_mib is None


def test_a_worker_of_the_accelerator_is_looked_at(tmp_path: Path) -> None:
    """The memory of its process is told, and none once it is gone."""
    worker: list[int | None] = [os.getpid()]
    own = Lookout(tmp_path, lambda: worker[0])
    own.start()
    until(lambda: own.machine is not None)
    assert own.machine is not None
    assert own.machine.worker_rss_mib is not None
    assert own.machine.worker_rss_mib > 1
    own.stop(10)
    assert resident_mib("") is None


def test_heat_brakes_and_is_told(tmp_path: Path) -> None:
    """From 80 degrees the device judges half of its time, and says so without a figure that changes all the time."""
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "81234\n")
    lookout = Lookout(tmp_path, lambda: None)
    lookout.start(tmp_path)
    until(lambda: lookout.machine is not None)
    assert (lookout.share, lookout.trouble) == (0.5, "too hot: it judges 0.5 of the time")
    assert lookout.machine is not None
    assert (lookout.machine.cpu_c, lookout.machine.memory_available_mib) == (81.234, None)
    lookout.stop(10)


def test_a_disk_that_hangs_is_no_reason_to_wait(
    lookout: Lookout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen long ago is told no more, the trouble says why, and heat was looked at before the disk."""
    let_go = threading.Event()
    monkeypatch.setattr(machine, "_free_mib", lambda _: let_go.wait(60))
    monkeypatch.setattr(machine, "STALE_SECONDS", 0.1)
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "81234\n")
    lookout.start(tmp_path)
    until(lambda: "hangs" in lookout.trouble)
    assert (lookout.share, lookout.machine) == (0.5, None)
    let_go.set()


def test_what_ends_the_lookout_is_raised_where_it_is_asked(lookout: Lookout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead thread is never taken for a cool device: the judging thread hears of it."""

    def fail(_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(machine.heat, "read", fail)
    lookout.start()

    def raised() -> bool:
        try:
            return bool(lookout.trouble)
        except RuntimeError:
            return True

    until(raised)
    with pytest.raises(RuntimeError, match="broken"):
        _ = lookout.trouble


@given(st.text())
def test_whatever_proc_says_is_no_reason_to_stop(text: str) -> None:
    """Texts that the kernel never wrote give nothing, or a number."""
    assert processor_seconds(text) >= 0
    for found in (available_mib(text), resident_mib(text)):
        assert found is None or found >= 0


@given(st.text(alphabet=st.characters(exclude_characters="\n")), st.integers(0, 10**6), st.integers(0, 10**6))
def test_processor_time_is_found_behind_any_name(name: str, user: int, system: int) -> None:
    """A process may call itself anything, brackets and spaces included."""
    stat = f"17 ({name}) S 1 1 1 0 -1 4194304 99 0 0 0 {user} {system} 0 0 20 0 1 0"
    assert processor_seconds(stat) == pytest.approx((user + system) / os.sysconf("SC_CLK_TCK"))


@given(st.integers(0, 10**9))
def test_available_memory_is_in_mib(kib: int) -> None:
    """The line is found among others, and is in KiB."""
    text = f"MemTotal: 1 kB\nMemAvailable:   {kib} kB\nBuffers: 5 kB\n"
    assert available_mib(text) == pytest.approx(kib / 1024, abs=0.06)
