"""The service on a whole Debian 12 host, by its own systemd and in its sandbox: what ends, hangs and reboots."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEMO_BUNDLE, free_port, make_broker
from debians import need, run
from device import write_config
from msgspec import structs
from recorder import Recorder
from rigs import Station
from stations import start_line

from deploy.program import build_wheel
from deploy.release import BUNDLE_ON_DEVICE
from edge.contract import bundle as bundles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stations import Line

pytestmark = [pytest.mark.rig, pytest.mark.timeout(900), pytest.mark.usefixtures("long_rig")]

FAULTS = "/run/rig"
"""A file in this folder is a fault, for as long as it is there."""
CRASHER = "crasher"
"""The name of a model that takes its process down with the first frame."""
FAULTY = f"""
import os, sys
if "run" in sys.orig_argv:
    import ctypes
    from ai_edge_litert.interpreter import Interpreter
    from edge.classifier import Classifier

    def invoke(self, invoke=Interpreter.invoke):
        if os.path.exists("{FAULTS}/hang"):
            ctypes.PyDLL(None).pause()  # With the lock of the interpreter held: no other thread runs either.
        invoke(self)

    def classify(self, *given, classify=Classifier.classify, **named):
        if self.bundle.manifest.name == "{CRASHER}":
            os.abort()
        return classify(self, *given, **named)

    Interpreter.invoke, Classifier.classify = invoke, classify
"""
PROGRAM = "/opt/edge-inspect/venv/bin/edge-inspect"
CONFIG = "/etc/edge-inspect/device.toml"


def leave(station: Station, path: str, text: str) -> None:
    """Write a file on the station."""
    station.shell(f"cat > {path} <<'END'\n{text}\nEND")


def shown(station: Station, *names: str) -> dict[str, str]:
    """Return properties of the service."""
    text = station.shell(f"systemctl show edge-inspect --property={','.join(names)}")
    return dict(line.split("=", 1) for line in text.splitlines())


def up_time(station: Station) -> float:
    """Return the station's clock, in seconds, as systemd's monotonic timestamps have it."""
    return float(station.shell("cat /proc/uptime").split()[0])


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A station after a push of the demo bundle, whose model can be made to hang; it lives through all that follows."""
    line = start_line(tmp_path_factory.mktemp("host"), build_wheel(tmp_path_factory.mktemp("wheel")))
    try:
        pushed = line.push(DEMO_BUNDLE)
        assert pushed.returncode == 0, pushed.stdout + pushed.stderr
        packages = line.station.shell("echo /opt/edge-inspect/venv/lib/python3*/site-packages").strip()
        leave(line.station, f"{packages}/rig_faults.py", FAULTY)
        leave(line.station, f"{packages}/rig_faults.pth", "import rig_faults")
        line.station.shell(f"mkdir {FAULTS} && systemctl restart edge-inspect")
        yield line
    finally:
        line.station.stop()
        line.broker.stop()


@pytest.fixture
def recorder(line: Line) -> Iterator[Recorder]:
    """What the station says during a test, which begins with a daemon that judges."""
    with Recorder(line.broker.port) as recorder:
        judges_anew(recorder, "")
        yield recorder


def judges_anew(recorder: Recorder, before: str, seconds: float = 90) -> str:
    """Wait for a verdict of another start than `before`, and return its boot id."""

    def judges(recorder: Recorder) -> bool:
        status = recorder.named("status")[-1:]
        # Degraded too: the status may say that starts ended without a word.
        boot = status[0]["boot_id"] if status and status[0]["state"] != "offline" else before
        return boot != before and any(event["boot_id"] == boot for event in recorder.named("event"))

    recorder.wait(judges, seconds)
    return str(recorder.named("status")[-1]["boot_id"])


def assert_nothing_lost(line: Line, recorder: Recorder) -> None:
    """Check that no verdict's number was used twice or left out, as heard and as kept."""
    numbers = {event["id"]: event["seq"] for event in recorder.named("event")}
    assert sorted(numbers.values()) == list(range(min(numbers.values()), min(numbers.values()) + len(numbers)))
    line.station.shell(f"runuser -u edge-inspect -- {PROGRAM} ledger verify --config {CONFIG}")


def test_the_service_comes_up_in_its_sandbox(line: Line, recorder: Recorder) -> None:
    """It is active because the daemon said so, shows how it fares, is watched, and answers `top`, without a port."""
    state = shown(line.station, "ActiveState", "Type", "WatchdogUSec", "NRestarts", "RequiresMountsFor", "StatusText")
    assert state.pop("StatusText").startswith("online, ")
    assert state.pop("RequiresMountsFor").split().count("/var/lib/edge-inspect") == 1
    assert state == {"ActiveState": "active", "Type": "notify", "WatchdogUSec": "30s", "NRestarts": "0"}
    ports = line.station.shell("ss --no-header --listening --tcp --udp --processes")
    assert "sshd" in ports
    assert "edge-inspect" not in ports
    assert "python" not in ports
    shows = line.station.shell(f"{PROGRAM} top --once --config {CONFIG}")
    assert "online" in shows.partition("\n")[0]
    assert recorder.named("event")


@pytest.mark.usefixtures("recorder")
def test_doctor_finds_a_pushed_device_well(line: Line) -> None:
    """Beside the daemon at work it finds no problem: user, sandbox, folders, broker and service are well."""
    found = json.loads(line.station.shell(f"{PROGRAM} doctor --config {CONFIG} --json || test $? -lt 100"))["findings"]
    assert [each for each in found if each["state"] == "problem"] == []
    well = {each["check"] for each in found if each["state"] == "ok"}
    assert {"user", "configuration", "access", "state folder", "bundle", "model", "broker", "service"} <= well


def test_a_killed_daemon_comes_back(line: Line, recorder: Recorder, figure: Callable[[str], None]) -> None:
    """After kill -9 another start judges within seconds, and numbers go on without a hole."""
    before = recorder.named("status")[-1]["boot_id"]
    line.station.shell("systemctl kill --kill-whom=main --signal=KILL edge-inspect")
    began = time.monotonic()
    judges_anew(recorder, before)
    figure(f"judging again {time.monotonic() - began:.1f} s after kill -9")
    assert_nothing_lost(line, recorder)
    assert shown(line.station, "NRestarts") == {"NRestarts": "1"}


def test_a_folder_that_a_killed_daemon_still_has_is_waited_for(line: Line, recorder: Recorder) -> None:
    """While another process holds it starts fail, and systemd goes on trying: the service judges once it is free."""
    before = recorder.named("status")[-1]["boot_id"]
    held = f"flock /var/lib/edge-inspect sh -c 'touch {FAULTS}/held; until test -e {FAULTS}/free; do sleep 0.1; done'"
    wait = f"timeout 20 sh -c 'until test -e {FAULTS}/held; do sleep 0.1; done'"
    line.station.shell(f"systemctl stop edge-inspect && systemd-run --unit=holder --quiet {held} && {wait}")
    assert "failed" in line.station.shell("systemctl start edge-inspect 2>&1 || true")
    line.station.shell(f"touch {FAULTS}/free")
    judges_anew(recorder, before, seconds=30)
    assert_nothing_lost(line, recorder)


@pytest.mark.parametrize("how", ["invoke", "SIGSTOP"])
def test_a_hung_daemon_is_replaced(how: str, line: Line, recorder: Recorder, figure: Callable[[str], None]) -> None:
    """A model that never answers, or a process that does not run, is ended by the watchdog; another start judges."""
    before = recorder.named("status")[-1]["boot_id"]
    began = time.monotonic()
    if how == "invoke":
        line.station.shell(f"touch {FAULTS}/hang")
    else:
        line.station.shell("systemctl kill --kill-whom=main --signal=STOP edge-inspect")
    recorder.wait(lambda r: r.named("status")[-1]["state"] == "offline", seconds=60)
    line.station.shell(f"rm -f {FAULTS}/hang")
    judges_anew(recorder, before)
    seconds = time.monotonic() - began
    figure(f"judging again {seconds:.1f} s after a hang ({how})")
    assert seconds < 45, "30 s of silence, 2 s to die, 2 s of rest and a start"
    assert_nothing_lost(line, recorder)
    told = line.station.shell("journalctl --unit=edge-inspect --output=cat --no-pager")
    assert "watchdog" in told
    if how == "invoke":
        assert "in invoke" in told, "where each thread was"


def test_a_stop_is_quick_and_in_order(line: Line, recorder: Recorder, figure: Callable[[str], None]) -> None:
    """The daemon ends within 2 seconds of a stop and says so, pins are made safe, and a start goes on where it was."""
    before = recorder.named("status")[-1]["boot_id"]
    asked = up_time(line.station)
    line.station.shell("systemctl stop edge-inspect")
    state = shown(line.station, "ActiveState", "Result", "ExecMainExitTimestampMonotonic")
    seconds = int(state.pop("ExecMainExitTimestampMonotonic")) / 1e6 - asked
    assert state == {"ActiveState": "inactive", "Result": "success"}
    made_safe = shown(line.station, "ExecStopPost")["ExecStopPost"]
    assert "safe --config" in made_safe
    assert "code=exited ; status=0" in made_safe
    figure(f"stopped in {seconds:.2f} s")
    assert seconds <= 2
    recorder.wait(lambda r: r.named("status")[-1]["state"] == "offline")
    assert recorder.named("status")[-1]["reason"] != "connection lost"
    line.station.shell("systemctl start edge-inspect")
    judges_anew(recorder, before)
    assert_nothing_lost(line, recorder)


def test_a_model_that_crashes_is_left(
    line: Line, recorder: Recorder, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """A model whose starts all end in a crash gives way to the one that judged before it, and the status says why."""
    demo = bundles.read(DEMO_BUNDLE)
    crasher = bundles.write(tmp_path / CRASHER, structs.replace(demo.manifest, name=CRASHER), demo.files)
    # It is kept after seconds of judging in one start.
    line.station.shell("timeout 120 sh -c 'until test -d /var/lib/edge-inspect/slots/a; do sleep 1; done'")
    line.station.shell(f"cp -r {BUNDLE_ON_DEVICE}/ /srv/{CRASHER}")
    leave(line.station, f"/srv/{CRASHER}/{bundles.MANIFEST}", (crasher.path / bundles.MANIFEST).read_text().rstrip())
    line.station.shell(f"chmod -R a+rX /srv/{CRASHER}")
    line.station.shell(f"sed -i 's#^bundle = .*#bundle = \"/srv/{CRASHER}\"#' {CONFIG}")
    began = time.monotonic()
    try:
        line.station.shell("systemctl restart --no-block edge-inspect")
        recorder.wait(lambda r: "did not come up" in str(r.named("status")[-1].get("reason")), seconds=120)
        recorder.wait(lambda r: r.named("event")[-1]["boot_id"] == r.named("status")[-1]["boot_id"])
        figure(f"an earlier model judges {time.monotonic() - began:.1f} s after the start with one that crashes")
        assert recorder.named("model")[-1]["bundle_sha256"] == demo.sha256
        assert_nothing_lost(line, recorder)
    finally:
        line.station.shell(f"sed -i 's#^bundle = .*#bundle = \"{BUNDLE_ON_DEVICE}\"#' {CONFIG}")
        line.station.shell("systemctl restart edge-inspect")


@pytest.mark.parametrize("switch_off", [Station.shut_down, Station.cut_the_power], ids=lambda way: way.__name__)
def test_a_device_that_is_switched_on_again_judges(
    switch_off: Callable[[Station], None], line: Line, recorder: Recorder, figure: Callable[[str], None]
) -> None:
    """Shut down or without power: the enabled service starts by itself, and the ledger goes on where it was."""
    before = recorder.named("status")[-1]["boot_id"]
    switch_off(line.station)
    recorder.wait(lambda r: r.named("status")[-1]["state"] == "offline", seconds=120)
    began = time.monotonic()
    line.station.boot()
    judges_anew(recorder, before)
    figure(f"judging {time.monotonic() - began:.1f} s after the power came")
    assert_nothing_lost(line, recorder)


def test_a_read_only_root_is_enough(line: Line, recorder: Recorder) -> None:
    """Where only /var can be written, and is empty at each start, the service starts and judges."""
    before = recorder.named("status")[-1]["boot_id"]
    line.station.shut_down()
    line.station.boot("--volatile=state")
    before = judges_anew(recorder, before)
    line.station.shell("! touch /etc/edge-inspect/x 2>/dev/null")
    line.station.shut_down()
    line.station.boot()
    assert judges_anew(recorder, before) != before


@pytest.fixture
def left(line: Line, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A second camera's instance, whose broker wants a password that root keeps; what its [mqtt] says."""
    password, port = "s3cret of the left one", free_port()
    run(need("mosquitto_passwd", "mosquitto"), "-b", "-c", tmp_path / "passwords", "left", password)
    settings = ("allow_anonymous false", f"password_file {tmp_path}/passwords")
    broker = make_broker(tmp_path, *settings, f"listener {port} {line.station.gateway}")
    broker.start()
    mqtt = {"host": line.station.gateway, "port": port, "username": "left"}
    config = write_config(
        tmp_path / "left.toml",
        bundle=DEMO_BUNDLE,
        state_dir="/var/lib/edge-inspect/left",
        camera={"kind": "synthetic", "rate": 5.0},
        mqtt={**mqtt, "password_file": "/run/credentials/edge-inspect@left.service/mqtt-password"},
        device={"site": "test", "id": "left"},
    )
    text = config.read_text().replace(str(DEMO_BUNDLE), "/opt/edge-inspect/current/bundle")
    leave(line.station, "/etc/edge-inspect/left.toml", text)
    line.station.shell(
        "cp /opt/edge-inspect/venv/share/edge-inspect/systemd/edge-inspect@.service /etc/systemd/system/"
        f" && mkdir -p -m 700 /etc/credstore && echo '{password}' > /etc/credstore/edge-inspect@left.mqtt-password"
        " && chmod 400 /etc/credstore/* && systemctl daemon-reload"
    )
    yield {"port": broker.port, "login": ("left", password)}
    line.station.shell("systemctl stop edge-inspect@left; rm /etc/credstore/edge-inspect@left.mqtt-password")
    broker.stop()


def test_a_second_camera_has_its_own_service_and_secret(line: Line, recorder: Recorder, left: dict[str, Any]) -> None:
    """edge-inspect@left logs in with a password that only root can read on disk, and keeps its state to itself."""
    with Recorder(left["port"], login=left["login"]) as other:
        line.station.shell("systemctl start edge-inspect@left")
        other.wait(lambda r: bool(r.named("event")), seconds=60)
        assert {message.topic.split("/")[3] for message in other.messages} == {"left"}
    assert line.station.shell("stat --format=%U:%a /var/lib/edge-inspect/left").strip() == "edge-inspect:750"
    may_read = partial(line.station.shell, "runuser -u edge-inspect -- cat /etc/credstore/* 2>&1 || true")
    assert "Permission denied" in may_read()
    asked = "journalctl --quiet --output=cat --identifier=edge-inspect@left EDGE_INSPECT_PART=mqtt.publisher"
    assert "connected to broker" in line.station.shell(asked)
    assert recorder.named("event"), "the other one goes on"
