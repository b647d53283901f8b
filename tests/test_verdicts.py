"""verdicts.sh and verdicts.sql: what devices say is stored as they said it, none of it obeyed and none of it lost."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import paho.mqtt.publish as mqtt
import pytest
from conftest import make_broker, need_mosquitto
from ledger_samples import event
from pages import FOLDER, Shell
from postgres import running_postgres
from rigs import need

from edge.contract.messages import encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Broker

TOPIC = "inspect/v1/test/dut/event"


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[tuple[Shell, Broker]]:
    """A broker for everybody, and a terminal beside a database whose tables are there."""
    need_mosquitto()
    need("mosquitto_sub", "mosquitto-clients")
    broker = make_broker(tmp_path)
    broker.start()
    try:
        with running_postgres() as variables:
            # As on a desk or a server of today: in UTF-8, a byte that is none is no character to most tools.
            terminal = Shell(tmp_path, {**variables, "LC_ALL": "C.UTF-8"})
            terminal.run("createdb verdicts")
            terminal.run(f"psql -q -d verdicts -f {FOLDER / 'verdicts.sql'}")
            shutil.copy(FOLDER / "verdicts.sh", tmp_path)
            yield terminal, broker
    finally:
        broker.stop()


def say(broker: Broker, *payloads: bytes) -> None:
    """Have the broker take messages as a device's verdicts."""
    messages: list[Any] = [{"topic": TOPIC, "payload": payload, "qos": 1} for payload in payloads]
    mqtt.multiple(messages, hostname="127.0.0.1", port=broker.port)


def fill(terminal: Shell, broker: Broker, enough: str) -> str:
    """Run verdicts.sh until a query says that it is enough; return what it printed."""
    query = f'psql -X -A -t -d verdicts -c "{enough}"'
    command = f"./verdicts.sh verdicts -h 127.0.0.1 -p {broker.port}"
    return terminal.watch(command, lambda _: terminal.run(query) == "t\n", 60)


def subscribe(terminal: Shell, broker: Broker) -> None:
    """Run verdicts.sh until it has heard something: from here on the broker keeps for it what comes."""
    status = b'{"time": "2026-01-01T00:00:00Z", "state": "online"}'
    mqtt.single("inspect/v1/test/dut/status", status, 1, retain=True, hostname="127.0.0.1", port=broker.port)
    fill(terminal, broker, "SELECT count(*) = 1 FROM report")


def verdict(seq: int, **changed: object) -> bytes:
    """Return a verdict as a device sends it, but for what is changed."""
    return json.dumps({**json.loads(encode(event(seq))), **changed}, ensure_ascii=False).encode()


ORDERS = [
    b"'); CREATE TABLE owned (); --",
    b"\xff'); CREATE TABLE owned (); --",
    b"\xc0'); CREATE TABLE owned (); --",
    b"\xe3\x80'); CREATE TABLE owned (); --",
    b"\\'); CREATE TABLE owned (); --",
    b"\\\\'); CREATE TABLE owned (); --",
    b"\\u0027); CREATE TABLE owned (); --",
    b"\x00'); CREATE TABLE owned (); --",
    b"\\u0000'); CREATE TABLE owned (); --",
    b"\n'); CREATE TABLE owned (); --",
    b"\\n\\\\!touch owned",
    b"\\\\! touch owned\n\\! touch owned",
    b"$$); CREATE TABLE owned (); --",
]
"""What a device may put where a text belongs."""


def test_no_device_gives_orders_to_the_database(hall: tuple[Shell, Broker]) -> None:
    """Whatever bytes a device sends, none of them is SQL or a command of psql; quotes are stored as they were said."""
    terminal, broker = hall
    subscribe(terminal, broker)
    orders = [verdict(1, label="@").replace(b"@", order) for order in ORDERS]
    say(broker, *orders, *ORDERS, verdict(2, label="it's 'ö'"))
    fill(terminal, broker, "SELECT count(*) = 1 FROM event WHERE seq = 2")
    assert terminal.run("psql -X -A -t -d verdicts -c \"SELECT to_regclass('owned') IS NULL\"") == "t\n"
    assert not (terminal.home / "owned").exists()
    label = "psql -X -A -t -d verdicts -c \"SELECT body ->> 'label' FROM event WHERE seq = 2\""
    assert terminal.run(label) == "it's 'ö'\n"


@pytest.mark.parametrize("away", ["the server", "the database", "the tables"])
def test_what_the_broker_keeps_waits_for_the_database(hall: tuple[Shell, Broker], away: str) -> None:
    """While the database is away, verdicts.sh leaves to the broker what it keeps; later all of it is stored."""
    terminal, broker = hall
    subscribe(terminal, broker)
    say(broker, *(verdict(seq) for seq in range(1, 101)))
    name, place = "verdicts", {}
    match away:
        case "the server":
            place = {"PGHOST": "/nonexistent"}
        case "the database":
            name = "others"
        case "the tables":
            name = "postgres"
    for _ in range(3):  # A unit starts it again and again.
        command = f"./verdicts.sh {name} -h 127.0.0.1 -p {broker.port}"
        variables = {**terminal.environment, **place}
        done = subprocess.run(
            ["bash", "-c", command], cwd=terminal.home, env=variables, capture_output=True, timeout=20, check=False
        )
        assert done.returncode != 0
        assert done.stderr
    fill(terminal, broker, "SELECT count(*) = 100 FROM event")
