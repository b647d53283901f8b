"""The Sparkplug node and its hosts: one that it waits for, ones that ask for a rebirth, and hostile ones."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from conftest import make_broker
from device import running_daemon, stop, write_config
from recorder import Recorder
from shipped import credentials, shipped_broker
from spark_host import GROUP, HOST, REBIRTH, SparkHost, until
from spark_line import Line, check_verdicts

from edge.sparkplug import payload

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from conftest import Broker

RULES = {"NBIRTH": "readwrite", "NDATA": "write", "NDEATH": "write", "NCMD": "read"}


def test_a_primary_host_is_waited_for(tmp_path: Path, broker: Broker) -> None:
    """While the primary host is not online nothing is published; afterwards all is, and an old word counts nothing."""
    with SparkHost(broker.port) as host:
        line = Line(tmp_path, broker.port, primary_host_id=HOST)
        line.judge(3)
        host.send("spBv1.0/STATE/other", b'{"online": true, "timestamp": 1}', retain=True)
        for nonsense in (
            b"ONLINE",
            b"{}",
            b'{"online": "true", "timestamp": 1}',
            b'{"x":' + b"[" * 9_000,
            b"\xff",
            b"",
        ):
            host.send(f"spBv1.0/STATE/{HOST}", nonsense, retain=False)
        host.say(online=False, timestamp=1_000)
        until(lambda: line.node._host.online is False)  # It listens.
        assert host.heard == []
        host.say(online=True, timestamp=2_000)
        host.wait_for("NBIRTH")
        host.wait(lambda h: h.numbers() == [1, 2, 3])
        host.say(online=False, timestamp=1_999)
        line.judge(1)
        host.wait(lambda h: h.numbers()[-1] == 4)
        assert not host.of("NDEATH")
        host.say(online=False, timestamp=2_000)
        host.wait_for("NDEATH", 2)
        known = len(host.heard)
        line.judge(30)
        until(lambda: broker.log().count("as edge-inspect/test/dut/sparkplug") == 2)
        until(lambda: line.node._link.connected is True and line.node._host.online is False)
        assert len(host.heard) == known
        host.say(online=True, timestamp=3_000)
        host.wait(lambda h: h.numbers()[-1] == 34)
        assert [each.bd_seq for each in host.of("NBIRTH")] == [0, 1]
        rows = line.rows()
        line.stop()
        check_verdicts(host, rows)
        host.check_session()


def test_a_host_that_is_not_there_is_a_trouble(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """That verdicts wait for a host is told, with its name, and an end does not wait for it."""
    monkeypatch.setattr("edge.sparkplug.node.PATIENCE_SECONDS", 0.0)
    with SparkHost(broker.port) as host:
        host.say(online=False)
        line = Line(tmp_path, broker.port, primary_host_id=HOST)
        line.judge(1)
        until(lambda: HOST in line.node.trouble())
        began = time.monotonic()
        line.node.stop(10)
        assert time.monotonic() - began < 5
        line.ledger.close(10)


def test_a_rebirth_tells_everything_again_and_cannot_be_abused(tmp_path: Path, broker: Broker) -> None:
    """A rebirth has the connection's bdSeq and begins at seq 0; many that are asked for at once are one or two."""
    with SparkHost(broker.port) as host:
        line = Line(tmp_path, broker.port)
        line.judge(600)
        host.wait(lambda h: len(h.numbers()) == 600)
        host.ask_rebirth()
        host.wait_for("NBIRTH", 2)
        for _ in range(100):
            host.ask_rebirth()
        line.judge(5)
        host.wait(lambda h: h.numbers()[-1] == 605)
        births = host.of("NBIRTH")
        assert len(births) in {2, 3}
        assert {birth.bd_seq for birth in births} == {0}
        assert births[1].values["Inspection/Sequence"] == 600
        rows = line.rows()
        line.stop()
        check_verdicts(host, rows)
        host.check_session()


def test_hostile_commands_change_nothing(tmp_path: Path, broker: Broker) -> None:
    """Random bytes, damaged rebirths, retained ones and other commands neither end the node nor are obeyed."""
    dice = random.Random(7)  # noqa: S311 - payloads, not secrets
    with SparkHost(broker.port) as host:
        valid = payload.Payload(timestamp=1)
        valid.metrics.add(name=REBIRTH, boolean_value=True)
        proper = valid.SerializeToString()
        host.command(proper, retain=True)  # As such it is told only to who comes later.
        line = Line(tmp_path, broker.port)
        host.wait_for("NBIRTH")
        for _ in range(300):
            damaged = bytearray(proper)
            damaged[dice.randrange(4, len(proper) - 2)] ^= dice.randrange(1, 256)
            host.command(dice.choice([bytes(damaged), dice.randbytes(dice.randrange(2_000)), proper[:-1]]))
        host.command(proper + b"\x2a\x80\x80\x08" + bytes(1 << 17))
        for name, value in ((REBIRTH, False), ("Node Control/Reboot", True), (f"{REBIRTH} ", True)):
            other = payload.Payload()
            other.metrics.add(name=name, boolean_value=value)
            host.command(other.SerializeToString())
        line.judge(3)
        host.wait(lambda h: h.numbers() == [1, 2, 3])
        line.stop()
        assert len(host.of("NBIRTH")) == 1


def test_a_daemon_stops_in_time(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """With a node that waits for its host SIGTERM ends the daemon as quickly as without."""
    camera = {"kind": "synthetic", "rate": 20, "width": 64, "height": 64}
    config = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera=camera,
        mqtt={"host": "127.0.0.1", "port": broker.port},
        sparkplug={"group_id": GROUP, "primary_host_id": HOST},
    )
    with SparkHost(broker.port) as host, Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        recorder.wait_for("event", 5)
        began = time.monotonic()
        assert "Traceback" not in stop(daemon)
        assert time.monotonic() - began < 3
        assert {each.kind for each in host.heard} <= {"NDEATH"}


def test_access_rules_that_forbid_it_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a broker drops what the node says, or hangs up on it, that is what is told; mended, all verdicts arrive."""
    caplog.set_level("INFO")
    monkeypatch.setattr("edge.sparkplug.node.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("edge.sparkplug.session.ECHO_SECONDS", 0.3)
    rules = tmp_path / "acl"
    rules.write_text("topic read spBv1.0/#\n")
    rules.chmod(0o600)
    broker = make_broker(tmp_path, "allow_anonymous true", f"acl_file {rules}")
    broker.start()
    with SparkHost(broker.port) as host:
        line = Line(tmp_path, broker.port)
        line.judge(30)
        until(lambda: "rules" in line.node.trouble())
        births = caplog.text.count("is born")
        told: set[str] = set()

        def born_again() -> bool:
            told.add(line.node.trouble())
            return caplog.text.count("is born") >= births + 3

        until(born_again)
        assert all("rules" in each for each in told)
        rules.write_text("topic readwrite spBv1.0/#\n")
        broker.reload()
        host.wait(lambda h: 30 in h.numbers())
        rows = line.rows()
        line.stop()
        check_verdicts(host, rows)
        assert "NBIRTH/dut does not come back" in caplog.text
    broker.stop()


def test_the_rules_that_the_readme_names_are_enough(tmp_path: Path, demo_bundle: Path) -> None:
    """At the shipped broker a device with README's block of rules is born, waits for its host, obeys it and dies."""
    with shipped_broker(tmp_path / "broker") as broker:
        rules = broker.settings.with_name("acl")
        own = [f"topic {may} spBv1.0/{GROUP}/{kind}/dut" for kind, may in RULES.items()]
        lines = [
            "user test/dut",
            *own,
            f"topic read spBv1.0/STATE/{HOST}",
            "user operator",
            "topic readwrite spBv1.0/#",
        ]
        rules.write_text("\n".join([rules.read_text(), *lines, ""]))
        broker.stop()
        broker.start()
        config = write_config(
            tmp_path / "device.toml",
            bundle=demo_bundle,
            camera={"kind": "synthetic", "rate": 20, "width": 64, "height": 64},
            mqtt={"host": "127.0.0.1", "port": broker.port, **credentials(broker, "test.dut")},
            sparkplug={"group_id": GROUP, "primary_host_id": HOST},
        )
        operator = broker.settings.with_name("operator.crt")
        with SparkHost(broker.port, operator) as host, running_daemon(config) as daemon:
            host.say(online=True)
            host.wait(lambda h: len(h.numbers()) > 5)
            host.ask_rebirth()
            host.wait_for("NBIRTH", 2)
            stop(daemon)
            host.wait_for("NDEATH")
            host.check_session()


def test_a_rival_of_the_same_name_is_told(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node hears another one's birth under its name at the broker and says so, by what to change."""
    monkeypatch.setattr("edge.sparkplug.node.PATIENCE_SECONDS", 0.1)
    with SparkHost(broker.port) as host:
        line = Line(tmp_path, broker.port)
        host.wait_for("NBIRTH")
        host.send(f"spBv1.0/{GROUP}/NBIRTH/dut", payload.birth(3, []), retain=False)
        until(lambda: "sparkplug.edge_node_id" in line.node.trouble())
        line.node.stop(5)
        assert line.ledger.close(5) == 0
