"""The real daemon against a real broker: what arrives, how it starts, and what it loses."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from io import BytesIO
from typing import TYPE_CHECKING

import jsonschema
import numpy as np
import pytest
from conftest import Broker, free_port, make_broker
from device import assert_one_clear_line, end, run_inspect, running_daemon, stop, write_config
from PIL import Image
from recorder import Recorder
from rigs import need

from edge.contract.messages import SCHEMA_FOLDER
from edge.daemon import PATIENT_SECONDS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of 30 small colour pictures, named in order."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(7)
    for number in range(30):
        pixels = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder


def config_for(tmp_path: Path, bundle: Path, port: int, camera: dict[str, object], **more: object) -> Path:
    """Write the configuration of a device under test; `mqtt` in `more` adds to the broker's settings."""
    mqtt = {"host": "127.0.0.1", "port": port, **more.pop("mqtt", {})}  # type: ignore[dict-item]
    return write_config(tmp_path / "device.toml", bundle=bundle, camera=camera, mqtt=mqtt, **more)


def folder_camera(folder: Path, **more: object) -> dict[str, object]:
    return {"kind": "folder", "path": str(folder), **more}


def test_every_picture_once_in_order_and_valid(
    tmp_path: Path, broker: Broker, demo_bundle: Path, pictures: Path
) -> None:
    """Each picture of a folder arrives as exactly one event, in order, valid against its schema."""
    (pictures / "010b.png").write_bytes(b"not a picture")
    config = config_for(tmp_path, demo_bundle, broker.port, folder_camera(pictures))
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        log = end(daemon)
        assert daemon.returncode == 0, log
        recorder.wait_for_status("offline")
    events = recorder.named("event")
    assert [event["source"] for event in events] == sorted(path.name for path in pictures.iterdir())
    assert [event["seq"] for event in events] == list(range(1, 32))
    assert len({event["id"] for event in events}) == 31
    assert [event["verdict"] for event in events if event["source"] == "010b.png"] == ["UNKNOWN"]
    pictures_sent = [message for message in recorder.messages if message.name == "image"]
    for message in (each for each in recorder.messages if each.name != "image"):
        schema = json.loads((SCHEMA_FOLDER / f"{message.name}.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(message.body)
        assert message.qos == 1
    names = {message.name for message in recorder.messages}
    assert {Image.open(BytesIO(sent.payload)).format for sent in pictures_sent} <= {"JPEG"}
    assert names - {"image"} == {"status", "info", "config", "model", "event", "alarm", "health"}


def test_verdicts_wait_for_a_broker_that_comes_late(tmp_path: Path, demo_bundle: Path, pictures: Path) -> None:
    """A daemon whose broker is not there yet judges on, and delivers all in order once it comes."""
    broker = make_broker(tmp_path)
    config = config_for(tmp_path, demo_bundle, broker.port, folder_camera(pictures))
    with running_daemon(config) as daemon:
        assert daemon.stderr is not None
        first = daemon.stderr.readline()
        assert "cannot be reached" in first
        assert str(broker.port) in first
        daemon.send_signal(signal.SIGSTOP)  # It may be about to connect: nothing is to come before somebody listens.
        broker.start()
        with Recorder(broker.port) as recorder:
            daemon.send_signal(signal.SIGCONT)
            events = recorder.wait_for("event", 30)
            end(daemon)
    broker.stop()
    assert daemon.returncode == 0
    assert [event["seq"] for event in events] == list(range(1, 31))


def test_order_survives_a_broker_restart(tmp_path: Path, demo_bundle: Path) -> None:
    """Events judged before, during and after a broker's restart arrive without a gap and in order."""
    persistent = ("allow_anonymous true", "persistence true", f"persistence_location {tmp_path}/")
    broker = make_broker(tmp_path, *persistent)
    broker.start()
    camera = {"kind": "synthetic", "rate": 100, "width": 64, "height": 64}
    config = config_for(tmp_path, demo_bundle, broker.port, camera)
    with Recorder(broker.port, persistent=True) as recorder, running_daemon(config) as daemon:
        recorder.wait_for("event", 20)
        broker.stop()
        broker.start()
        recorder.wait_for("event", len(recorder.named("event")) + 100)
        stop(daemon)
    broker.stop()
    seqs = list(dict.fromkeys(event["seq"] for event in recorder.named("event")))
    assert seqs == list(range(1, seqs[-1] + 1))


def test_systemd_hears_ready_progress_and_stopping(
    tmp_path: Path, broker: Broker, demo_bundle: Path, pictures: Path
) -> None:
    """The service manager hears READY with all stages open, WATCHDOG and STATUS while the line turns, STOPPING."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(tmp_path / "notify"))
        notifications.settimeout(30)
        config = config_for(tmp_path, demo_bundle, broker.port, folder_camera(pictures))
        with running_daemon(config, {"NOTIFY_SOCKET": str(tmp_path / "notify")}) as daemon:
            heard = [notifications.recv(4096)]
            while heard[-1] != b"STOPPING=1":
                heard.append(notifications.recv(4096))
            end(daemon)
    assert (heard[0], heard[-1]) == (b"READY=1", b"STOPPING=1")
    statuses = [said.decode() for said in heard if said.startswith(b"STATUS=")]
    assert set(heard[1:-1]) == {b"WATCHDOG=1", *(said.encode() for said in statuses)}
    *while_it_turned, last = statuses
    assert while_it_turned
    assert all(re.fullmatch(r"STATUS=online, [0-9]+ frames judged", said) for said in while_it_turned)
    assert last == "STATUS=the camera has no more frames"


def test_systemd_waits_for_the_last_verdicts(tmp_path: Path, demo_bundle: Path, pictures: Path) -> None:
    """A camera that ends while the broker is away has systemd wait longer than for a stop, as the daemon does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(tmp_path / "notify"))
        notifications.settimeout(30)
        config = config_for(tmp_path, demo_bundle, free_port(), folder_camera(pictures))
        with running_daemon(config, {"NOTIFY_SOCKET": str(tmp_path / "notify")}):
            while notifications.recv(64) != b"STOPPING=1":
                pass
            name, _, microseconds = notifications.recv(64).decode().partition("=")
    assert name == "EXTEND_TIMEOUT_USEC"
    assert int(microseconds) > PATIENT_SECONDS * 1e6


def test_a_killed_daemon_is_offline_by_its_last_will(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """After kill -9 the broker itself says that the device is offline."""
    config = config_for(tmp_path, demo_bundle, broker.port, {"kind": "synthetic"})
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        recorder.wait_for("event")
        daemon.kill()
        assert recorder.wait_for_status("offline")["reason"] == "connection lost"


def test_retained_messages_greet_a_late_subscriber(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Who subscribes later still learns status, info, model, health and alarm; events are not retained."""
    config = config_for(tmp_path, demo_bundle, broker.port, {"kind": "synthetic"}, health_every_s=0.1)
    with running_daemon(config), Recorder(broker.port, "early") as early:
        early.wait_for("event", 2)
        early.wait_for("health")
        with Recorder(broker.port, "late") as late:
            for name in ("status", "info", "config", "model", "health", "alarm"):
                late.wait_for(name)
            late.wait_for("event")
    assert {m.name for m in late.messages if m.retained} == {"status", "info", "config", "model", "health", "alarm"}
    assert late.named("status")[0]["state"] == "online"


def test_mqtt_3_1_1(tmp_path: Path, broker: Broker, demo_bundle: Path, pictures: Path) -> None:
    """A broker that only speaks MQTT 3.1.1 is served by `protocol`."""
    mqtt = {"protocol": "3.1.1"}
    config = config_for(tmp_path, demo_bundle, broker.port, folder_camera(pictures), mqtt=mqtt)
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        assert len(recorder.wait_for("event", 30)) == 30
        end(daemon)
        assert daemon.returncode == 0


def test_dropped_frames_are_counted_and_published(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A camera faster than the model loses old frames, never new ones, and `health` says how many."""
    folder = tmp_path / "big"
    folder.mkdir()
    Image.new("RGB", (4000, 3000)).save(folder / "big.bmp")
    Image.new("RGB", (64, 64)).save(folder / "small.bmp")
    camera = folder_camera(folder, rate=1000, loop=True)
    config = config_for(tmp_path, demo_bundle, broker.port, camera, health_every_s=0.2)
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        recorder.wait(lambda r: any(health["frames_dropped"] > 0 for health in r.named("health")))
        stop(daemon)
        recorder.wait_for_status("offline")
    last = recorder.named("health")[-1]
    events = recorder.named("event")
    numbers = [int(event["trigger"].removeprefix("free-")) for event in events]
    assert numbers == sorted(set(numbers))
    assert last["frames_captured"] - last["frames_dropped"] - last["frames_judged"] in (0, 1)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def test_a_camera_that_is_not_there(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A missing camera ends the start with one line, exit code 5, and a status that says why."""
    config = config_for(tmp_path, demo_bundle, broker.port, folder_camera(tmp_path / "nowhere"))
    with Recorder(broker.port) as recorder:
        assert_one_clear_line(run_inspect("run", "--config", config), 5, "nowhere")
        assert "nowhere" in recorder.wait_for_status("offline")["reason"]


def test_a_missing_bundle(tmp_path: Path, broker: Broker) -> None:
    """A missing bundle ends the start with one line, exit code 4, and a status that says why."""
    config = config_for(tmp_path, tmp_path / "none", broker.port, {"kind": "synthetic"})
    with Recorder(broker.port) as recorder:
        assert_one_clear_line(run_inspect("run", "--config", config), 4, str(tmp_path / "none"), "no such bundle")
        assert "no such bundle" in recorder.wait_for_status("offline")["reason"]


def test_what_a_start_remembers_lies_in_the_users_state(
    tmp_path: Path, broker: Broker, demo_bundle: Path, pictures: Path
) -> None:
    """Without state_dir verdicts and a passed model lie in the user's own state folder; where none can be, it ends."""
    config = config_for(tmp_path, demo_bundle, broker.port, folder_camera(pictures))
    config.write_text(config.read_text().replace('state_dir = "state"', ""))
    with running_daemon(config, {"XDG_STATE_HOME": str(tmp_path / "home")}) as daemon:
        end(daemon)
    assert len(list((tmp_path / "home" / "edge-inspect").glob("probed-*"))) == 1
    assert (tmp_path / "home" / "edge-inspect" / "ledger.db").stat().st_size > 0
    with running_daemon(config, {"XDG_STATE_HOME": str(config)}) as daemon:
        assert "set state_dir" in end(daemon)
        assert daemon.returncode == 3


def test_wrong_password(tmp_path: Path, demo_bundle: Path, pictures: Path) -> None:
    """A refused login is one clear line: a warning of the running daemon, exit code 7 of `check --live`."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    tool = need("mosquitto_passwd", "mosquitto")
    subprocess.run([tool, "-b", passwords, "dut", "right"], check=True, capture_output=True)
    broker = make_broker(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    broker.start()
    login = {"username": "dut", "password": "wrong"}
    config = config_for(tmp_path, demo_bundle, broker.port, folder_camera(pictures, rate=5, loop=True), mqtt=login)
    assert_one_clear_line(run_inspect("check", "--config", config, "--live"), 7, "refuses user 'dut'")
    with running_daemon(config) as daemon:
        assert daemon.stderr is not None
        warning = next(line for line in iter(daemon.stderr.readline, "") if line.startswith("WARNING"))
        assert "refuses user 'dut'" in warning
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    login = {"username": "dut", "password_file": str(secret)}
    config = config_for(tmp_path, demo_bundle, broker.port, folder_camera(pictures), mqtt=login)
    with Recorder(broker.port, login=("dut", "right")) as recorder, running_daemon(config):
        assert len(recorder.wait_for("event", 30)) == 30
    broker.stop()


def test_a_finished_job_that_was_refused_is_no_success(
    tmp_path: Path, demo_bundle: Path, pictures: Path, request: pytest.FixtureRequest
) -> None:
    """A broker whose access rules refuse the verdicts makes the end of the folder an error, exit code 7."""
    rules = tmp_path / "acl"
    rules.write_text("topic write inspect/v1/test/dut/status\n")
    rules.chmod(0o600)
    broker = make_broker(tmp_path, "allow_anonymous true", f"acl_file {rules}")
    broker.start()
    request.addfinalizer(broker.stop)
    config = config_for(tmp_path, demo_bundle, broker.port, folder_camera(pictures))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(tmp_path / "notify"))
        notifications.settimeout(30)
        with running_daemon(config, {"NOTIFY_SOCKET": str(tmp_path / "notify")}) as daemon:
            while not notifications.recv(64).startswith(b"EXTEND_TIMEOUT_USEC"):
                pass
            assert daemon.stderr is not None
            said = [""]
            while "the broker refuses" not in said[-1]:  # It is offered again for a while, and nobody here waits.
                said.append(daemon.stderr.readline())
                assert said[-1], said
            log = stop(daemon)
    assert daemon.returncode == 7, log
    assert "30 verdicts were not delivered" in log.splitlines()[-1]
