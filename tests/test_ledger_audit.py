"""Commands in the ledger: those that were obeyed are there, whatever else came."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING

from device import run_inspect, stop
from ledger_samples import BOOT, audit, make_ledger
from test_commands import commanded
from test_ledger import Heard
from test_ledger_salvage import damage

from edge import clock
from edge.contract.commands import Reply
from edge.ledger import stores
from edge.ledger.audit import BURST, EVERY_SECONDS, MOST_WAITING, Audit, Trail, audit_of
from edge.ledger.ledger import FILE, Ledger
from edge.ledger.repair import repair
from edge.ledger.salvage import salvage
from edge.ledger.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from conftest import Broker

ANY = 1 << 62


def kept(store: Store) -> list[Audit]:
    """Return all records of a ledger, the oldest first."""
    return [each.audit for each in reversed(store.audits(ANY, ANY))]


def test_a_flood_is_counted_and_hides_nothing() -> None:
    """Of refused requests few are recorded, the rest is counted; each that is obeyed meanwhile is recorded."""
    trail, taken = Trail(), []
    for number in range(20_000):
        now = number / 100
        trail.add(audit(f"r{number}", "refused"), now)
        if number % 100 == 0:
            trail.add(audit(f"o{number}"), now)
        if number % 10 == 0:
            taken += trail.take(now)
    taken += trail.take(None)
    obeyed = [each.transaction for each in taken if each.outcome == "ok"]
    assert obeyed == [f"o{number}" for number in range(0, 20_000, 100)]
    assert len(taken) - len(obeyed) <= BURST + 200 / EVERY_SECONDS + 2
    assert sum(each.count for each in taken if each.outcome != "ok") == 20_000


def test_a_disk_that_hangs_holds_no_memory() -> None:
    """What cannot be written for long is counted beyond a limit."""
    trail = Trail()
    for number in range(MOST_WAITING + 500):
        trail.add(audit(f"o{number}"), 0.0)
    taken = trail.take(None)
    assert len(taken) == MOST_WAITING + 1
    assert sum(each.count for each in taken) == MOST_WAITING + 500


def test_the_oldest_give_way_each_to_its_kind(tmp_path: Path) -> None:
    """Records take bounded rows and bytes, refused ones push out no obeyed ones, and they come back in order."""
    store = Store(tmp_path / FILE)
    store.add((), audits=[audit(f"o{number}") for number in range(1_500)])
    for start in range(0, 5_000, 100):
        store.add((), audits=[audit(f"r{start + n}", "refused", "x" * 500) for n in range(100)])
    found = kept(store)
    assert [each.transaction for each in found if each.outcome == "ok"] == [f"o{n}" for n in range(500, 1_500)]
    refused = [each.transaction for each in found if each.outcome == "refused"]
    assert refused == [f"r{n}" for n in range(5_000 - len(refused), 5_000)]
    dice = random.Random(5)  # noqa: S311 - noise, not a secret
    noise = ["".join(chr(dice.randrange(0x20, 0x2FFFF)) for _ in range(64)) for _ in range(2_000)]
    store.add((), audits=[audit(text, "failed", text) for text in noise])
    assert store.used < 1 << 20
    store.close()


def test_records_outlive_damage(tmp_path: Path) -> None:
    """What can be read of a damaged ledger's records is in the repaired one, once, in order, as it was."""
    whole = tmp_path / "whole.db"
    make_ledger(whole, 300)
    store = Store(whole)
    given = [audit(f"o{number}", "refused" if number % 3 == 0 else "ok") for number in range(150)]
    for each in given:
        store.add((), audits=[each])
    store.close()
    assert len(list(salvage(whole))) >= 450
    for seed in range(40):
        path = tmp_path / f"{seed}.db"
        shutil.copy(whole, path)
        damage(path, random.Random(seed))  # noqa: S311 - damage, not a secret
        was_cut = path.stat().st_size < whole.stat().st_size
        repair(path, 0)
        repaired = Store(path)
        found = kept(repaired)
        repaired.close()
        assert [each for each in given if each in found] == found
        assert was_cut or len(found) > 140


def test_records_come_back_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked while the disk took nothing is in the ledger when it does again."""
    monkeypatch.setattr(stores, "RETRY_SECONDS", 0.0)
    ledger, heard = Ledger(tmp_path, 64 << 20), Heard()
    ledger.start(heard)
    heard.wait_for(0)
    ledger.record(audit("before"))
    ledger._stores._fall_back(OSError("no disk"))
    ledger.record(audit("meanwhile"))
    assert ledger.close(20) == 0
    store = Store(tmp_path / FILE, read_only=True)
    assert [each.transaction for each in kept(store)] == ["before", "meanwhile"]
    store.close()


def test_what_reached_the_device_is_recorded(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Obeyed, failed, refused, repeated: each is a line of `ledger audit`, without what was in it."""
    with commanded(tmp_path, broker, demo_bundle, "threshold", "config") as (boss, recorder, daemon):
        boss.ask("threshold", value=0.25, transaction="set")
        boss.ask("threshold", value=0.75, transaction="set")
        boss.ask("config", set={"decision.votes": 5}, transaction="bad")
        boss.say("config", b'{"transaction": "t", "set": {"mqtt.password": "hunter2"}, "password": "hunter2"}')
        boss.say("pause", b'{"transaction": "t"}')
        recorder.wait_for("reply", 5)
        live = run_inspect("ledger", "audit", "--ledger", tmp_path / "state")
        stop(daemon)
    assert live.returncode == 0
    done = run_inspect("ledger", "audit", "--config", tmp_path / "device.toml", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["name"], each["transaction"], each["outcome"]) for each in found] == [
        ("threshold", "set", "ok"),
        ("threshold", "set", "repeated"),
        ("config", "bad", "failed"),
        ("config", "t", "refused"),
        ("pause", "", "refused"),
    ]
    assert "can never be reached" in found[2]["error"]
    assert "not allowed" in found[4]["error"]
    assert {each["boot_id"] for each in found} == {recorder.named("info")[-1]["boot_id"]}
    assert "hunter2" not in done.stdout


def test_a_flood_is_counted_whole(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Of hundreds of requests at once each is obeyed, refused or counted, and verdicts go on."""
    with commanded(tmp_path, broker, demo_bundle, "health") as (boss, recorder, daemon):
        for _ in range(800):
            boss._client.publish("inspect/v1/test/dut/cmd/pause", b"{}", qos=1)
        boss.say("pause", b"{}")
        seen = len(recorder.named("event"))
        recorder.wait_for("event", seen + 20)
        assert boss.ask("health")["status"] == "ok"  # Behind the flood: what went unheard was told.
        stop(daemon)
    done = run_inspect("ledger", "audit", "--config", tmp_path / "device.toml", "--json", "-n", "1000")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(each["count"] for each in found) == 802
    assert len(found) < 2 * BURST


def test_a_record_keeps_little_of_what_a_stranger_sent() -> None:
    """However long the words of a request are, its record is small."""
    long = Reply(transaction="t" * 5_000, status="refused", error="e" * 5_000)
    found = audit_of("n" * 5_000, long, "refused", BOOT)
    assert (len(found.name), len(found.transaction), len(found.error)) == (60, 64, 200)
    assert (clock.now() - found.time).total_seconds() < 60
