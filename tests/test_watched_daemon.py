"""A watched folder below the real daemon, and what `check --live` says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device import run_inspect, running_daemon, stop
from PIL import Image
from recorder import Recorder
from test_camera_faults import config_for, unknowns

from edge.synthetic import render

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker


def put(folder: Path, number: int) -> str:
    """Have a line drop the picture of a part into a folder; returns its name."""
    name = f"part-{number}.png"
    part = render(1, number, height=128, width=160)
    Image.fromarray(part.pixels).save(folder / f".{name}", "PNG")
    (folder / f".{name}").rename(folder / name)
    return name


def test_each_picture_that_comes_gets_its_verdict(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Though its share goes away: that is UNKNOWN and told, and what came meanwhile is judged, each once."""
    share, away = tmp_path / "share", tmp_path / "away"
    share.mkdir()
    put(share, 0)
    camera = {"kind": "folder", "path": str(share), "watch": True}
    config = config_for(tmp_path, demo_bundle, broker.port, camera)
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        recorder.wait_for("info", 1)  # The line is open: the folder was looked at.
        names = [put(share, number) for number in range(1, 4)]
        recorder.wait(lambda r: len(r.named("event")) == 3)
        share.rename(away)
        assert "No such file or directory" in recorder.wait_for_status("degraded")["reason"]
        recorder.wait(unknowns)
        names.append(put(away, 4))
        away.rename(share)
        recorder.wait(lambda r: r.named("event")[-1]["source"] == names[-1])
        assert recorder.wait_for_status("online")["reason"] == ""
        stop(daemon)
        assert daemon.returncode == 0
    judged = [event["source"] for event in recorder.named("event") if event["source"]]
    assert sorted(judged) == names


def test_an_empty_folder_is_ready(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """A folder into which nothing comes while one looks is as it should be."""
    camera = {"kind": "folder", "path": str(tmp_path), "watch": True}
    checked = run_inspect("check", "--config", config_for(tmp_path, demo_bundle, broker.port, camera), "--live")
    assert checked.returncode == 0, checked.stderr
    assert f"camera waits for pictures in {tmp_path}" in checked.stdout
