"""The publisher in this process: what happens to verdicts that cannot be delivered."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from conftest import free_port, make_broker

from edge import clock, publisher
from edge import config as configs
from edge.contract.messages import Event, Latency, Verdict
from edge.contract.ulid import new_ulid
from edge.publisher import Publisher

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

BOOT = new_ulid()


def event(seq: int) -> Event:
    return Event(
        id=new_ulid(),
        seq=seq,
        boot_id=BOOT,
        time=clock.now(),
        clock_synced=True,
        camera="camera",
        region="whole",
        trigger=f"free-{seq}",
        source=str(seq),
        verdict=Verdict.PASS,
        frame_verdict=Verdict.PASS,
        reason="",
        label="intact",
        score=1.0,
        scores={"intact": 1.0},
        threshold=0.5,
        model=None,
        latency_ms=Latency(wait=0, preprocess=0, invoke=0, total=0),
    )


def start(tmp_path: Path, port: int, **mqtt: object) -> Publisher:
    table = {
        "bundle": "b",
        "camera": {"kind": "synthetic"},
        "device": {"site": "test", "id": "dut"},
        "mqtt": {"host": "127.0.0.1", "port": port, **mqtt},
    }
    started = Publisher(configs.parse(table, tmp_path / "device.toml"), BOOT)
    started.start()
    return started


def test_a_full_memory_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker is away, verdicts beyond the limit are refused and counted, the older ones kept."""
    monkeypatch.setattr(publisher, "MAX_WAITING", 5)
    away = start(tmp_path, free_port())
    for seq in range(1, 9):
        away.send(event(seq))
    assert away.stop("test", 0.5, threading.Event()) == 5 + 3
    assert away.lost == 3


def test_a_refused_verdict_is_counted(tmp_path: Path) -> None:
    """A broker whose access rules refuse events (MQTT 5 says so) makes them lost, and that is counted."""
    rules = tmp_path / "acl"
    rules.write_text("topic write inspect/v1/test/dut/status\n")
    rules.chmod(0o600)
    broker = make_broker(tmp_path, "allow_anonymous true", f"acl_file {rules}")
    broker.start()
    refused = start(tmp_path, broker.port)
    for seq in (1, 2):
        refused.send(event(seq))
    assert refused.stop("test", 10, threading.Event()) == 2
    broker.stop()
    assert refused.lost == 2


def test_refusals_are_said_once_with_their_topic(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the access rules refuse, status and health too, is one line a topic, not one a message."""
    rules = tmp_path / "acl"
    rules.write_text("topic read nothing\n")
    rules.chmod(0o600)
    broker = make_broker(tmp_path, "allow_anonymous true", f"acl_file {rules}")
    broker.start()
    refused = start(tmp_path, broker.port)
    for seq in range(1, 30):
        refused.send(event(seq))
    assert refused.stop("test", 10, threading.Event()) == 29
    broker.stop()
    lines = [record.getMessage() for record in caplog.records if "refuses" in record.getMessage()]
    assert sorted(line.split()[3].rpartition("/")[2] for line in lines) == ["event", "status"]


def test_stop_is_quick_while_connecting_to_a_silent_host(tmp_path: Path) -> None:
    """A host that neither accepts nor refuses a connection does not hold up the end."""
    with socket.socket() as server, ExitStack() as fillers:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):  # A full backlog: the kernel leaves further connection requests unanswered.
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        silent = start(tmp_path, server.getsockname()[1])
        silent.send(event(1))
        started = time.monotonic()
        assert silent.stop("test", 0.3, threading.Event()) == 1
        assert time.monotonic() - started < 1


def wait_for_text(caplog: pytest.LogCaptureFixture, text: str, seconds: float = 10) -> None:
    """Wait until something that was logged contains a text."""
    deadline = time.monotonic() + seconds
    while text not in caplog.text:
        assert time.monotonic() < deadline, caplog.text
        time.sleep(0.01)


def test_a_broker_that_never_answers_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Something that accepts connections but speaks no MQTT is said at once, not when the keep-alive runs out."""
    caplog.set_level("INFO")
    monkeypatch.setattr(publisher, "CONNECT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        mute = start(tmp_path, server.getsockname()[1])
        wait_for_text(caplog, "accepts the connection but does not answer")
        mute.stop("test", 0.1, threading.Event())
    assert [record.levelname for record in caplog.records if "does not answer" in record.getMessage()] == ["WARNING"]


def test_a_silent_broker_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However often paho gives up waiting and tries again, the log has one line, and blames nobody for hanging up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        mute = start(tmp_path, server.getsockname()[1], keepalive_s=5)
        connections = [server.accept()[0] for _ in range(2)]  # The second comes when paho has given up the first.
        mute.stop("test", 0.1, threading.Event())
        for connection in connections:
            connection.close()
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 1
    assert "does not answer" in lines[0]


def test_a_broker_that_hangs_up_before_a_login_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A server that closes the connection without an answer is said at once, with what to check."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        rejected = start(tmp_path, server.getsockname()[1])
        server.accept()[0].close()
        wait_for_text(caplog, "hangs up before a login")
        rejected.stop("test", 0.1, threading.Event())
    assert "check mqtt.tls" in caplog.text
    assert "failed to receive" not in caplog.text


def test_two_devices_with_one_id_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The device whose place another one takes at the broker says what to look for."""
    caplog.set_level("INFO")
    broker = make_broker(tmp_path)
    broker.start()
    first = start(tmp_path, broker.port)
    wait_for_text(caplog, "connected to broker")
    second = start(tmp_path, broker.port)
    wait_for_text(caplog, "another device")
    for one in (first, second):
        one.stop("test", 1, threading.Event())
    broker.stop()
    told = [record.getMessage() for record in caplog.records if "another device" in record.getMessage()]
    assert all("device.id" in line and str(broker.port) in line for line in told)
