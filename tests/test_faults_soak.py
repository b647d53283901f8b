"""Faults at random, one after the other: after each the device judges again, and no trigger lacks its one verdict."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from accelerators import bundle
from device import run_inspect, write_config
from misfortune import Factory, Said
from proxy import Proxy
from recorder import Recorder
from remote_pi import RemotePi
from service import LEFT_AT, Service
from spark_host import until
from test_commands import Boss

from edge.contract import bundle as bundles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from accelerators import Standin
    from conftest import Broker
    from misfortune import Fault

FAULTS, SOAKED_FAULTS = 8, 100
SOAK_SECONDS = 600.0
LONGEST_FAULT = 3.0
BACK_SECONDS = 30.0
"""Until the device judges again when a fault is over."""
FIRE_SECONDS = 0.25
"""Between two triggers."""
UNHEARD_SECONDS = 2.0
"""A trigger that was sent so soon before a connection broke may not have been heard."""
LEAST_HEARD = 0.25
"""Of the triggers that were sent: else nothing would be proven of them."""
ACCELERATED_SECONDS = 5.0
"""Until an accelerator that answers is open."""


def judges_again(recorder: Recorder, began: datetime) -> bool:
    """Say whether a part was judged since, and whether all verdicts are kept on the disk again."""
    events = [each for each in recorder.named("event")[-50:] if each["verdict"] != "UNKNOWN"]
    times = (datetime.fromisoformat(each["time"]) for each in events)  # Some are of years to come: clocks jump.
    seen = any(began < each < began + timedelta(days=1) for each in times)
    return seen and "kept in memory" not in recorder.named("status")[-1]["reason"]


class Firing:
    """Fires triggers over MQTT all the while, each with a name of its own."""

    def __init__(self, boss: Boss) -> None:
        self.sent: dict[str, float] = {}
        """When each was, on the monotonic clock."""
        self._boss = boss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._fire, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Fire no more."""
        self._over.set()
        self._thread.join()

    def _fire(self) -> None:
        while not self._over.wait(FIRE_SECONDS):
            name = f"p{len(self.sent) + 1}"
            self.sent[name] = time.monotonic()
            self._boss.say("trigger", json.dumps({"transaction": name}).encode())


def heard(sent: dict[str, float], deaf: Iterable[tuple[float, float]]) -> set[str]:
    """Return the triggers that the device surely heard: sent while there was a connection, which then stood."""
    deaf = list(deaf)
    return {
        f"mqtt-{name}" for name, at in sent.items() if not any(a - UNHEARD_SECONDS <= at <= b + 0.1 for a, b in deaf)
    }


def chosen(faults: dict[str, Fault], count: int, seed: str) -> list[str]:
    """Return so many kinds: all of them in any order, again and again."""
    dice, names = random.Random(seed), []  # noqa: S311 - misfortune, not secrets
    while len(names) < count:
        names += dice.sample(sorted(faults), len(faults))
    return names[:count]


def config_for(tmp_path: Path, port: int, camera: dict[str, Any], standin: Standin, trigger: str) -> Path:
    """Write the configuration of a device with all that can fail; what it keeps lies on a little disk."""
    parts = bundle()
    bundles.write(tmp_path / "parts", parts.manifest, parts.files)
    return write_config(
        tmp_path / "device.toml",
        bundle=tmp_path / "parts",
        camera=camera,
        mqtt={"host": "127.0.0.1", "port": port},
        state_dir=str(tmp_path / "little" / "state"),
        ledger={"events_mib": 8, "pictures_mib": 1},
        runtime={"accelerator": "edgetpu", "library": str(standin.library), "invoke_deadline_ms": 1000},
        trigger={"kind": trigger},
        commands={"allow": ["trigger"]},
        health_every_s=1.0,
    )


@pytest.mark.parametrize("trigger", ["free", "mqtt"])
def test_after_each_fault_the_device_judges_again(  # noqa: PLR0913 - fixtures
    tmp_path: Path,
    broker: Broker,
    little: Path,
    standin: Standin,
    figure: Callable[[str], None],
    *,
    trigger: str,
    soak: bool,
) -> None:
    """Within BACK_SECONDS, by itself or started anew; each trigger that was heard has exactly one verdict.

    What was judged at all was judged rightly: it is always the same part.
    """
    pi = RemotePi(tmp_path)
    backs: Counter[str] = Counter()
    deaf: list[tuple[float, float]] = []
    with Proxy(broker.port) as network, Recorder(broker.port) as recorder:
        config = config_for(tmp_path, network.port, pi.camera, standin, trigger)
        with Service(config, pi.environment | {"STANDIN_EDGETPU": str(standin.says)}) as service:
            boss = Boss(broker, recorder)
            recorder.wait_for_status("online", 60)
            recorder.wait_for("health", 1, 60)
            firing = Firing(boss) if trigger == "mqtt" else None
            factory = Factory(service=service, pi=pi, network=network, standin=standin, disk=little)
            faults = factory.faults()
            names = chosen(faults, SOAKED_FAULTS if soak else FAULTS, trigger)
            dice, began = random.Random(7), time.monotonic()  # noqa: S311 - misfortune, not secrets
            for number in range(SOAKED_FAULTS if soak else FAULTS):
                name = take(names, faults, recorder, service.log)
                took = befall((name, faults[name]), recorder, service.log, deaf, dice.uniform(0.2, LONGEST_FAULT))
                backs[name] = max(backs[name], round(took * 1e3))
                if soak:
                    pause = began + (number + 1) * SOAK_SECONDS / SOAKED_FAULTS - time.monotonic()
                    threading.Event().wait(max(0.0, pause))
            if firing is not None:
                firing.stop()
                last = f"mqtt-p{len(firing.sent)}"
                recorder.wait(lambda r: any(event["trigger"] == last for event in r.named("event")))
            boss.stop()
            assert service.stop() == 0
            assert not set(service.codes) & set(LEFT_AT), service.codes
            recorder.wait_for_status("offline")
            restarts = len(service.codes)
    slowest, took_ms = backs.most_common(1)[0]
    known = together(recorder.named("event"), listed(config))
    wanted = heard(firing.sent, deaf) if firing else set()
    figure(
        f"{len(backs)} kinds of faults, {restarts} new starts, {len(known)} verdicts, "
        f"{len(wanted)} of triggers surely heard; judging again after {took_ms / 1e3:.1f} s at most ({slowest})"
    )
    assert len(wanted) >= LEAST_HEARD * len(firing.sent if firing else ())
    check_triggers(known, wanted)


def take(names: list[str], faults: dict[str, Fault], recorder: Recorder, log: Path) -> str:
    """Take the first of them that would do something now.

    The accelerator is tried after growing pauses: where only its own faults are left, a new start has it opened.
    """

    def possible() -> list[str]:
        accelerated = is_accelerated(recorder, log)
        return [name for name in names if accelerated or not faults[name].needs_accelerator]

    with suppress(AssertionError):
        until(lambda: bool(possible()), ACCELERATED_SECONDS)
    if not (found := possible()):
        return "kill -9"
    names.remove(found[0])
    return found[0]


def is_accelerated(recorder: Recorder, log: Path) -> bool:
    """Say whether the accelerator judges in the present life, and has not failed since it said so."""
    status, health, said = recorder.named("status")[-1], recorder.named("health")[-1], log.read_text("utf-8")
    return (health["boot_id"], health["accelerator"]["state"]) == (status["boot_id"], "accelerated") and said.rfind(
        "the Edge TPU judges"
    ) > said.rfind("; the CPU judges")


def befall(
    named: tuple[str, Fault], recorder: Recorder, log: Path, deaf: list[tuple[float, float]], seconds: float
) -> float:
    """Have a fault begin, be met, last and end; returns how many seconds later a part was judged again."""
    name, fault = named
    started, behind, written = time.monotonic(), len(recorder.named("event")), log.stat().st_size

    def said() -> Said:
        return Said(recorder.named("event")[behind:], log.read_bytes()[written:].decode("utf-8", "replace"))

    fault.begin()
    threading.Event().wait(seconds)
    try:
        until(lambda: fault.met(said()), BACK_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{name} did nothing within {BACK_SECONDS} s: {said().log}") from error
    fault.end()
    ended, now = time.monotonic(), datetime.now(UTC)
    try:
        recorder.wait(lambda r: judges_again(r, now), BACK_SECONDS)
    except AssertionError as error:
        said = [*recorder.named("status")[-1:], *recorder.named("event")[-1:]]
        raise AssertionError(f"{name} at {now:%T} was not mended: {error}; it said at last {said}") from error
    if fault.cuts_off:
        deaf.append((started, time.monotonic()))
    return time.monotonic() - ended


def listed(config: Path) -> list[dict[str, Any]]:
    """Return every verdict of the ledger, in order."""
    found = run_inspect("ledger", "list", "--config", config, "--json", "-n", 1_000_000)
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def together(arrived: list[dict[str, Any]], kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each verdict once that arrived or is kept: a full disk lets go of what arrived.

    Checks that no number is missing, that none has two verdicts, and that none was kept back that others overtook.
    """
    last, heard_of = max(each["seq"] for each in arrived), {each["id"] for each in arrived}
    assert [each["seq"] for each in kept if each["seq"] < last and each["id"] not in heard_of] == []
    by_id = {each["id"]: each for each in arrived + kept}
    assert sorted(each["seq"] for each in by_id.values()) == list(range(1, len(by_id) + 1))
    return list(by_id.values())


def check_triggers(known: Sequence[dict[str, Any]], wanted: set[str]) -> None:
    """Check that each trigger has one verdict: the wanted ones, and of those by frames each that was counted."""
    fired = Counter((each["boot_id"], each["trigger"]) for each in known)
    assert set(fired.values()) == {1}, [name for name, times in fired.items() if times > 1]
    by_name = Counter(each["trigger"] for each in known if not each["trigger"].startswith("free-"))
    assert {name: by_name[name] for name in wanted} == dict.fromkeys(wanted, 1)
    assert {name for name, times in by_name.items() if times > 1} == set(), "one has a verdict of each of two lives"
    for boot_id in {boot for boot, _ in fired}:
        frames = [int(name[5:]) for boot, name in fired if boot == boot_id and name.startswith("free-")]
        assert sorted(frames) == list(range(1, len(frames) + 1))
    assert len({each["verdict"] for each in known} - {"UNKNOWN"}) == 1, "a part was judged otherwise"
