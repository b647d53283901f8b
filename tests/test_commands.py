"""Commands over MQTT: what is allowed is obeyed once and answered, everything else changes nothing."""

from __future__ import annotations

import json
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from device import end, running_daemon, stop, write_config
from paho.mqtt.enums import CallbackAPIVersion
from PIL import Image
from recorder import Recorder, await_arrival, hang_up

from edge.command import RESTART
from edge.contract.commands import COMMANDS

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Broker


class Boss:
    """Asks a device and waits for its answers."""

    def __init__(self, broker: Broker, recorder: Recorder) -> None:
        self._recorder = recorder
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self._asked = 0

    def say(self, name: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish on a command's topic."""
        await_arrival(self._client.publish(f"inspect/v1/test/dut/cmd/{name}", payload, qos=1, retain=retain))

    def ask(self, name: str, **fields: Any) -> dict[str, Any]:
        """Send a request and return its reply."""
        self._asked += 1
        transaction = fields.pop("transaction", f"t{self._asked}")
        before = len(self._recorder.named("reply"))
        self.say(name, json.dumps({"transaction": transaction, **fields}).encode())
        return self._recorder.wait_for("reply", before + 1)[before]

    def stop(self) -> None:
        """Disconnect."""
        hang_up(self._client)


@contextmanager
def commanded(
    tmp_path: Path, broker: Broker, bundle: Path, *allow: str
) -> Iterator[tuple[Boss, Recorder, subprocess.Popen[str]]]:
    """Run a daemon that allows these commands."""
    config = write_config(
        tmp_path / "device.toml",
        bundle=bundle,
        camera={"kind": "synthetic", "rate": 20, "width": 64, "height": 64},
        mqtt={"host": "127.0.0.1", "port": broker.port},
        commands={"allow": list(allow)},
    )
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        recorder.wait_for("event")
        boss = Boss(broker, recorder)
        try:
            yield boss, recorder, daemon
        finally:
            boss.stop()


def test_each_command_is_obeyed_and_answered(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Pause and resume, threshold and settings, history, replay, health, model: each does what it says."""
    with commanded(tmp_path, broker, demo_bundle, *COMMANDS) as (boss, recorder, _):
        recorder.wait_for("event", 10)
        assert boss.ask("pause")["status"] == "ok"
        assert recorder.wait_for_status("degraded")["reason"] == "paused by command"
        assert recorder.named("status")[-1]["paused"]
        assert boss.ask("pause", on=False)["status"] == "ok"
        assert not recorder.wait_for_status("online")["paused"]
        assert boss.ask("pause")["status"] == "ok"
        recorder.wait_for_status("degraded")
        judged = boss.ask("health")["data"]["frames_judged"]
        recorder.wait(lambda r: r.named("event")[-1]["seq"] == judged)
        given = boss.ask("history", limit=5)["data"]["events"]
        assert [event["seq"] for event in given] == list(range(judged, judged - 5, -1)), "it judges while paused"
        seen = len(recorder.named("event"))
        assert boss.ask("replay", first=1, last=3)["status"] == "ok"
        again = recorder.wait_for("event", seen + 3)[seen:]
        assert [(event["seq"], event["historical"]) for event in again] == [(1, True), (2, True), (3, True)]
        assert boss.ask("resume")["status"] == "ok"
        recorder.wait_for_status("online")
        assert boss.ask("threshold", value=0.123)["data"]["decision.threshold"] == 0.123
        recorder.wait(lambda r: r.named("event")[-1]["threshold"] == 0.123)
        assert recorder.named("config")[-1]["values"]["decision.threshold"] == 0.123
        assert boss.ask("config", set={"decision.votes": 2, "decision.window": 3})["data"]["decision.window"] == 3
        assert boss.ask("health")["data"]["frames_judged"] > 0
        assert boss.ask("model")["data"]["name"] == recorder.named("model")[-1]["name"]


def test_a_picture_is_taken_of_whatever_comes(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """`capture` names the next frame's event, whose picture arrives though it passed; while paused there is none."""
    with commanded(tmp_path, broker, demo_bundle, *COMMANDS) as (boss, recorder, _):
        answers = (boss.ask("capture")["data"] for _ in range(50))
        wanted = next(answer["event"] for answer in answers if answer["verdict"] == "PASS")
        recorder.wait(lambda r: any(each.topic.endswith(f"/image/{wanted}") for each in r.messages))
        (picture,) = (each for each in recorder.messages if each.topic.endswith(f"/image/{wanted}"))
        assert Image.open(BytesIO(picture.payload)).size == (64, 64)
        recorder.wait(lambda r: [e["verdict"] for e in r.named("event") if e["id"] == wanted] == ["PASS"])
        boss.ask("pause")
        assert "resume first" in boss.ask("capture")["error"]


def test_a_capture_without_frames_is_given_up(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A camera that shows nothing more leaves nobody waiting: the answer says how long was waited."""
    config = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera={"kind": "synthetic", "rate": 0.02, "width": 64, "height": 64},
        mqtt={"host": "127.0.0.1", "port": broker.port},
        commands={"allow": ["capture"]},
    )
    with Recorder(broker.port) as recorder, running_daemon(config):
        recorder.wait_for("event")
        boss = Boss(broker, recorder)
        reply = boss.ask("capture")
        boss.stop()
    assert reply["status"] == "failed"
    assert "no frame came within 10 s" in reply["error"]


def test_settings_outlive_a_restart_and_can_be_taken_back(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """What was set counts after `restart`, which ends with the code that asks for a new start; null undoes it."""
    with commanded(tmp_path, broker, demo_bundle, "threshold", "restart") as (boss, recorder, daemon):
        boss.ask("threshold", value=0.9)
        assert boss.ask("restart")["status"] == "ok"
        end(daemon)
        assert daemon.returncode == RESTART
        assert recorder.wait_for_status("offline")["reason"] == "restarted by command"
    with commanded(tmp_path, broker, demo_bundle, "threshold") as (boss, recorder, daemon):
        # The first may be one of the life before, sent again.
        recorder.wait(lambda r: not (last := r.named("event")[-1])["historical"] and last["threshold"] == 0.9)
        assert boss.ask("threshold", value=None)["data"]["decision.threshold"] is None
        stop(daemon)
    assert (tmp_path / "state" / "settings.json").read_bytes() == b"{}"


REFUSED = [
    ("pause", {"transaction": "t"}, "not allowed"),
    ("threshold", {"transaction": "t", "value": 1.5}, "<= 1"),
    ("threshold", {"transaction": "t"}, "missing required field `value`"),
    ("threshold", {"value": 0.5}, "missing required field `transaction`"),
    ("threshold", {"transaction": "t", "value": 0.5, "force": True}, "unknown field"),
    ("threshold", {"transaction": "t" * 65, "value": 0.5}, "matching regex"),
    ("config", {"transaction": "t", "set": {"mqtt.host": "elsewhere"}}, "may not be changed"),
    ("config", {"transaction": "t", "set": {"decision.votes": 5}}, "can never be reached"),
    ("config", {"transaction": "t", "set": {"decision.threshold": "NaN"}}, "decision.threshold"),
    ("replay", {"transaction": "t", "first": 5, "last": 1}, "last must be"),
    ("history", {"transaction": "t", "limit": 101}, "<= 100"),
]
"""A command, its payload, and words of the reason why it is not obeyed."""


def test_what_is_refused_changes_nothing(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """What is not allowed or not well-formed is answered with the reason and counted, and nothing else happens."""
    allowed = ("threshold", "config", "replay", "history")
    with commanded(tmp_path, broker, demo_bundle, *allowed) as (boss, recorder, daemon):
        for count, (name, payload, words) in enumerate(REFUSED, start=1):
            named = {key: f"t{count}" if value == "t" else value for key, value in payload.items()}
            boss.say(name, json.dumps(named).encode())
            reply = recorder.wait_for("reply", count)[-1]
            assert reply["status"] in ("refused", "failed")
            assert words in reply["error"]
        assert len(recorder.named("config")) == 1
        stop(daemon)
        refused = sum(each["status"] == "refused" for each in recorder.named("reply"))
        assert recorder.wait_for("health")[-1]["commands_refused"] == refused
    assert not (tmp_path / "state" / "settings.json").exists()


def test_without_permission_nothing_is_heard(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A device whose configuration allows no command does not even listen."""
    with commanded(tmp_path, broker, demo_bundle) as (boss, recorder, daemon):
        boss.say("pause", b'{"transaction": "t"}')
        recorder.wait_for("event", len(recorder.named("event")) + 20)
        assert recorder.named("reply") == []
        stop(daemon)


def test_a_retained_command_is_refused(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A command that is to be kept by the broker would be obeyed at each start: it is never, at first neither."""
    with commanded(tmp_path, broker, demo_bundle, "pause") as (boss, _, daemon):
        boss.say("pause", b'{"transaction": "t"}', retain=True)
        stop(daemon)
    with commanded(tmp_path, broker, demo_bundle, "pause") as (boss, recorder, daemon):
        assert "retained" in recorder.wait_for("reply")[0]["error"]
        recorder.wait_for("event", 5)
        boss.say("pause", b"", retain=True)
        assert "retained" in recorder.wait_for("reply", 2)[1]["error"]
        boss.say("pause", b'{"transaction": "online"}', retain=True)
        reply = recorder.wait_for("reply", 3)[2]
        assert reply["status"] == "refused"
        assert "retained" in reply["error"]
        assert not any(status["paused"] for status in recorder.named("status"))
        boss.say("pause", b"", retain=True)
        stop(daemon)


def test_a_request_is_obeyed_once(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """The same transaction again, as a broker may deliver it, gets the same answer and is not obeyed again."""
    with commanded(tmp_path, broker, demo_bundle, "replay", "history") as (boss, recorder, _):
        first = boss.ask("history", transaction="same", limit=1)
        recorder.wait_for("event", 5)
        assert boss.ask("history", transaction="same", limit=1) == first
