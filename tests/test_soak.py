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
GROUP = 5
"""Looks, of which the least counts: the pictures that are being judged come and go."""
LEAST_SHARE = {True: 0.95, False: 0.5}
"""Of the frames, for this to be about the load that it says, in the long form and in the short one on busy cores."""
MOST_MIB_AN_HOUR = 1e6 / (1 << 20)
"""One MB."""
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


def least(looks: list[Look], what: str) -> float:
    """Return the least that a process had of something: what it has for a moment is given back."""
    return min(float(getattr(each, what)) for each in looks)


def slope(looks: list[Look]) -> float:
    """Return by how many MiB an hour memory grows: least squares of what there is at least in GROUP looks each."""
    groups = [looks[at : at + GROUP] for at in range(0, len(looks) - GROUP + 1, GROUP)]
    times, sizes = [group[0].at for group in groups], [least(group, "rss_mib") for group in groups]
    return 3_600 * float(np.polyfit(times, sizes, 1)[0])


def test_nothing_grows(
    tmp_path: Path, broker: Broker, demo_bundle: Path, figure: Callable[[str], None], *, soak: bool
) -> None:
    """By least squares memory grows by less than 1 MB an hour, once settled; descriptors and threads do not."""
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
    grown, half, last = slope(looks), len(looks) // 2, looks[-1]
    before, after = (least(part, "rss_mib") for part in (looks[:half], looks[half:]))
    figure(
        f"{judged} frames in {seconds:.0f} s; RSS {before:.1f} to {after:.1f} MiB, {grown:+.2f} MiB/h;"
        f" {last.descriptors} descriptors, {last.threads} threads"
    )
    assert judged > LEAST_SHARE[soak] * RATE * seconds
    assert least(looks[half:], "descriptors") <= least(looks[:half], "descriptors")
    assert least(looks[half:], "threads") <= least(looks[:half], "threads")
    if soak:
        assert grown < MOST_MIB_AN_HOUR
    else:
        assert after - before < MOST_MIB
