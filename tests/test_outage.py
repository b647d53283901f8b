"""A broker that is away for a day: verdicts wait on the disk, not in memory, and an alarm does not wait behind them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from conftest import Broker, make_broker
from device import write_config
from paho.mqtt.enums import CallbackAPIVersion
from recorder import hang_up

if TYPE_CHECKING:
    from collections.abc import Callable

LIVE_RATE = 10
"""Verdicts a second: of a day's 864,000."""


PATIENCE = 30.0
"""Seconds for what takes one."""


class Counter:
    """A subscriber that keeps numbers, not messages."""

    def __init__(self, port: int) -> None:
        self.seqs = 0
        self.last = 0
        self.disorder = 0
        self.alarm_at = 0.0
        self._more = threading.Condition()
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("inspect/v1/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def wait_for(self, seq: int, seconds: float) -> None:
        """Return when this number has come; fail if it has not in time."""
        with self._more:
            assert self._more.wait_for(lambda: self.last >= seq, seconds), f"{self.last}, not {seq}, after {seconds} s"

    def stop(self) -> None:
        """Disconnect."""
        hang_up(self._client)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        name = message.topic.split("/")[4]
        if name == "alarm":
            self.alarm_at = time.monotonic()
        elif name == "event":
            seq = json.loads(message.payload)["seq"]
            self.seqs += seq > self.last
            self.disorder += seq != self.last + 1
            with self._more:
                self.last = seq
                self._more.notify_all()


def answer(device: subprocess.Popen[str], words: str) -> list[float]:
    """Tell a device of judging.py what to do, and return what it answers."""
    assert device.stdin is not None
    assert device.stdout is not None
    device.stdin.write(f"{words}\n")
    device.stdin.flush()
    return [float(word) for word in device.stdout.readline().split()]


def test_a_day_without_a_broker(tmp_path: Path, figure: Callable[[str], None], *, soak: bool) -> None:
    """A day's verdicts at 10 a second, as fast as they can be given, grow no memory, and then arrive in order.

    They are delivered at ten times the rate of their coming at least, and a DEFECT's alarm overtakes them.
    """
    count = 864_000 if soak else 20_000
    broker = make_broker(tmp_path)
    mqtt = {"host": "127.0.0.1", "port": broker.port}
    config = write_config(tmp_path / "device.toml", bundle=tmp_path, camera={"kind": "synthetic"}, mqtt=mqtt)
    command = [sys.executable, Path(__file__).with_name("judging.py"), config]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as device:
        *_, before, _, _ = answer(device, "judge 1000")
        answer(device, f"judge {count - 1000}")
        device.send_signal(signal.SIGSTOP)  # It may be about to connect: nothing is to come before somebody counts.
        try:
            broker.start()
            counter = Counter(broker.port)
        finally:
            device.send_signal(signal.SIGCONT)
        counter.wait_for(count // 10, PATIENCE + count / LIVE_RATE / 10)
        started, first = time.monotonic(), counter.last
        asked, *_ = answer(device, "defect")
        _, ended, peak, _, _ = answer(device, "delivered")
        counter.wait_for(count + 1, PATIENCE)
        device.communicate("stop\n")
    counter.stop()
    broker.stop()
    rate = (count + 1 - first) / (ended - started)
    late = counter.alarm_at - asked
    figure(
        f"{count} verdicts: {count + 1 - counter.seqs} lost, {counter.disorder} out of order, drained at {rate:.0f}/s,"
        f" alarm after {late * 1e3:.0f} ms, memory {before:.0f} MiB, +{peak - before:.1f} at most"
    )
    assert (counter.seqs, counter.disorder) == (count + 1, 0)
    assert rate >= 10 * LIVE_RATE
    assert 0 <= late <= 1
    assert peak - before <= 20


def test_a_pass_costs_little_of_the_disk(
    tmp_path: Path, broker: Broker, figure: Callable[[str], None], *, soak: bool
) -> None:
    """At ten verdicts a second, delivered as they come, a PASS writes 1.5 KB at most, with its share of all else."""
    seconds = 3_600 if soak else 20
    mqtt = {"host": "127.0.0.1", "port": broker.port}
    config = write_config(tmp_path / "device.toml", bundle=tmp_path, camera={"kind": "synthetic"}, mqtt=mqtt)
    command = [sys.executable, Path(__file__).with_name("judging.py"), config]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as device:
        before = answer(device, "pace 10 2")[3:]
        after = answer(device, f"pace {LIVE_RATE} {seconds}")[3:]
        device.communicate("stop\n")
    calls, pages = ((now - then) / (LIVE_RATE * seconds) for now, then in zip(after, before, strict=True))
    figure(f"{LIVE_RATE * seconds} verdicts in {seconds} s: {calls:.0f} bytes each; {pages:.0f} in whole 4 KiB pages")
    assert calls <= 1_500
