"""Looks at the computer that judges: heat, memory, disk. In a thread of its own, for a disk or a driver may hang."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge import clock, heat
from edge.contract.messages import Machine
from edge.memory import give_back
from edge.threads import fatal

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_SECONDS = 10.0
"""Between two looks."""
STALE_SECONDS = 60.0
"""After which a look tells nothing of the present any more."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class _Used(NamedTuple):
    """Processor time, in seconds."""

    at: float
    """On the monotonic clock."""
    ours: float
    worker: int | None
    theirs: float


class Lookout:
    """Looks at the computer now and then. What it saw any thread may ask, at no cost."""

    def __init__(self, folder: Path, worker: Callable[[], int | None]) -> None:
        """Prepare to look, at the disk of a folder and at the process of the accelerator's `worker`, by its id, too."""
        self.share = 1.0
        """Of the time that may be spent judging, so that the device gets no hotter."""
        self._trouble = ""
        self._folder = folder
        self._worker = worker
        self._root = Path("/")
        self._brake = heat.Brake()
        self._machine: Machine | None = None
        self._looked = time.monotonic()
        self._used = _Used(self._looked, time.process_time(), None, 0.0)
        self._error: Exception | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lookout", daemon=True)

    @property
    def machine(self) -> Machine | None:
        """The last look; None: there was none for a while."""
        return None if self._is_stale else self._machine

    @property
    def trouble(self) -> str:
        """What somebody should do something about, or nothing. Raises what ended the thread, if that ended."""
        if self._error is not None:
            raise self._error
        if self._is_stale:
            return f"temperature and disk could not be read for {STALE_SECONDS:g} s: a driver or the disk hangs"
        return self._trouble

    def start(self, root: Path = Path("/")) -> None:
        """Begin to look at the device whose /sys and /proc are below `root`."""
        self._root = root
        self._looked = time.monotonic()
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """End it, waiting so long at most: whoever hangs in a driver ends with the process."""
        self._stopped.set()
        self._thread.join(seconds)

    @property
    def _is_stale(self) -> bool:
        return self._thread.is_alive() and time.monotonic() - self._looked > STALE_SECONDS

    def _run(self) -> None:
        try:
            self._look()
            while not self._stopped.wait(LOOK_SECONDS):
                give_back()  # Here, for it takes milliseconds; and not at first, for a start would wait for them.
                self._look()
        except BaseException as error:  # noqa: BLE001 - whatever it is, `trouble` raises it in the judging thread
            self._error = fatal(error)

    def _look(self) -> None:
        found = heat.read(self._root)
        self.share = self._brake.share(found)  # First: the disk may hang.
        braked = "" if self.share == 1 else f"too hot: it judges {self.share:.3g} of the time"
        self._trouble = "; ".join(filter(None, (found.trouble, braked)))
        worker = self._worker()
        self._machine = Machine(
            time=clock.now(),
            cpu_c=found.cpu,
            slowed=found.slowed,
            under_voltage=found.weak,
            cores=len(os.sched_getaffinity(0)),
            load=round(os.getloadavg()[0], 2),
            cpu_share=self._busy(worker),
            memory_available_mib=available_mib(_text(self._root / "proc/meminfo")),
            worker_rss_mib=None if worker is None else resident_mib(_text(Path(f"/proc/{worker}/statm"))),
            disk_free_mib=_free_mib(self._folder),
            descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - no paths are made of them
            threads=len(os.listdir("/proc/self/task")),  # noqa: PTH208
        )
        self._looked = time.monotonic()

    def _busy(self, worker: int | None) -> float:
        """Return the cores that were kept busy since the last look; a worker that is new counts from then on."""
        theirs = 0.0 if worker is None else processor_seconds(_text(Path(f"/proc/{worker}/stat")))
        before, self._used = self._used, _Used(time.monotonic(), time.process_time(), worker, theirs)
        used = self._used.ours - before.ours
        if worker == before.worker:
            used += max(0.0, theirs - before.theirs)
        return round(used / max(self._used.at - before.at, 1e-3), 2)


def available_mib(meminfo: str) -> float | None:
    """Read MemAvailable of /proc/meminfo (proc(5)); None where it does not say."""
    found = (line.split() for line in meminfo.splitlines() if line.startswith("MemAvailable:"))
    words = next(found, [])
    return round(int(words[1]) / 1024, 1) if len(words) > 1 and _is_number(words[1]) else None


def resident_mib(statm: str) -> float | None:
    """Read the second number of /proc/PID/statm, pages (proc(5)); None for a process that is gone."""
    words = statm.split()
    return round(int(words[1]) * _PAGE / (1 << 20), 1) if len(words) > 1 and _is_number(words[1]) else None


def processor_seconds(stat: str) -> float:
    """Read utime and stime of /proc/PID/stat (proc(5)), behind a name that may hold anything; 0: it is gone."""
    ticks = stat.rpartition(")")[2].split()[11:13]
    return sum(int(each) for each in ticks if _is_number(each)) / _TICKS


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 20  # noqa: PLR2004 - 64 bits


def _free_mib(folder: Path) -> float | None:
    try:
        disk = os.statvfs(folder)
    except OSError:  # A dying one: the ledger says more of that.
        return None
    return round(disk.f_bavail * disk.f_frsize / (1 << 20), 1)


def _text(path: Path) -> str:
    """Return what the kernel says there; nothing of a process that is gone."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
