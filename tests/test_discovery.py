"""Home Assistant hears of a device when it starts, operates it, and is told to forget it."""

from __future__ import annotations

import json
import os
import threading
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

import msgspec
import paho.mqtt.client as paho
from conftest import Broker, make_broker
from device import end, running_daemon, stop, write_config
from home import HomeAssistant
from hypothesis import example, given
from hypothesis import strategies as st
from ledger_samples import BOOT
from paho.mqtt.enums import CallbackAPIVersion
from recorder import Recorder, await_arrival, hang_up
from test_homeassistant import PLATFORMS, configured, introduced
from test_publisher import Line

from edge import config as configs
from edge.contract.commands import COMMANDS
from edge.contract.messages import Alarm
from edge.daemon import RESTART
from edge.mqtt import homeassistant
from edge.mqtt.discovery import ALARMS, FILE, Discovery
from edge.settings import Settings
from edge.sparkplug.memory import Kept, Memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

TOPIC = "homeassistant/device/test/dut/config"


class Listener:
    """Hears what is said on some topics."""

    def __init__(self, port: int, *topics: str) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        """Topic, payload, and whether the broker had kept it."""
        self._changed = threading.Condition()
        subscribed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe([(topic, 1) for topic in topics])
        assert subscribed.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        hang_up(self.client)

    def say(self, topic: str, payload: bytes) -> None:
        """Publish."""
        await_arrival(self.client.publish(topic, payload, qos=1))

    def wait(self, count: int) -> list[tuple[str, bytes, bool]]:
        """Wait until so many messages are here, and return all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.heard) >= count, 20), self.heard
        return self.heard

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        with self._changed:
            self.heard.append((message.topic, message.payload, bool(message.retain)))
            self._changed.notify_all()


def device(tmp_path: Path, broker: Broker, bundle: Path, **more: Any) -> Path:
    """Write the configuration of a device that introduces itself, unless `more` says otherwise."""
    camera = more.pop("camera", {"kind": "synthetic", "rate": 10, "width": 64, "height": 64})
    tables = {"homeassistant": {"enabled": True}, "commands": {"allow": list(COMMANDS)}, **more}
    return write_config(
        tmp_path / "device.toml",
        bundle=bundle,
        camera=camera,
        mqtt={"host": "127.0.0.1", "port": broker.port},
        health_every_s=0.5,
        **tables,
    )


def test_a_device_introduces_itself_again_when_home_assistant_starts(
    tmp_path: Path, broker: Broker, demo_bundle: Path
) -> None:
    """The introduction is retained, comes again when Home Assistant says online, and for nothing else."""
    config = device(tmp_path, broker, demo_bundle)
    with running_daemon(config), Listener(broker.port, TOPIC) as listener:
        listener.wait(1)
        listener.say("homeassistant/status", b"offline")
        listener.say("homeassistant/status", b"online")
        heard = listener.wait(2)
        with Listener(broker.port, TOPIC) as late:
            kept = late.wait(1)[0]
    expected = homeassistant.introduction(configs.load(config))
    assert {topic for topic, _, _ in heard} == {TOPIC}
    assert [json.loads(payload) for _, payload, _ in heard] == [expected] * 2
    assert kept == (TOPIC, heard[0][1], True)


def test_an_introduction_is_taken_back_once(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Switched off, the next start takes back what was told, and later ones say nothing; other topics are untouched."""
    with Listener(broker.port, "homeassistant/#") as listener:
        for enabled, count in ((True, 1), (False, 2), (False, 2), (True, 3)):
            config = device(tmp_path, broker, demo_bundle, homeassistant={"enabled": enabled})
            with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
                recorder.wait_for("event", 3)
                listener.wait(count)
                stop(daemon)
                recorder.wait_for_status("offline")
            assert len(listener.heard) == count
    assert [bool(payload) for _, payload, _ in listener.heard] == [True, False, True]


def test_an_introduction_moves(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Under another prefix the device takes back the older introduction."""
    for prefix in ("homeassistant", "other"):
        config = device(tmp_path, broker, demo_bundle, homeassistant={"enabled": True, "prefix": prefix})
        with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
            recorder.wait_for("event", 3)  # The second comes once what was said before is answered.
            stop(daemon)
            recorder.wait_for_status("offline")
    moved = "other/device/test/dut/config"
    with Listener(broker.port, TOPIC, moved) as listener:
        assert [topic for topic, _, _ in listener.wait(1)] == [moved]
    assert json.loads((tmp_path / "state" / FILE).read_bytes()) == [moved]


def test_the_alarm_of_a_camera_that_was_renamed_is_taken_back(
    tmp_path: Path, broker: Broker, demo_bundle: Path
) -> None:
    """Under a camera's former name no alarm is left: who follows it hears that it is over, and nothing is kept."""
    alarms = "inspect/v1/test/dut/alarm/"
    for name in ("old", "new"):
        camera = {"kind": "synthetic", "rate": 20, "width": 64, "height": 64, "name": name}
        config = device(tmp_path, broker, demo_bundle, homeassistant={}, camera=camera)
        with (
            Listener(broker.port, f"{alarms}old") as old,
            running_daemon(config) as daemon,
            Listener(broker.port, f"{alarms}{name}") as listener,
        ):
            listener.wait(1)
            if name == "new":
                kept, last, nothing = old.wait(3)
            stop(daemon)
    assert kept[2]
    farewell = msgspec.json.decode(last[1], type=Alarm)
    assert (farewell.active, farewell.event) == (False, None)
    assert nothing[1] == b""
    with Listener(broker.port, f"{alarms}+") as listener:
        listener.say(f"{alarms}last", b"{}")
        assert [topic for topic, _, _ in listener.wait(2)] == [f"{alarms}new", f"{alarms}last"]
    assert json.loads((tmp_path / "state" / ALARMS).read_bytes()) == [f"{alarms}new"]


def test_another_devices_alarm_is_left_alone(tmp_path: Path) -> None:
    """What a device said before it was given another name is not taken back: another one may have that name now."""
    other = f"inspect/v1/{configured().device.site}/other/alarm/camera"
    (tmp_path / ALARMS).write_text(json.dumps([other]))
    assert other not in Discovery(configured(), tmp_path, BOOT).messages


def test_off_from_the_start_nothing_is_said(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A device that nobody asked to speaks no word of Home Assistant's, and remembers nothing."""
    config = device(tmp_path, broker, demo_bundle, homeassistant={})
    with (
        Listener(broker.port, "homeassistant/#") as listener,
        Recorder(broker.port) as recorder,
        running_daemon(config) as daemon,
    ):
        recorder.wait_for("event", 3)
        stop(daemon)
    assert listener.heard == []
    assert not (tmp_path / "state" / FILE).exists()


def test_a_broker_that_does_not_let_it_be_taken_back(tmp_path: Path) -> None:
    """What the broker refuses to have taken back is said in the status, and not tried at each start for ever."""
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite inspect/#\n")
    rules.chmod(0o600)
    broker = make_broker(tmp_path, "allow_anonymous true", f"acl_file {rules}")
    broker.start()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE).write_bytes(json.dumps([TOPIC]).encode())
    with Recorder(broker.port) as recorder:
        refused = Line(
            tmp_path, broker.port, discovery=Discovery(configured(homeassistant={}), tmp_path / "state", BOOT)
        )
        assert f"refuses {TOPIC}" in recorder.wait_for_status("degraded")["reason"]
        refused.stop(5)
    broker.stop()
    assert json.loads((tmp_path / "state" / FILE).read_bytes()) == []


@given(st.binary(max_size=200) | st.lists(st.text(max_size=80)).map(lambda names: json.dumps(names).encode()))
@example(b"[" * 100_000)
@example(b'["' + TOPIC.encode() + b'",' + b"[" * 100_000)
@example(b'{"x": ' + b"[" * 100_000)
@example(b'["\xff"]')
def test_whatever_is_remembered_no_start_fails(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """A file that is damaged, or names what are no introductions, makes the device say nothing on other topics."""
    folder = tmp_path_factory.mktemp("state")
    (folder / FILE).write_bytes(content)
    assert set(Discovery(configured(), folder, BOOT).messages) == {TOPIC}
    assert Discovery(configured(homeassistant={}), folder, BOOT).messages in ({TOPIC: b""}, {})


def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    """Where nothing can be remembered the device introduces itself nevertheless, and its status says what follows."""
    discovery = Discovery(configured(), tmp_path / "missing", BOOT)
    assert discovery.messages[TOPIC]
    assert "cannot be taken back" in discovery.trouble


def test_home_assistant_itself(
    tmp_path: Path, broker: Broker, demo_bundle: Path, figure: Callable[[str], None]
) -> None:
    """The real one shows every entity, operates the device, fires each verdict once, and forgets it when told so."""
    with HomeAssistant(tmp_path / "home", broker.port) as home:
        config = device(tmp_path, broker, demo_bundle)
        expected = set(introduced(tuple(COMMANDS))["cmps"])
        with running_daemon(config) as daemon, Recorder(broker.port) as recorder:
            home.wait(lambda h: expected <= set(h.entities) and h.last("verdict")[1].get("event_type") is not None)
            home.wait_for(judging="on", condition="online", threshold="unknown", model="off")
            home.wait(lambda h: {h.last(name)[0] for name in ("rate", "memory", "lost")} & {"unknown", None} == set())
            home.wait(lambda h: h.last("picture")[0] not in ("unknown", None) and h.last("defect")[0] in ("on", "off"))
            home.look_at("picture")
            home.call("number", "set_value", "threshold", value=0.125)
            home.wait_for(threshold="0.125")
            home.call("switch", "turn_off", "judging")
            home.wait_for(judging="off", condition="degraded")
            before = len(recorder.named("event"))
            with Listener(broker.port, "inspect/v1/test/dut/reply/replay") as boss:
                boss.say("inspect/v1/test/dut/cmd/replay", b'{"transaction": "t", "first": 1, "last": 3}')
                boss.wait(1)
            recorder.wait_for("event", before + 3)
            home.call("switch", "turn_on", "judging")
            home.wait_for(judging="on", condition="online")
            home.call("button", "press", "capture")
            recorder.wait(lambda r: any(m.topic.endswith("reply/capture") for m in r.messages))
            home.call("button", "press", "restart")
            end(daemon)
            assert daemon.returncode == RESTART
        home.wait_for(**dict.fromkeys(expected, "unavailable"))
        with running_daemon(device(tmp_path, broker, demo_bundle, commands={})) as daemon:
            home.wait_for(**dict.fromkeys(PLATFORMS, None), condition="online")
            stop(daemon)
        with running_daemon(device(tmp_path, broker, demo_bundle, homeassistant={})) as daemon:
            home.wait_for(**dict.fromkeys(expected, None))
            stop(daemon)
    figure(f"{len(expected)} entities in Home Assistant {home.version}")
    fired = [attributes["seq"] for name, state, attributes in home.states if name == "verdict" and "seq" in attributes]
    assert [seq for seq, _ in groupby(fired)] == sorted(set(fired)), "a verdict that was replayed has fired"
    assert home.jpegs == [True]
    assert [line for line in home.complaints if line.startswith("homeassistant.components")] == []


def test_what_is_remembered_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each small file beside the ledger is on the disk with its name before anything is done that relies on it."""
    synced = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.path.samestat(os.fstat(descriptor), tmp_path.stat()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    config = configured()
    for remember in (
        lambda: Discovery(config, tmp_path, BOOT),
        lambda: Settings(config, tmp_path).change({"decision.votes": 1}),
        lambda: Memory(tmp_path / "sparkplug.json").keep(Kept()),
    ):
        remember()
        assert synced[:2] == [False, True]  # The file, then its folder.
        assert synced == synced[:2] * (len(synced) // 2)
        synced.clear()
