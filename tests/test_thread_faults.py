"""A thread of the real daemon that ends is no silent loss: it is mended, or the process ends, to be started anew."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from device import end, running_daemon, stop, write_config
from recorder import Recorder
from remote_pi import RemotePi
from seeing import sees
from spark_host import until
from test_publisher import Line

from edge import threads
from edge.errors import InspectError
from edge.supervision import Watchdog, notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Broker

NEVER_RESTARTED = (0, 2, 3, 4)
"""Exit codes that systemd leaves it at, by the unit."""


@pytest.fixture
def hearing() -> Iterator[None]:
    """Hear of threads as the daemon does."""
    with threads.watched():
        yield


def config_for(tmp_path: Path, bundle: Path, port: int, camera: dict[str, Any]) -> Path:
    """Write the configuration of a device that has every thread there is, but an accelerator's."""
    return write_config(
        tmp_path / "device.toml",
        bundle=bundle,
        camera=camera,
        mqtt={"host": "127.0.0.1", "port": port},
        outputs=[{"pin": "22", "verdicts": ["DEFECT", "UNKNOWN"]}],
        sparkplug={"group_id": "hall"},
        health_every_s=0.5,
    )


@pytest.mark.parametrize(
    "name",
    [
        "MainThread",
        "capture",
        "ledger",
        "mqtt-sender",
        "mqtt-connection",
        "evidence",
        "outputs",
        "sparkplug",
        "lookout",
        "door",
    ],
)
def test_a_thread_that_ends_takes_the_daemon_with_it(
    tmp_path: Path, broker: Broker, demo_bundle: Path, name: str
) -> None:
    """With a code that systemd starts it anew for, one line that names the thread, and the same as its last status."""
    pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install gpiozero")
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera)
    pins = {"GPIOZERO_PIN_FACTORY": "mock"}
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment | pins) as daemon:
        recorder.wait(lambda r: sees(r, 0))
        pi.do(f"kill {name}")
        if name == "door":  # It waits for callers, and ends at the next one.
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
                caller.connect(str(tmp_path / "state" / "live.sock"))
        pi.do("cover")  # A black picture is UNKNOWN: pictures are made of it, and pins switched.
        said = end(daemon, 30)
        assert daemon.returncode not in NEVER_RESTARTED, said
        last = f"the thread {name} ended (SystemExit()); only a new start brings it back"
        assert said.splitlines()[-1] == f"edge-inspect: {last}"
        told = recorder.wait_for_status("offline")["reason"]
        assert told == ("connection lost" if name == "mqtt-sender" else last)


def test_a_connection_whose_thread_ends_is_made_anew(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Judging goes on meanwhile, and no verdict is lost: no broker's odd packet may stop the line."""
    pi = RemotePi(tmp_path)
    config = write_config(
        tmp_path / "device.toml", bundle=demo_bundle, camera=pi.camera, mqtt={"host": "127.0.0.1", "port": broker.port}
    )
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment) as daemon:
        recorder.wait(lambda r: sees(r, 0))
        before = len(recorder.named("status"))
        pi.do("kill paho-mqtt-client")
        recorder.wait(lambda r: len(r.named("status")) > before)
        behind = len(recorder.named("event"))
        recorder.wait(lambda r: sees(r, behind))
        assert "the connection's thread ended, a new one is made" in stop(daemon)
        assert daemon.returncode == 0
        recorder.wait_for_status("offline")
    numbers = sorted({event["seq"] for event in recorder.named("event")})
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.usefixtures("hearing")
@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit(), MemoryError()])
def test_the_watchdog_is_not_fed_past_a_dead_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Whatever ended it, whoever's it was: the next to feed the watchdog hears of it, and systemd nothing."""

    def die() -> None:
        raise error

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        thread = threading.Thread(target=die, name="a library's")
        thread.start()
        thread.join()
        with pytest.raises(InspectError, match=r"the thread a library's ended .*; only a new start"):
            Watchdog().feed()
        notifications.setblocking(False)
        with pytest.raises(BlockingIOError):
            notifications.recv(100)


def test_a_service_manager_that_hangs_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody reads what it is told, telling it takes a moment and then is given up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.connect(str(tmp_path / "notify"))
            other.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    other.send(b"WATCHDOG=1")
        started = time.monotonic()
        notify("WATCHDOG=1")
        assert time.monotonic() - started < 10


@pytest.mark.usefixtures("hearing")
def test_what_is_renewed_is_no_reason_to_end() -> None:
    """A connection's thread of paho's is another matter: its own connection sees to it."""

    def die() -> None:
        raise SystemExit

    thread = threading.Thread(target=die, name=f"{threads.RENEWED}-edge-inspect/hall/7")
    thread.start()
    thread.join()
    threads.check()


def test_systemd_is_told_how_it_fares_when_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text once, as one line of bearable length, whatever is in it."""
    monkeypatch.setattr("edge.supervision.FEED_SECONDS", 0.0)
    texts = iter(["online", "online", "degraded: a\nb \ud800 " + "\U000e0001" * 5000])
    watchdog = Watchdog(lambda: next(texts))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        for _ in range(3):
            watchdog.feed()
        notifications.setblocking(False)
        heard = [notifications.recv(10_000) for _ in range(5)]
        with pytest.raises(BlockingIOError):
            notifications.recv(1)
    assert heard[:4] == [b"WATCHDOG=1", b"STATUS=online", b"WATCHDOG=1", b"WATCHDOG=1"]
    assert heard[4].startswith(rb"STATUS=degraded: a\nb \ud800 ")
    assert len(heard[4]) <= 4096


def test_a_process_that_stood_still_blames_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the minutes that it was stopped for a second counts at most; of a thread that goes on, none does."""
    times = iter((0.0, 1.0, 2.0, 600.0, 600.5, 601.0))
    monkeypatch.setattr("edge.threads.time.monotonic", lambda: next(times))
    pulse = threads.Pulse()
    assert [pulse.silent for _ in range(4)] == [1.0, 2.0, 3.0, 3.5]
    pulse.beat()
    assert pulse.silent == 0.0


def test_a_sender_that_hangs_ends_the_daemon(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would hear of anything any more; one that has nothing to say may wait for as long as it likes."""
    monkeypatch.setattr(threads, "HANG_SECONDS", 0.2)
    let_go, reached = threading.Event(), threading.Event()
    line = Line(tmp_path, broker.port)
    began = time.monotonic()
    until(lambda: line.publisher.report("camera", "") or time.monotonic() - began > 1)
    monkeypatch.setattr(line.publisher.condition, "present", lambda: (reached.set(), let_go.wait(60)))
    line.publisher.report("camera", "gone")
    assert reached.wait(10)

    def hangs() -> bool:
        try:
            line.publisher.report("camera", str(time.monotonic()))
        except InspectError as error:
            assert "the thread mqtt-sender has not come back" in str(error)  # noqa: PT017 - it comes at some time
            return True
        return False

    until(hangs)
    monkeypatch.undo()
    let_go.set()
    line.stop(10)
