"""A killed device leaves no trigger without its verdict: the next start gives it, once."""

from __future__ import annotations

import random
import signal
from itertools import count
from typing import TYPE_CHECKING, Any

from device import injected, running_daemon, stop, write_config
from ledger_samples import BOOT, event
from recorder import Recorder
from remote_pi import RemotePi
from spark_host import until
from test_bad_disk import disk_image, frozen
from test_commands import Boss
from test_ledger import opened
from test_triggers import SYNTHETIC, config_for

from edge.camera.base import BadFrame
from edge.contract.commands import Reply
from edge.contract.ulid import new_ulid
from edge.trigger.base import Shot
from edge.trigger.journal import FILE, Journal, _read
from edge.trigger.unanswered import Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Broker

KILLS = 6
SOAKED_KILLS = 100
CROWD = 300
AT_RISK = {"triggers.open cannot be written (its disk hangs)", "has written nothing"}


def test_no_trigger_is_lost_with_its_process(
    tmp_path: Path, broker: Broker, demo_bundle: Path, figure: Callable[[str], None], *, soak: bool
) -> None:
    """Of all that were taken in before a kill -9 each has exactly one verdict, by the killed life or by the next.

    A verdict that was answered is the one that arrives.
    """
    dice, asked = random.Random(5), 0  # noqa: S311 - when to kill, no secret
    config, taken_in = config_for(tmp_path, demo_bundle, broker.port, SYNTHETIC), set[str]()
    kills = SOAKED_KILLS if soak else KILLS
    with Recorder(broker.port, persistent=True) as recorder:
        boss = Boss(broker, recorder)
        for _ in range(kills):
            with running_daemon(config) as daemon:
                before = len(recorder.named("model"))
                recorder.wait(lambda r, n=before: len(r.named("model")) > n)
                several = dice.randrange(1, 12)
                replies = len(recorder.named("reply")) + dice.randrange(several)
                for _ in range(several):
                    asked += 1
                    boss.say("trigger", b'{"transaction":"p%d"}' % asked)
                recorder.wait(lambda r, n=replies: len(r.named("reply")) >= n)
                daemon.send_signal(signal.SIGKILL)
            taken_in |= {fired.name for fired in _read(tmp_path / "state" / FILE)}
        with running_daemon(config) as daemon:
            recorder.wait(lambda r: len(r.named("model")) > kills)
            assert boss.ask("trigger", transaction="last")["data"]["verdict"] != "UNKNOWN"
            recorder.wait(lambda r: any(each["trigger"] == "mqtt-last" for each in r.named("event")))
            stop(daemon)
        boss.stop()
        recorder.wait_for_status("offline")
    events = {each["id"]: each for each in recorder.named("event")}
    answered = [each["trigger"] for each in events.values()]
    assert len(set(answered)) == len(answered), "one has two verdicts"
    assert taken_in, "nothing was left by a kill"
    assert taken_in <= set(answered)
    told = [reply["data"] for reply in recorder.named("reply")]
    assert all(events[data["event"]]["verdict"] == data["verdict"] for data in told), "what was told was not kept"
    late = [each for each in events.values() if each["reason"] == "the device ended before it was judged"]
    assert all(each["verdict"] == "UNKNOWN" for each in late)
    figure(f"{kills} kills, {asked} triggers sent: {len(answered)} taken in and answered, {len(late)} by the next life")


def test_a_crowd_of_triggers_is_not_lost_with_its_process(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Also where none of hundreds had its verdict when the device was killed, each has one afterwards.

    One that is asked for twice meanwhile is one trigger, though the device remembers the last 200 requests only.
    """
    pi, path = RemotePi(tmp_path), tmp_path / "state" / FILE
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera, delay_ms=50_000, deadline_s=60)
    numbers = count(1)
    with Recorder(broker.port, persistent=True) as recorder:
        boss = Boss(broker, recorder)

        def fire() -> int:
            boss.say("trigger", b'{"transaction":"%d"}' % next(numbers))
            return len(_read(path))

        with running_daemon(config, pi.environment) as daemon:
            recorder.wait_for("model")
            until(lambda: fire() >= CROWD, 60)
            for _ in range(20):  # It looks at some of them only: they are too many.
                boss.say("trigger", b'{"transaction":"1"}')
            until(lambda: fire() > CROWD, 60)
            assert path.read_bytes().count(b" mqtt-1\0") == 1
            daemon.send_signal(signal.SIGKILL)
            daemon.wait(10)
        left = [fired.name for fired in _read(path)]
        with running_daemon(config, pi.environment) as daemon:
            recorder.wait_for("event", len(left))
            stop(daemon)
        recorder.wait_for_status("offline")
        boss.stop()
    assert [event["trigger"] for event in recorder.named("event")] == left


def test_more_triggers_than_there_is_room_for_are_told(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """While a crash would leave some without a verdict the status says so, and no longer; each has its verdict."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera, delay_ms=5_000, deadline_s=20)
    few = injected(tmp_path, "from edge.trigger import journal\njournal.SLOTS = 3\n", **pi.environment)
    with Recorder(broker.port) as recorder, running_daemon(config, few) as daemon:
        recorder.wait_for_status("online")
        boss = Boss(broker, recorder)
        for number in range(5):
            boss.say("trigger", b'{"transaction":"c%d"}' % number)
        assert "triggers have no verdict yet" in recorder.wait_for_status("degraded")["reason"]
        recorder.wait_for_status("online")
        recorder.wait_for("event", 5)
        boss.stop()
        stop(daemon)
        recorder.wait_for_status("offline")
    judged = [(event["trigger"], event["verdict"] == "UNKNOWN") for event in recorder.named("event")]
    assert judged == [(f"mqtt-c{number}", False) for number in range(5)]


def test_a_device_that_is_killed_again_and_again_still_answers(
    tmp_path: Path, broker: Broker, demo_bundle: Path
) -> None:
    """A life that ends before it could give what was left its verdict leaves it to the next; the verdict comes once."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera, delay_ms=50_000, deadline_s=60)
    with Recorder(broker.port, persistent=True) as recorder:
        boss = Boss(broker, recorder)
        with running_daemon(config, pi.environment) as daemon:
            recorder.wait_for("model")
            boss.say("trigger", b'{"transaction":"lost"}')
            until(lambda: any(fired.name == "mqtt-lost" for fired in _read(tmp_path / "state" / FILE)), 30)
            daemon.send_signal(signal.SIGKILL)
        left = _read(tmp_path / "state" / FILE)
        for _ in range(2):  # Each is killed as soon as it has the file, long before the ledger tells what it holds.
            Journal(tmp_path / "state" / FILE, new_ulid()).close()
        assert _read(tmp_path / "state" / FILE) == left
        for _ in range(2):
            with running_daemon(config, pi.environment) as daemon:
                recorder.wait(lambda r: any(each["trigger"] == "mqtt-lost" for each in r.named("event")))
                until(lambda: not _read(tmp_path / "state" / FILE), 30)
                stop(daemon)
        boss.stop()
    assert [each["reason"] for each in recorder.named("event")] == ["the device ended before it was judged"]


def test_a_trigger_that_a_start_does_not_outlive_has_its_verdict(
    tmp_path: Path, broker: Broker, demo_bundle: Path
) -> None:
    """One that comes while the model loads is noted: where the start is broken off, the next one gives the verdict."""
    config = config_for(tmp_path, demo_bundle, broker.port, SYNTHETIC)
    loads = tmp_path / "loads"
    hang = f"(pathlib.Path({str(loads)!r}).touch(), time.sleep(600))"
    hangs = injected(tmp_path, f"import edge.slots.slots as s, pathlib, time\ns.Slots.load = lambda _: {hang}\n")
    with Recorder(broker.port, persistent=True) as recorder:
        boss = Boss(broker, recorder)
        with running_daemon(config, hangs) as daemon:
            recorder.wait_for("status")
            until(loads.exists)
            boss.say("trigger", b'{"transaction":"early"}')
            until(lambda: [fired.name for fired in _read(tmp_path / "state" / FILE)] == ["mqtt-early"])
            stop(daemon)
        with running_daemon(config) as daemon:
            assert recorder.wait_for("event")[0]["trigger"] == "mqtt-early"
            assert boss.ask("trigger", transaction="later")["data"]["verdict"] != "UNKNOWN"
            stop(daemon)
        boss.stop()
    assert len({each["id"] for each in recorder.named("event")}) == 2
    assert _read(tmp_path / "state" / FILE) == {}


def test_a_line_that_is_never_idle_is_told_of_its_verdicts(tmp_path: Path) -> None:
    """Where the next verdict is given before the ledger was asked about the one before, that one is answered then."""
    reply = Reply(transaction="t", status="ok")
    with opened(tmp_path) as (ledger, heard):
        unanswered = Unanswered(Journal(tmp_path / FILE, BOOT), ledger)
        answered = 0
        for number in range(1, 21):
            ledger.append(event(number))
            unanswered.judged(Shot(f"gpio-{number}", BadFrame(0, "", 0.0, "")), [("trigger", reply)])
            answered += len(unanswered.settle())
            heard.wait_for(number)
        assert answered > 10
        ledger.flush(20)
        assert answered + len(unanswered.settle()) == 20


def config_on(disk: Path, folder: Path, bundle: Path, port: int, own: dict[str, Any]) -> Path:
    """Write the configuration, with more of its own, of a device that keeps its state on a disk."""
    mqtt = {"host": "127.0.0.1", "port": port}
    state = str(disk / "state")
    return write_config(folder / "device.toml", bundle=bundle, camera=SYNTHETIC, mqtt=mqtt, state_dir=state, **own)


def test_a_disk_that_hangs_holds_no_trigger_up(
    tmp_path: Path, demo_bundle: Path, broker: Broker, figure: Callable[[str], None]
) -> None:
    """Nor the pins and the watchdog: each trigger has its verdict in memory, `status` says what is at risk, and why.

    Once the disk goes on each is told of its verdict, and the status is as it was.
    """
    with disk_image(tmp_path / "image", tmp_path / "disk", 64) as disk:
        own = {"trigger": {"kind": "mqtt"}, "commands": {"allow": ["trigger"]}, "health_every_s": 0.5}
        config = config_on(disk, tmp_path, demo_bundle, broker.port, own)
        with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
            boss = Boss(broker, recorder)
            recorder.wait_for("model")
            boss.ask("trigger")
            with frozen(disk):
                for number in range(20):
                    boss.say("trigger", b'{"transaction":"p%d"}' % number)
                recorder.wait(lambda r: r.named("health")[-1:] and r.named("health")[-1]["frames_judged"] == 21)
                recorder.wait(lambda r: words(r) >= AT_RISK, 30)
            recorder.wait(lambda r: len(r.named("reply")) == 21, 30)
            assert boss.ask("trigger", transaction="last")["data"]["verdict"] != "UNKNOWN"
            assert recorder.wait_for_status("online")["reason"] == ""
            boss.stop()
            stop(daemon)
        assert _read(disk / "state" / FILE) == {}
    told = [event["trigger"] for event in recorder.named("event")]
    assert told == ["mqtt-t1", *(f"mqtt-p{number}" for number in range(20)), "mqtt-last"]
    figure("20 triggers while the disk hung: 20 judged meanwhile, 20 answered behind it")


def words(recorder: Recorder) -> set[str]:
    """Return which of some words the present status has."""
    reason = recorder.named("status")[-1]["reason"]
    return {each for each in AT_RISK if each in reason}


def test_a_line_that_is_triggered_no_more_waits_for_no_disk(tmp_path: Path, demo_bundle: Path, broker: Broker) -> None:
    """What an earlier configuration's triggers left makes no frame of a free-running camera wait for its writing."""
    with disk_image(tmp_path / "image", tmp_path / "disk", 64) as disk:
        (disk / "state").mkdir()
        journal = Journal(disk / "state" / FILE, BOOT)
        journal.note("gpio-1")
        journal.close()
        config = config_on(disk, tmp_path, demo_bundle, broker.port, {"commands": {"allow": ["capture"]}})
        with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
            boss = Boss(broker, recorder)
            recorder.wait_for("event")
            with frozen(disk):
                assert boss.ask("capture")["data"]["event"]
            boss.stop()
            stop(daemon)
