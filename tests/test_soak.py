"""An hour at ten frames a second: the daemon's memory, descriptors and threads stay what they were."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from device import running_daemon, stop, write_config
from recorder import Recorder
from remote_pi import RemotePi

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from conftest import Broker

SECONDS, SOAK_SECONDS = 30.0, 3_600.0
SETTLED_SECONDS, SOAK_SETTLED_SECONDS = 10.0, 600.0
"""Until caches, buffers and the allocator have what they need."""
RATE = 10.0
LEAST_SHARE = 0.5
"""Of the frames, for this to be about the load that it says: the cores are shared."""
MOST_MIB_AN_HOUR = 1.0
MOST_MIB = 4.0
"""In the short form, whose slope is that of single pages."""


class Look(NamedTuple):
    """What a process has at a moment."""

    at: float
    rss_mib: float
    descriptors: int
    threads: int


def look(pid: int) -> Look:
    """Look at a process now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Look(time.monotonic(), int(status["VmRSS"].split()[0]) / 1024, descriptors, int(status["Threads"]))


def watch(daemon: subprocess.Popen[str], seconds: float) -> list[Look]:
    """Look at it once a second."""
    looks, end = [look(daemon.pid)], time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(1.0)  # The pace of the measurement, nothing that is waited for.
        assert daemon.poll() is None
        looks.append(look(daemon.pid))
    return looks


def most(looks: list[Look], what: str) -> int:
    """Return the most that a process had of something."""
    return max(int(getattr(each, what)) for each in looks)


def test_nothing_grows(
    tmp_path: Path, broker: Broker, demo_bundle: Path, figure: Callable[[str], None], *, soak: bool
) -> None:
    """By least squares memory grows by less than 1 MiB an hour, once settled; descriptors and threads do not."""
    seconds, settled = (SOAK_SECONDS, SOAK_SETTLED_SECONDS) if soak else (SECONDS, SETTLED_SECONDS)
    pi = RemotePi(tmp_path, (640, 480), RATE)
    config = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera=pi.camera,
        mqtt={"host": "127.0.0.1", "port": broker.port},
        ledger={"pictures_mib": 4},
        health_every_s=1.0,
    )
    with running_daemon(config, pi.environment) as daemon:
        with Recorder(broker.port, "early") as recorder:
            recorder.wait_for("event", 10, 60)
        watch(daemon, settled)
        looks = watch(daemon, seconds - settled)
        with Recorder(broker.port, "late") as recorder:
            judged = recorder.wait_for("health")[0]["frames_judged"]
        stop(daemon)
        assert daemon.returncode == 0
    slope = 3_600 * float(np.polyfit([each.at for each in looks], [each.rss_mib for each in looks], 1)[0])
    first, last = looks[0], looks[-1]
    figure(
        f"{judged} frames in {seconds:.0f} s; RSS {first.rss_mib:.1f} to {last.rss_mib:.1f} MiB, {slope:+.2f} MiB/h;"
        f" {last.descriptors} descriptors, {last.threads} threads"
    )
    assert judged > LEAST_SHARE * RATE * seconds
    half = len(looks) // 2
    assert most(looks[half:], "descriptors") <= most(looks[:half], "descriptors")
    assert most(looks[half:], "threads") <= most(looks[:half], "threads")
    if soak:
        assert slope < MOST_MIB_AN_HOUR
    else:
        assert last.rss_mib - first.rss_mib < MOST_MIB
