"""A device at the end of a real cable: one that is pulled, and one over which packets are late and lost."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import Broker, free_port, need_mosquitto
from device import write_config
from recorder import Recorder
from rigs import lay_cable, need, run
from test_bad_network import arrived_twice
from test_outage import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.rig]

RATE = 10
"""Verdicts a second."""


@contextlib.contextmanager
def distant(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str], Recorder]]:
    """Run a device in a network namespace, and its broker here; yields the namespace, the device, a recorder."""
    need_mosquitto()
    need("ip", "iproute2")
    gateway, _, namespace = lay_cable()
    port, settings = free_port(), tmp_path / "mosquitto.conf"
    lines = (f"listener {port} 127.0.0.1", f"listener {port} {gateway}", "allow_anonymous true", "sys_interval 1")
    settings.write_text("\n".join((*lines, "user root", "")))
    broker = Broker(port, settings)
    broker.start()
    mqtt = {"host": gateway, "port": port, "keepalive_s": 5}
    config = write_config(tmp_path / "device.toml", bundle=tmp_path, camera={"kind": "synthetic"}, mqtt=mqtt)
    program = Path(__file__).with_name("judging.py")
    command = ["ip", "netns", "exec", namespace, sys.executable, program, config]
    try:
        with (
            Recorder(port) as recorder,
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as device,
        ):
            yield namespace, device, recorder
            device.communicate("stop\n")
    finally:
        broker.stop()
        run("ip", "netns", "del", namespace)


def test_a_cable_that_is_pulled(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """No packet passes for a while, and nobody is told: what was judged meanwhile arrives once, in order."""
    with distant(tmp_path) as (namespace, device, recorder):
        answer(device, f"pace {RATE} 4")
        run("ip", "link", "set", f"{namespace}h", "down")
        answer(device, f"pace {RATE} 8")  # Longer than the keep-alive: the device notices.
        run("ip", "link", "set", f"{namespace}h", "up")
        began = time.monotonic()
        answer(device, "delivered")
        seconds = time.monotonic() - began
        again = arrived_twice(recorder, 12 * RATE)
    figure(f"{12 * RATE} verdicts, a cable that is out for 8 s: 0 lost, {again} twice, all there after {seconds:.1f} s")
    assert again <= 2, "more than was in flight"


def test_late_and_lost_packets(tmp_path: Path, figure: Callable[[str], None], *, soak: bool) -> None:
    """With 200 ms there and back, jitter and a twentieth of all packets lost, all arrive once and in order."""
    seconds = 600 if soak else 8
    with distant(tmp_path) as (namespace, device, recorder):
        weather = ("root", "netem", "delay", "100ms", "20ms", "loss", "5%")
        tc = need("tc", "iproute2")
        done = subprocess.run([tc, "qdisc", "add", "dev", f"{namespace}h", *weather], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"the kernel has no sch_netem: {done.stderr.decode().strip()}")
        run(tc, "-n", namespace, "qdisc", "add", "dev", f"{namespace}t", *weather)
        answer(device, f"pace {RATE} {seconds}")
        waiting = seconds * RATE - recorder.named("event")[-1]["seq"]
        answer(device, "delivered")
        again = arrived_twice(recorder, seconds * RATE)
    figure(f"{seconds * RATE} verdicts over 200 ms and 5% loss: 0 lost, {again} twice, {waiting} on the way at the end")
    assert again <= seconds * RATE // 1_000
