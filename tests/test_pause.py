"""A pause and a question cost nothing: no frame goes uncounted, and `health` comes at its time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from device import end, running_daemon, stop, write_config
from PIL import Image
from recorder import Recorder
from test_commands import Boss

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker

PICTURES = 1_500
LIVE = {"kind": "synthetic", "rate": 50, "width": 64, "height": 64}


def config_for(tmp_path: Path, broker: Broker, bundle: Path, camera: dict[str, Any], health_every_s: float) -> Path:
    """Write the configuration of a device that may be paused and asked."""
    return write_config(
        tmp_path / "device.toml",
        bundle=bundle,
        camera=camera,
        mqtt={"host": "127.0.0.1", "port": broker.port},
        commands={"allow": ["pause", "resume", "health"]},
        health_every_s=health_every_s,
    )


def test_a_paused_folder_waits(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Of a folder's pictures, of which none is dropped, a pause takes none away: each is judged, before it or after."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (64, 64)).save(folder / "0000.png")
    for number in range(1, PICTURES):
        os.link(folder / "0000.png", folder / f"{number:04}.png")
    config = config_for(tmp_path, broker, demo_bundle, {"kind": "folder", "path": str(folder)}, 60)
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        recorder.wait_for("event")
        boss = Boss(broker, recorder)
        assert boss.ask("pause")["status"] == "ok"
        judged = [boss.ask("health")["data"]["frames_judged"] for _ in range(5)]
        assert boss.ask("resume")["status"] == "ok"
        boss.stop()
        assert judged == judged[:1] * 5
        assert judged[0] < PICTURES, "the pause came too late to show anything"
        end(daemon)
        recorder.wait_for_status("offline")
        health = recorder.named("health")[-1]
        counts = [health[name] for name in ("frames_captured", "frames_dropped", "frames_judged")]
        assert counts == [PICTURES, 0, PICTURES]


def test_what_a_paused_camera_sees_is_counted(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A live camera's frames go by while the device is paused: `health` counts each of them as dropped."""
    config = config_for(tmp_path, broker, demo_bundle, LIVE, 0.1)
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        recorder.wait_for("event")
        boss = Boss(broker, recorder)
        boss.ask("pause")
        seen = boss.ask("health")["data"]["frames_captured"]
        recorder.wait(lambda r: r.named("health")[-1]["frames_captured"] > seen + 20)
        boss.ask("resume")
        boss.stop()
        stop(daemon)
        recorder.wait_for_status("offline")
        health = recorder.named("health")[-1]
    assert health["frames_dropped"] >= 20
    assert health["frames_captured"] - health["frames_dropped"] - health["frames_judged"] in (0, 1)


def test_who_asks_for_health_takes_it_from_nobody(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """While somebody asks for `health` more often than it is published, it is published as often as ever."""
    config = config_for(tmp_path, broker, demo_bundle, LIVE, 1)
    with Recorder(broker.port) as recorder, running_daemon(config):
        boss = Boss(broker, recorder)
        recorder.wait_for("health")
        seen = len(recorder.named("health"))
        for _ in range(15):  # Some five seconds.
            assert boss.ask("health")["status"] == "ok"
            events = len(recorder.named("event"))
            recorder.wait_for("event", events + 15)
        boss.stop()
        assert len(recorder.named("health")) >= seen + 3
