"""The real process `edge-inspect run` against the bare script: start-up, memory, and what a subscriber sees."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from device import write_config
from PIL import Image

from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.bundle import MODEL
from edge.errors import BrokerError
from edge.synthetic import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.contract.preprocess import Pixels

HERE = Path(__file__).parent
IDLE_RATE = 5.0
"""Frames per second of a daemon that has next to nothing to do."""
IDLE_EVENTS = 8
"""Its memory is read after so many verdicts."""

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds until the first verdict was there, until the subscriber had it (and of CPU), MiB once idle."""

    verdict_s: float
    delivered_s: float
    cpu_s: float
    rss_mib: float


class Subscriber:
    """The subscriber process."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "subscriber.py"), str(port)], stdout=subprocess.PIPE, text=True
        )
        self._lines: SimpleQueue[str] = SimpleQueue()
        # Read at once: a subscriber that has to wait for its reader would measure that.
        threading.Thread(target=self._read, daemon=True).start()
        self._line()

    def event(self) -> tuple[float, dict[str, Any]]:
        """Wait for the next event: when it arrived (seconds since the epoch) and its body."""
        arrived, _, body = self._line().partition(" ")
        return float(arrived), json.loads(body)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)

    def _line(self) -> str:
        try:
            return self._lines.get(timeout=PATIENCE_SECONDS)
        except Empty:
            raise BrokerError(f"the benchmark's subscriber heard nothing for {PATIENCE_SECONDS:g} s") from None


@contextmanager
def subscriber(port: int) -> Iterator[Subscriber]:
    """Run a subscriber."""
    process = Subscriber(port)
    try:
        yield process
    finally:
        process.close()


def bare(bundle: Path) -> Start:
    """Start the bare script once."""
    started = time.time()
    command = [sys.executable, str(HERE / "bare.py"), str(bundle / MODEL)]
    output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    done, cpu, rss = map(float, output.split())
    return Start(done - started, done - started, cpu, rss)


def daemon(bundle: Path, port: int, events: Subscriber, state_dir: Path) -> Start:
    """Start the daemon once on a picture of its model's size, let it idle for a while, and stop it."""
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(_picture(bundle)).save(Path(folder, "part.png"))
        config = write_config(
            Path(folder, "device.toml"),
            bundle=bundle,
            camera={"kind": "folder", "path": folder, "rate": IDLE_RATE, "loop": True},
            mqtt={"host": "127.0.0.1", "port": port},
            state_dir=str(state_dir),
        )
        started = time.time()
        command = [str(Path(sys.executable).with_name("edge-inspect")), "run", "--config", str(config)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            arrived, event = _first(events, started)
            cpu = _cpu_s(process.pid)
            for _ in range(IDLE_EVENTS):
                events.event()
            rss = _rss_mib(process.pid)
        finally:
            process.terminate()
            process.wait()
    verdict = exposed(event) + event["latency_ms"]["total"] / 1e3
    return Start(verdict - started, arrived - started, cpu, rss)


@cache
def _picture(bundle: Path) -> Pixels:
    height, width = Classifier(bundles.read(bundle)).input_size
    return render(0, 0, height=height, width=width).pixels


def exposed(event: dict[str, Any]) -> float:
    """Return when the frame was exposed, seconds since the epoch."""
    return datetime.fromisoformat(event["time"]).timestamp()


def _first(events: Subscriber, since: float) -> tuple[float, dict[str, Any]]:
    """Skip what the process before still sent."""
    while True:
        arrived, event = events.event()
        if exposed(event) > since:
            return arrived, event


def _cpu_s(pid: int) -> float:
    """Sum up what all threads of a process have run (proc(5), schedstat: nanoseconds)."""
    return sum(int(path.read_text("ascii").split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1024
