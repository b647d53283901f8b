"""The publisher in this process: what happens to verdicts that cannot be delivered."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from conftest import Broker, make_broker
from ledger_samples import event
from puppet import MAXIMUM_PACKET_SIZE, Puppet
from recorder import Recorder
from test_commands import Boss

from edge import config as configs
from edge.album import Album
from edge.contract.ulid import new_ulid
from edge.ledger import mainfile
from edge.ledger.ledger import Ledger
from edge.mqtt import admission, connection, outbox
from edge.mqtt.publisher import Publisher
from edge.mqtt.replay import MOST_RANGES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

    from edge.mqtt.discovery import Discovery

BOOT = new_ulid()


class Line:
    """A ledger and its publisher in this process."""

    def __init__(
        self, folder: Path, port: int, discovery: Discovery | None = None, allow: Sequence[str] = (), **mqtt: object
    ) -> None:
        table = {
            "bundle": "b",
            "camera": {"kind": "synthetic"},
            "device": {"site": "test", "id": "dut"},
            "mqtt": {"host": "127.0.0.1", "port": port, **mqtt},
            "commands": {"allow": list(allow)},
        }
        (folder / "state").mkdir(exist_ok=True)
        self.ledger = Ledger(folder / "state", 64 << 20)
        self.album = Album(folder / "state", 64 << 20)
        config = configs.parse(table, folder / "device.toml")
        self.publisher = Publisher(config, BOOT, self.ledger, self.album, discovery)
        self.publisher.start()
        self.ledger.start(self.publisher.written)

    def judge(self, count: int) -> None:
        """Append so many verdicts and have them written."""
        for _ in range(count):
            self.ledger.append(event())
        self.ledger.flush(10)

    def stop(self, timeout: float) -> int:
        """Stop both and return how many verdicts wait."""
        self.publisher.stop("test", timeout, threading.Event())
        waiting = self.ledger.waiting
        assert self.ledger.close(10) == 0
        return waiting


def refusing(tmp_path: Path, *rules: str) -> Broker:
    """Start a broker with these access rules."""
    (tmp_path / "acl").write_text("\n".join(rules) + "\n")
    (tmp_path / "acl").chmod(0o600)
    # Without a limit mosquitto 2.0.11 hangs up after the first refusal: the second one would never be heard.
    broker = make_broker(tmp_path, "max_queued_messages 1000", "allow_anonymous true", f"acl_file {tmp_path / 'acl'}")
    broker.start()
    return broker


def test_verdicts_wait_over_restarts_and_arrive_in_order(tmp_path: Path) -> None:
    """What three starts without a broker judged arrives when it is there, once and in order, marked historical."""
    broker = make_broker(tmp_path)
    for count in (5, 250, 70):
        away = Line(tmp_path, broker.port)
        away.judge(count)
        away.stop(0.1)
    broker.start()
    with Recorder(broker.port) as recorder:
        there = Line(tmp_path, broker.port)
        there.judge(1)
        events = recorder.wait_for("event", 326)
        assert there.stop(10) == 0
    broker.stop()
    assert [each["seq"] for each in events] == list(range(1, 327))
    assert [each["historical"] for each in events] == [True] * 325 + [False]


def test_an_end_waits_for_a_ledger_that_is_opening(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is judged while a busy machine still looks through a large ledger is written and delivered all the same."""
    opening = threading.Event()
    monkeypatch.setattr(mainfile, "looks_whole", lambda _: opening.wait(10))
    with Recorder(broker.port) as recorder:
        line = Line(tmp_path, broker.port)
        line.ledger.append(event())
        threading.Timer(1, opening.set).start()
        assert line.stop(10) == 0
        recorder.wait_for("event")


def test_a_refused_verdict_is_offered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker whose access rules refuse events gets them all, in order, once the rules allow it; status says why."""
    monkeypatch.setattr(outbox, "REFUSED_SECONDS", 0.2)
    broker = refusing(tmp_path, "topic readwrite inspect/v1/test/dut/status")
    with Recorder(broker.port, persistent=True) as recorder:
        refused = Line(tmp_path, broker.port)
        refused.judge(30)
        assert "refuses inspect/v1/test/dut/event" in recorder.wait_for_status("degraded")["reason"]
        assert refused.ledger.waiting == 30
        (tmp_path / "acl").write_text("topic readwrite #\n")
        broker.reload()
        events = recorder.wait_for("event", 30)
        recorder.wait_for_status("online")
        assert refused.stop(10) == 0
    broker.stop()
    assert [each["seq"] for each in events] == list(range(1, 31))


def test_refusals_are_said_once_with_their_topic(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the access rules refuse, status and health too, is one line a topic, not one a message."""
    broker = refusing(tmp_path, "topic read nothing")
    refused = Line(tmp_path, broker.port)
    refused.judge(30)
    assert refused.stop(1) == 30
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
        silent = Line(tmp_path, server.getsockname()[1])
        silent.judge(1)
        started = time.monotonic()
        assert silent.stop(0.3) == 1
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
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        mute = Line(tmp_path, server.getsockname()[1])
        wait_for_text(caplog, "accepts the connection but does not answer")
        mute.stop(0.1)
    assert [record.levelname for record in caplog.records if "does not answer" in record.getMessage()] == ["WARNING"]


def test_a_silent_broker_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However often paho gives up waiting and tries again, the log has one line, and blames nobody for hanging up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        mute = Line(tmp_path, server.getsockname()[1], keepalive_s=5)
        connections = [server.accept()[0] for _ in range(2)]  # The second comes when paho has given up the first.
        mute.stop(0.1)
        for connection in connections:
            connection.close()
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 1
    assert "does not answer" in lines[0]


def test_a_broker_that_hangs_up_before_a_login_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A server that closes the connection without an answer is said at once, with what to check."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        rejected = Line(tmp_path, server.getsockname()[1])
        server.accept()[0].close()
        wait_for_text(caplog, "hangs up before a login")
        rejected.stop(0.1)
    assert "check mqtt.tls" in caplog.text
    assert "failed to receive" not in caplog.text


def test_an_answer_that_is_not_understood_names_the_other_protocol(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that states the largest packet size of MQTT 5, which our library does not take, is no riddle."""
    with Puppet(properties=MAXIMUM_PACKET_SIZE + b"\xff" * 4) as broker:
        line = Line(tmp_path, broker.port)
        wait_for_text(caplog, "hangs up before a login")
        line.stop(0.1)
    assert 'or set mqtt.protocol = "3.1.1"' in caplog.text


def test_two_devices_with_one_id_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A device whose place another one takes says what to look for, at last in its status, though no broker says it."""
    caplog.set_level("INFO")
    broker = make_broker(tmp_path)
    broker.start()
    (tmp_path / "twin").mkdir()
    first = Line(tmp_path, broker.port)
    wait_for_text(caplog, "connected to broker")
    with Recorder(broker.port) as recorder:
        second = Line(tmp_path / "twin", broker.port)
        wait_for_text(caplog, "another device")
        recorder.wait(lambda r: any("another device" in each["reason"] for each in r.named("status")), 40)
    for one in (first, second):
        one.stop(1)
    broker.stop()
    told = [record.getMessage() for record in caplog.records if "another device" in record.getMessage()]
    assert all("device.id" in line and str(broker.port) in line for line in told)


def test_the_ledger_is_asked_without_the_judging_thread(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`history` and `replay` are answered though nobody judges: in vain while the ledger opens, then as asked.

    The range that is one too many is refused by name, and those that wait arrive all the same.
    """
    before = Line(tmp_path, broker.port)
    before.judge(2)
    assert before.stop(10) == 0
    opening = threading.Event()
    monkeypatch.setattr(mainfile, "looks_whole", lambda _: opening.wait(10))
    monkeypatch.setattr(admission, "BURST", 100)
    with Recorder(broker.port) as recorder, ExitStack() as ends:
        line = Line(tmp_path, broker.port, allow=["history", "replay"])
        recorder.wait_for("status")
        boss = Boss(broker, recorder)
        ends.callback(boss.stop)
        early = boss.ask("history")
        asked = [boss.ask("replay", first=1, last=2) for _ in range(MOST_RANGES + 1)]
        opening.set()
        again = [(each["seq"], each["historical"]) for each in recorder.wait_for("event", 2 * MOST_RANGES)]
        assert [each["seq"] for each in boss.ask("history")["data"]["events"]] == [2, 1]
        assert line.publisher.intake.requests.empty()
        assert line.stop(10) == 0
    assert (early["status"], "being opened" in early["error"]) == ("failed", True)
    assert [each["status"] for each in asked] == ["ok"] * MOST_RANGES + ["failed"]
    assert "20 ranges wait" in asked[-1]["error"]
    assert again == [(1, True), (2, True)] * MOST_RANGES
