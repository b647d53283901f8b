"""Triggers of the real daemon: each ends in one verdict, whatever becomes of the camera or of the device."""

from __future__ import annotations

import threading
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from device import assert_one_clear_line, end, run_inspect, running_daemon, stop, write_config
from ledger_samples import BOOT
from recorder import Recorder
from remote_pi import RemotePi
from spark_host import until
from test_commands import Boss
from test_external_trigger import LONG, Stage

from edge.capture import Capture
from edge.sections.cameras import SyntheticConfig
from edge.sections.triggers import GpioConfig
from edge.trigger import open_trigger
from edge.trigger.external import External
from edge.trigger.journal import FILE, Journal, _read

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker

SYNTHETIC_CAMERA = SyntheticConfig()
SYNTHETIC = {"kind": "synthetic", "rate": 50, "width": 64, "height": 64}


def config_for(tmp_path: Path, bundle: Path, port: int, camera: dict[str, Any], **trigger: object) -> Path:
    """Write the configuration of a device that is triggered over MQTT."""
    return write_config(
        tmp_path / "device.toml",
        bundle=bundle,
        camera=camera,
        mqtt={"host": "127.0.0.1", "port": port},
        trigger={"kind": "mqtt", **trigger},
        commands={"allow": ["trigger", "pause"]},
    )


def test_a_command_gets_the_verdict_about_what_is_there(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Nothing is judged unasked; each request is answered with the id and the verdict of its one event."""
    config = config_for(tmp_path, demo_bundle, broker.port, SYNTHETIC)
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        recorder.wait_for("model")
        boss = Boss(broker, recorder)
        replies = [boss.ask("trigger") for _ in range(20)]
        boss.stop()
        stop(daemon)
        recorder.wait_for_status("offline")
    events = recorder.named("event")
    assert [event["trigger"] for event in events] == [f"mqtt-{reply['transaction']}" for reply in replies]
    assert [reply["data"] for reply in replies] == [{"event": e["id"], "verdict": e["verdict"]} for e in events]
    assert {event["verdict"] for event in events} <= {"PASS", "DEFECT"}


def test_no_trigger_is_without_its_verdict(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Neither while the camera is unplugged, nor in a pause, nor when the device is stopped right behind it."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera, deadline_s=0.5)
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment) as daemon:
        recorder.wait_for("model")
        boss, asked = Boss(broker, recorder), []

        def verdict() -> str:
            asked.append(reply := boss.ask("trigger"))
            return str(reply["data"]["verdict"])

        assert verdict() != "UNKNOWN"
        pi.do("unplug")
        assert verdict() == "UNKNOWN"
        pi.do("plug")
        until(lambda: verdict() != "UNKNOWN", 30)
        boss.ask("pause")
        assert verdict() == "UNKNOWN"
        boss.ask("pause", on=False)
        pi.do("unplug")
        boss.say("trigger", b'{"transaction":"last"}')  # It may come too late to be heard.
        stop(daemon)
        recorder.wait_for_status("offline")
        boss.stop()
    events = recorder.named("event")
    answered = [event["trigger"] for event in events if event["trigger"] != "mqtt-last"]
    assert answered == [f"mqtt-{reply['transaction']}" for reply in asked]
    assert len(events) - len(answered) in (0, 1)
    assert "paused by command" in [event["reason"] for event in events]


def test_an_end_answers_who_waits(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Who triggered by command is told of the verdict also where it is given because the device is stopped."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera, delay_ms=50_000, deadline_s=60)
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment) as daemon:
        recorder.wait_for("model")
        boss = Boss(broker, recorder)
        names = [f"mqtt-s{number}" for number in range(5)]
        for name in names:
            boss.say("trigger", b'{"transaction":"%s"}' % name.removeprefix("mqtt-").encode())
        until(lambda: {fired.name for fired in _read(tmp_path / "state" / FILE)} == set(names), 30)
        stop(daemon)
        recorder.wait_for_status("offline")
        boss.stop()
    events = recorder.named("event")
    assert [(event["trigger"], event["reason"]) for event in events] == [(n, "the device stopped") for n in names]
    assert [reply["data"]["event"] for reply in recorder.named("reply")] == [event["id"] for event in events]
    assert _read(tmp_path / "state" / FILE) == {}, "the next start has nothing to look for"


def test_who_asks_a_device_that_stops_is_told(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """What comes while the camera closes slowly is refused: nobody would obey it, and a part would have no verdict."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, pi.camera)
    with Recorder(broker.port) as recorder, running_daemon(config, pi.environment) as daemon:
        boss, asked = Boss(broker, recorder), count()
        recorder.wait_for("model")
        boss.ask("trigger")
        pi.do("jam")
        daemon.terminate()

        def is_refused() -> bool:
            boss.say("trigger", b'{"transaction":"s%d"}' % next(asked))
            return recorder.named("reply")[-1]["status"] == "refused"

        until(is_refused)
        end(daemon, 10)
        recorder.wait_for_status("offline")
        boss.stop()
    refused = [reply for reply in recorder.named("reply") if reply["status"] == "refused"]
    assert {reply["error"] for reply in refused} == {"the device is stopping; ask again when it is online"}
    answered = [f"mqtt-{reply['transaction']}" for reply in recorder.named("reply") if reply["status"] == "ok"]
    assert [event["trigger"] for event in recorder.named("event")] == answered


def test_a_trigger_that_nobody_may_pull(tmp_path: Path, demo_bundle: Path) -> None:
    """Who wants commands to trigger and does not allow the command is told so."""
    config = config_for(tmp_path, demo_bundle, 1, SYNTHETIC)
    config.write_text(config.read_text().replace('["trigger", "pause"]', '["pause"]'))
    assert_one_clear_line(run_inspect("run", "--config", config), 3, "commands.allow")


@pytest.mark.parametrize(
    ("edge", "pull", "fires_on_high"),
    [("rising", "down", True), ("falling", "down", False), ("rising", "up", True), ("falling", "none", False)],
)
def test_a_pin_fires_at_its_edge(tmp_path: Path, edge: Any, pull: Any, *, fires_on_high: bool) -> None:
    """Rising is from low to high whatever resistor holds the pin, and the light flashes for the exposure."""
    gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install gpiozero")
    from gpiozero.pins.mock import MockFactory

    factory = gpiozero.Device.pin_factory = MockFactory()
    config = GpioConfig(pin="17", edge=edge, pull=pull, debounce_ms=0, strobe_pin="27", strobe_ms=10)
    pin, light = factory.pin(17), factory.pin(27)
    stage = Stage()
    capture = Capture(lambda: stage, on_demand=True)
    (pin.drive_low if fires_on_high else pin.drive_high)() if pull != "none" else None
    with open_trigger(config, SYNTHETIC_CAMERA, capture, Journal(tmp_path / FILE, BOOT)) as trigger:
        assert isinstance(trigger, External)
        (pin.drive_low if fires_on_high else pin.drive_high)()
        list(trigger.give_up("")), light.clear_states()
        (pin.drive_high if fires_on_high else pin.drive_low)()
        stage.show()
        shot = trigger.next(LONG)
        assert shot is not None
        assert shot.trigger.startswith("gpio-")
        until(lambda: [state.state for state in light.states][-2:] == [True, False])
    (pin.drive_low if fires_on_high else pin.drive_high)()
    assert trigger.next(0) is None
    factory.reset()
    gpiozero.Device.pin_factory = None


def test_a_flash_that_is_due_after_the_end_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is stopped between trigger and exposure says nothing of a light that is closed by then."""
    gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install gpiozero")
    from gpiozero.pins.mock import MockFactory

    factory = gpiozero.Device.pin_factory = MockFactory()
    died: list[object] = []
    monkeypatch.setattr("threading.excepthook", died.append)
    config = GpioConfig(pin="17", delay_ms=50, deadline_s=1, debounce_ms=0, strobe_pin="27")
    capture = Capture(Stage, on_demand=True)
    with open_trigger(config, SYNTHETIC_CAMERA, capture, Journal(tmp_path / FILE, BOOT)):
        factory.pin(17).drive_high()
        flashes = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    for flash in flashes:
        flash.join(LONG)
    gpiozero.Device.pin_factory = None
    factory.reset()
    assert (len(flashes), died) == (1, [])
