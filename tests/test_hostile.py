"""Hostile requests over a real broker: whatever comes, nothing changes that was not asked for validly."""

from __future__ import annotations

import json
import random
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import paho.mqtt.client as paho
from jsonschema import Draft202012Validator
from paho.mqtt.enums import CallbackAPIVersion
from recorder import hang_up
from test_admission import ALLOWED, VALID, near_valid
from test_commands import commanded
from test_publisher import BOOT

from edge import config as configs
from edge.album import Album
from edge.contract.commands import COMMANDS, LARGEST, Request
from edge.ledger.ledger import Ledger
from edge.mqtt import admission, connection
from edge.mqtt.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from conftest import Broker

SCHEMAS = {name: Draft202012Validator(msgspec.json.schema(kind)) for name, kind in COMMANDS.items()}
VALUES = [
    *(None, True, "0.5", "", [], {}, [0.5], {"value": 0.5}, -1, 0, 1.0000001, 1e308, 10**400, 2**63, -(2**63) - 1),
    *("\x00", "\ud7ff\U0010ffff", "t" * 65, "t\n", "../../etc", "\uff54", "é" * 40, "$SYS", "#", "t; reboot"),
]
"""Of a field that wants something else, mostly."""
MANGLED: list[Callable[[bytes], bytes]] = [
    lambda good: good.replace(b'"t"', b"NaN"),
    lambda good: good.replace(b"0.5", b"1e999"),
    lambda good: good[:-1] + b', "transaction": 7}',
    lambda good: good[:-1] + b', "\\u0000": 1}',
    lambda good: b"\xef\xbb\xbf" + good,
    lambda good: good + good,
    lambda good: good + b"\x00",
    lambda good: good.decode().encode("utf-16"),
    lambda good: b"[" * 2_000 + good + b"]" * 2_000,
    lambda good: b'{"transaction": ' * 200 + good + b"}" * 200,
    lambda good: good[:-1] + b', "x": "' + b"x" * LARGEST + b'"}',
    lambda good: good.replace(b'"t"', b'"\xff\xfe"'),
    lambda good: good.replace(b'"t"', b'"\\ud800"'),
    lambda good: good.replace(b"{", b"(").replace(b"}", b")"),
    lambda good: good.replace(b"transaction", b"tr\xd0\xb0nsaction"),
]
WRONG_NAMES = ["", "PAUSE", "pause ", "pause/now", "reboot", "../pause", "threshold\u200b", "x" * 500, "restart"]


def near_miss(dice: random.Random) -> tuple[str, bytes]:
    """Return the name and payload of a request that is mutated, mangled, or not what it says it is."""
    name = dice.choice(list(VALID))
    good: dict[str, Any] = dict(VALID[name])
    match dice.randrange(4):
        case 0:
            asked = near_valid(dice)
            return asked.name.replace("\x00", "0"), asked.payload
        case 1:
            good[dice.choice([*good, "value", "set", "first", "force"])] = dice.choice(VALUES)
            return name, json.dumps(good).encode("utf-8", "surrogatepass")
        case 2:
            return name, dice.choice(MANGLED)(json.dumps(good).encode())
    return dice.choice(WRONG_NAMES), json.dumps(good).encode()


def is_valid(name: str, payload: bytes) -> bool:
    """Say by the published schema, and by nothing of the device's code, whether a request might be obeyed."""
    if name not in ALLOWED or len(payload) > LARGEST:
        return False
    try:
        return bool(SCHEMAS[name].is_valid(json.loads(payload)))
    except (ValueError, RecursionError):
        return False


class Crowd:
    """Publishes on a device's command topics."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(100)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def shout(self, requests: list[tuple[str, bytes]]) -> None:
        """Publish all of these and wait until the broker has them."""
        for start in range(0, len(requests), 1_000):  # paho's queue ends at 65,535.
            some = requests[start : start + 1_000]
            sent = [self._client.publish(f"inspect/v1/test/dut/cmd/{name}", payload, qos=1) for name, payload in some]
            for each in sent:
                each.wait_for_publish(60)

    def stop(self) -> None:
        """Disconnect."""
        hang_up(self._client)


def test_admission_agrees_with_the_published_schema(figure: Callable[[str], None], *, soak: bool) -> None:
    """Of near misses in bulk none raises, and none is obeyed that the schema which is published refuses."""
    count = 300_000 if soak else 10_000
    dice = random.Random(14)  # noqa: S311 - payloads, not secrets
    gate = admission.Admission(ALLOWED)
    obeyed = 0
    for number in range(count):
        name, payload = near_miss(dice)
        asked = connection.Asked(name, payload, retained=False)
        found = gate.look(asked, number / admission.PER_SECOND)
        assert found is not None
        if isinstance(found, Request):
            obeyed += 1
            assert is_valid(asked.name, payload), (name, payload)
    figure(f"{count} near misses: {obeyed} valid and obeyed, {count - obeyed} refused, 0 raised")


def test_only_what_the_schema_allows_gets_through(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None], *, soak: bool
) -> None:
    """Of near-valid requests over a broker, looked at one and all, none gets through that its schema refuses."""
    monkeypatch.setattr(admission, "BURST", 1_000_000_000)
    monkeypatch.setattr(connection, "_MOST_ASKED", 1_000_000_000)
    count = 100_000 if soak else 3_000
    dice = random.Random(12)  # noqa: S311 - payloads, not secrets
    requests = [near_miss(dice) for _ in range(count)]
    valid = [(name, payload) for name, payload in requests if is_valid(name, payload)]
    table = {
        "bundle": "b",
        "camera": {"kind": "synthetic"},
        "device": {"site": "test", "id": "dut"},
        "mqtt": {"host": "127.0.0.1", "port": broker.port},
        "commands": {"allow": list(ALLOWED)},
    }
    ledger = Ledger(tmp_path, 1 << 20)
    publisher = Publisher(configs.parse(table, tmp_path / "device.toml"), BOOT, ledger, Album(tmp_path, 1 << 20))
    publisher.start()
    crowd = Crowd(broker.port)
    last = ("pause", b'{"transaction": "the-last-one"}')
    name, request = "", None
    while request is None or request.transaction != "the-last-one":  # Until it listens.
        crowd.shout([last])
        if not publisher.intake.requests.empty():
            name, request, _ = publisher.intake.requests.get()
    crowd.shout(requests)
    crowd.shout([("pause", b'{"transaction": "over"}')])
    through = []
    while (found := publisher.intake.requests.get(timeout=60))[1].transaction != "over":
        if found[1].transaction != "the-last-one":
            through.append(found)
    crowd.stop()
    publisher.stop("test", 5, threading.Event())
    ledger.close(5)
    figure(f"{count} requests over a broker: {len(valid)} valid by their schema, {len(through)} got through")
    assert 0 < len(through) <= len(valid)
    assert {name for name, *_ in through} <= set(ALLOWED)
    for name, request, _ in through:
        SCHEMAS[name].validate(json.loads(msgspec.json.encode(request)))


def test_a_daemon_in_a_flood_changes_nothing(
    tmp_path: Path, broker: Broker, demo_bundle: Path, figure: Callable[[str], None], *, soak: bool
) -> None:
    """Under thousands of invalid requests a daemon judges on as before: same settings, not paused, not restarted."""
    count = 100_000 if soak else 3_000
    dice = random.Random(13)  # noqa: S311 - payloads, not secrets
    drawn = [near_miss(dice) for _ in range(count)]
    requests = [(name, payload) for name, payload in drawn if not is_valid(name, payload)]
    with commanded(tmp_path, broker, demo_bundle, *ALLOWED) as (boss, recorder, daemon):
        before = boss.ask("config")["data"]
        crowd = Crowd(broker.port)
        crowd.shout(requests)
        crowd.stop()
        recorder.wait_for("event", len(recorder.named("event")) + 60)  # The requests that it still looks at are over.
        asked = boss.ask("config", transaction="after")
        replies = recorder.named("reply")
        assert daemon.poll() is None
    assert (asked["transaction"], asked["status"], asked["data"]) == ("after", "ok", before)
    refused = [reply for reply in replies if reply["status"] == "refused"]
    figure(f"{len(requests)} invalid requests to a daemon: {len(refused)} refused, the rest not even looked at")
    assert len(refused) == len(replies) - 2, "something was obeyed"
    assert len(recorder.named("config")) == 1
    assert {status["reason"] for status in recorder.statuses() if status["state"] != "offline"} == {""}
    assert len({event["boot_id"] for event in recorder.named("event")}) == 1
    assert len({event["threshold"] for event in recorder.named("event")}) == 1
    assert not (tmp_path / "state" / "settings.json").exists()
