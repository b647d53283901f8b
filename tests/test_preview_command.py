"""`edge-inspect preview` as a process, with pretended cameras and the demo's model."""

from __future__ import annotations

import signal
import socket
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import free_port
from device import assert_one_clear_line, end, run_inspect, running_daemon, write_config
from guard_line import at_rest
from PIL import Image
from previewing import TRAY, ask, running_preview, state, wait_for
from remote_pi import RemotePi
from test_baseline_command import station

from edge.config import parse
from edge.ledger.ledger import FILE as LEDGER
from edge.preview import command
from edge.settings import FILE as SETTINGS

if TYPE_CHECKING:
    from conftest import Broker

SYNTHETIC = {"kind": "synthetic", "name": "station-3", "rate": 20.0}


def config_for(folder: Path, bundle: Path, camera: dict[str, Any], **more: Any) -> Path:
    """Write the configuration of a device whose broker is not there."""
    return write_config(folder / "device.toml", bundle=bundle, camera=camera, mqtt={"port": 1}, **more)


def is_judged(found: dict[str, Any]) -> bool:
    """Say whether the model gave a verdict for each region."""
    return all(spot["opinion"] for spot in found["spots"])


def test_it_shows_and_judges_and_keeps_nothing(tmp_path: Path, demo_bundle: Path) -> None:
    """Each region has a verdict with its class and score; no file is made, nothing is published."""
    config = config_for(tmp_path, demo_bundle, SYNTHETIC, regions=[TRAY])
    with running_preview(config) as preview:
        found = wait_for(preview.port, is_judged)
        assert f"ssh -L {preview.port}:localhost:{preview.port} " in preview.said
        assert found["model"]["trouble"] == ""
        assert found["model"]["age_s"] < 60
        for spot in found["spots"]:
            opinion = spot["opinion"]
            assert opinion["verdict"] in {"PASS", "DEFECT", "UNKNOWN"}
            assert 0 <= opinion["score"] <= 1
        wait_for(preview.port, lambda later: later["picture"]["number"] > found["picture"]["number"])
        assert wait_for(preview.port, lambda later: later["camera"]["rate"] > 1)["picture"]["look"] is None
        image = Image.open(BytesIO(ask(preview.port, "/frame.jpg").body))
        assert image.size == (160, 128)
    assert [each.name for each in tmp_path.iterdir()] == ["device.toml"]


def test_it_judges_by_what_counts_now(tmp_path: Path, demo_bundle: Path) -> None:
    """A threshold that was set from afar decides, and each frame by itself, though the device asks for N of M."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / SETTINGS).write_text('{"decision.threshold": 1e-9}')
    config = config_for(tmp_path, demo_bundle, SYNTHETIC, decision={"votes": 50, "window": 50})
    with running_preview(config) as preview:
        (spot,) = wait_for(preview.port, is_judged)["spots"]
    assert (spot["name"], spot["opinion"]["verdict"], spot["opinion"]["reason"]) == ("whole", "DEFECT", "")
    assert [each.name for each in (tmp_path / "state").iterdir()] == [SETTINGS]


def test_each_file_is_taken_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a configured folder it may be the user's or the service's, whichever has the file; none is made."""
    own, service = tmp_path / "home" / "edge-inspect", tmp_path / "service"
    monkeypatch.setenv("XDG_STATE_HOME", str(own.parent))
    monkeypatch.setattr("edge.state.OF_THE_SERVICE", service)
    monkeypatch.setattr(command, "OF_THE_SERVICE", service)
    config = parse({"bundle": "b", "camera": {"kind": "synthetic"}}, tmp_path / "device.toml")
    assert command._folder_of(config, SETTINGS) == service
    assert list(tmp_path.iterdir()) == []
    service.mkdir()
    (service / SETTINGS).touch()
    assert command._folder_of(config, SETTINGS) == service
    own.mkdir(parents=True)
    (own / LEDGER).touch()
    assert [command._folder_of(config, name) for name in (SETTINGS, LEDGER)] == [service, own]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_ends_at_once(tmp_path: Path, demo_bundle: Path, number: signal.Signals) -> None:
    """Within 2 s, whoever still looks or waits, and the camera is let go of; as any command does after Ctrl-C."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, pi.camera)
    with running_preview(config, pi.environment) as preview:
        wait_for(preview.port, is_judged)
        with socket.create_connection(("127.0.0.1", preview.port)) as stalled:
            stalled.sendall(b"GET /frame.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
            began = time.monotonic()
            preview.process.send_signal(number)
            said = end(preview.process, 10)
            assert time.monotonic() - began < 2
    assert preview.process.returncode == 130
    assert said.splitlines()[-1] == "edge-inspect: interrupted"
    assert "did not close" not in said
    assert "Traceback" not in said


def test_a_cable_that_is_pulled_and_put_back(tmp_path: Path, demo_bundle: Path) -> None:
    """Meanwhile the page says why there is no picture, and shows no verdict; then it goes on by itself."""
    pi = RemotePi(tmp_path)
    config = config_for(tmp_path, demo_bundle, pi.camera)
    with running_preview(config, pi.environment) as preview:
        before = wait_for(preview.port, is_judged)
        assert before["picture"]["look"] == {"reason": "", "right": 0.0, "down": 0.0}
        pi.do("unplug")
        lost = wait_for(preview.port, lambda found: found["camera"]["trouble"])
        assert "check its cable" in lost["camera"]["trouble"]
        assert lost["spots"][0]["opinion"] is None
        pi.do("plug")
        found = wait_for(preview.port, lambda found: not found["camera"]["trouble"] and is_judged(found))
        assert found["picture"]["number"] > lost["picture"]["number"]
        pi.do("cover")
        black = wait_for(preview.port, lambda found: found["picture"]["look"]["reason"])
        assert black["picture"]["look"]["reason"] == "the picture is black"


def test_a_camera_that_comes_later(tmp_path: Path, demo_bundle: Path) -> None:
    """One that is not there yet is waited for, and the page says so."""
    pi = RemotePi(tmp_path)
    with running_preview(config_for(tmp_path, demo_bundle, pi.camera | {"index": 1}), pi.environment) as preview:
        lost = wait_for(preview.port, lambda found: "not among this device's 1 cameras" in found["camera"]["trouble"])
        assert lost["picture"] is None
        pi.do("add")
        wait_for(preview.port, lambda found: found["picture"] and not found["camera"]["trouble"])


def test_a_camera_that_does_not_let_go_ends_it(tmp_path: Path, demo_bundle: Path) -> None:
    """Only the process' end frees such hardware: one line says so."""
    pi = RemotePi(tmp_path)
    with running_preview(config_for(tmp_path, demo_bundle, pi.camera), pi.environment) as preview:
        wait_for(preview.port, lambda found: found["picture"])
        pi.do("jam")
        pi.do("unplug")
        said = end(preview.process, 60)
    assert preview.process.returncode == 5
    assert "a new start may free it" in said.splitlines()[-1]


def test_a_camera_that_the_daemon_has(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """One line says to stop the daemon first."""
    pi = RemotePi(tmp_path)
    config = write_config(
        tmp_path / "device.toml", bundle=demo_bundle, camera=pi.camera | {"index": 1}, mqtt={"port": broker.port}
    )
    other = tmp_path / "other"
    other.mkdir()
    second = RemotePi(other)
    with running_daemon(config, pi.environment) as daemon:
        deadline = time.monotonic() + 30
        while not (tmp_path / "state" / LEDGER).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        told = pytest.raises(AssertionError, match="stop that first, systemctl stop edge-inspect")
        with told as caught, running_preview(config, second.environment):
            pass
        assert "Traceback" not in str(caught.value)
        daemon.terminate()
        daemon.wait(10)


def test_files_are_shown_again_and_again(tmp_path: Path) -> None:
    """At a pace for the eye, whatever the configuration says of the judging; without a model it says why."""
    config = station(tmp_path, at_rest(1, range(2)))
    with running_preview(config) as preview:
        found = wait_for(preview.port, lambda found: found["picture"] and found["picture"]["number"] > 4)
        assert found["camera"]["rate"] < 8
        assert "none" in wait_for(preview.port, lambda found: found["model"]["trouble"])["model"]["trouble"]


def test_a_picture_that_is_damaged_is_told(tmp_path: Path, demo_bundle: Path) -> None:
    """The page says which; nothing else changes."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n garbage")
    config = config_for(tmp_path, demo_bundle, {"kind": "folder", "path": str(tmp_path / "pictures")})
    with running_preview(config) as preview:
        wait_for(preview.port, lambda found: "torn.png" in found["camera"]["trouble"])
        assert state(preview.port)["picture"] is None


def test_the_guard_looks_as_in_the_daemon(tmp_path: Path) -> None:
    """Once a baseline was taken its word stands beside the picture."""
    parts = at_rest(1, range(12))
    config = station(tmp_path, parts)
    assert run_inspect("baseline", "--config", config, "--frames", 12).returncode == 0
    station(tmp_path, [np.roll(part, 60, axis=1) for part in parts])
    with running_preview(config) as preview:
        found = wait_for(preview.port, lambda found: found["picture"])
        assert "fixture" in found["picture"]["look"]["reason"] or "part" in found["picture"]["look"]["reason"]


def test_a_port_that_is_taken(tmp_path: Path, demo_bundle: Path) -> None:
    """One line names it; so does one that is none."""
    config = config_for(tmp_path, demo_bundle, SYNTHETIC)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        found = run_inspect("preview", "--config", config, "--port", port)
        assert_one_clear_line(found, 3, f"--port {port} is not to be had", "name another")
    for port in ("65536", "x", "-1", "9" * 5000):
        assert run_inspect("preview", "--config", config, f"--port={port}").returncode == 2


def test_only_this_device_reaches_it(tmp_path: Path, demo_bundle: Path) -> None:
    """It listens on the loopback address and no other."""
    with running_preview(config_for(tmp_path, demo_bundle, SYNTHETIC)) as preview:
        sockets = [Path(f"/proc/{preview.process.pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        listening = [line.split()[1] for text in sockets for line in text.splitlines()[1:] if line.split()[3] == "0A"]
    assert [each for each in listening if each.endswith(f":{preview.port:04X}")] == [f"0100007F:{preview.port:04X}"]
