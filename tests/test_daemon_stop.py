"""How the daemon ends when it is told to: in time, whatever it waits for."""

from __future__ import annotations

import importlib
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Broker, free_port
from device import end, injected, running_daemon, stop
from recorder import Recorder
from test_daemon import config_for

from edge.stopping import StoppedEarlyError, StopSignals

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

STOP_SECONDS = 2.0
_KILLED_AT_A_THREAD = """
import os, signal, threading
start = threading.Thread.start
def killed(thread):
    if thread.name == os.environ["BEGINS"]:
        signal.raise_signal(signal.SIGTERM)
    start(thread)
threading.Thread.start = killed
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_ends_within_two_seconds(tmp_path: Path, broker: Broker, demo_bundle: Path, number: signal.Signals) -> None:
    """A kill or a closed terminal ends a running daemon cleanly in time; the broker's retained status says offline."""
    config = config_for(tmp_path, demo_bundle, broker.port, {"kind": "synthetic", "rate": 20})
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        recorder.wait_for("event", 3)
        started = time.monotonic()
        daemon.send_signal(number)
        log = end(daemon, 10)
        assert time.monotonic() - started < STOP_SECONDS
        assert daemon.returncode == 0
        assert "Traceback" not in log
        assert recorder.wait_for_status("offline")["reason"] == "stopped"


@pytest.mark.parametrize("name", ["mqtt-sender", "ledger"])
def test_a_stop_while_a_thread_begins_is_in_order(tmp_path: Path, broker: Broker, demo_bundle: Path, name: str) -> None:
    """A kill amid the first milliseconds of a start is obeyed once its threads run: the end joins and asks them."""
    config = config_for(tmp_path, demo_bundle, broker.port, {"kind": "synthetic"})
    killed = injected(tmp_path, _KILLED_AT_A_THREAD, BEGINS=name)
    with Recorder(broker.port) as recorder, running_daemon(config, killed) as daemon:
        log = end(daemon, 10)
        assert (daemon.returncode, log.count("Traceback")) == (0, 0), log
        assert recorder.wait_for_status("offline")["reason"] == "stopped"


def test_nohup_outlives_its_terminal() -> None:
    """Where a closed terminal is to be nothing, it is nothing to the daemon either."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGHUP)
            assert not signals.stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_stop_signal_may_come_while_one_is_handled() -> None:
    """The second of two, as a dying parent's threads send them, does not make the daemon wait for itself for ever."""

    class Interrupted(threading.Event):
        times = 0

        def set(self) -> None:
            self.times += 1
            assert self.times == 1, "here the first call still holds the lock"
            signal.raise_signal(signal.SIGTERM)
            super().set()

    with StopSignals() as signals:
        signals.stop = Interrupted()
        signal.raise_signal(signal.SIGTERM)
        assert signals.stop.is_set()


def test_a_stop_signal_leaves_the_import_lock_alone() -> None:
    """One that comes while an import holds a lock breaks off the start right after it, and imports still work."""
    sent = []

    def while_locking(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == "cb" and "importlib" in code.co_filename and not sent:
            sent.append(code)
            signal.raise_signal(signal.SIGTERM)

    sys.modules.pop("colorsys", None)

    def start() -> None:
        sys.setprofile(while_locking)
        try:
            importlib.import_module("colorsys")
            time.sleep(STOP_SECONDS)
        finally:
            sys.setprofile(None)

    with StopSignals() as signals:
        signals.break_off()
        with pytest.raises(StoppedEarlyError):
            start()
        assert signals.stop.is_set()
    assert sent
    sys.modules.pop("colorsys", None)
    assert importlib.import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_sigterm_ends_in_time_without_a_broker(tmp_path: Path, demo_bundle: Path) -> None:
    """A broker that is away does not hold up the end, and what waits for it is said."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(tmp_path / "notify"))
        notifications.settimeout(30)
        config = config_for(tmp_path, demo_bundle, free_port(), {"kind": "synthetic", "rate": 20})
        with running_daemon(config, {"NOTIFY_SOCKET": str(tmp_path / "notify")}) as daemon:
            while notifications.recv(64) != b"WATCHDOG=1":
                pass
            started = time.monotonic()
            log = stop(daemon)
            assert time.monotonic() - started < STOP_SECONDS
    assert daemon.returncode == 0
    assert "wait in the ledger" in log


def test_sigterm_ends_in_time_while_the_camera_opens(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A stream that accepts a connection and stays silent does not hold up the end, nor the word `offline`."""
    pytest.importorskip("av", reason="the camera extra is not installed")
    with socket.create_server(("127.0.0.1", 0)) as silent, Recorder(broker.port) as recorder:
        camera = {"kind": "video", "source": f"tcp://127.0.0.1:{silent.getsockname()[1]}"}
        with running_daemon(config_for(tmp_path, demo_bundle, broker.port, camera)) as daemon:
            connection, _ = silent.accept()
            assert recorder.wait_for("status")[-1]["state"] == "degraded"
            started = time.monotonic()
            stop(daemon)
            assert time.monotonic() - started < STOP_SECONDS
            connection.close()
        assert daemon.returncode == 0
        assert recorder.wait_for_status("offline")["reason"] == "stopped"
