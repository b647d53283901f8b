"""What a device says of itself before it can judge: online is a promise."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from device import injected, running_daemon, stop
from recorder import Recorder
from test_camera_faults import config_for
from test_watched_daemon import put

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker

_SLOW = """
import os, sys
if "run" in sys.orig_argv:
    from edge.camera import arrivals
    look = arrivals.Arrivals.__init__
    def slow(*arguments):
        open(os.environ["GATE"]).read()
        look(*arguments)
    arrivals.Arrivals.__init__ = slow
"""


def test_online_is_said_once_a_part_would_be_judged(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """While a folder hangs at its first look neither broker nor systemd are told that all is well; then both are.

    What comes into the folder from that word on has its verdict.
    """
    folder, gate = tmp_path / "folder", tmp_path / "gate"
    folder.mkdir()
    os.mkfifo(gate)
    config = config_for(tmp_path, demo_bundle, broker.port, {"kind": "folder", "path": str(folder), "watch": True})
    environment = injected(tmp_path, _SLOW, GATE=str(gate), NOTIFY_SOCKET=str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, Recorder(broker.port) as recorder:
        systemd.bind(environment["NOTIFY_SOCKET"])
        with running_daemon(config, environment) as daemon:
            recorder.wait(lambda r: any("camera" in each["reason"] for each in r.named("status")))
            assert {each["state"] for each in recorder.named("status")} == {"degraded"}
            assert recorder.named("status")[-1]["reason"] == "starting: the camera is being opened"
            systemd.setblocking(False)
            assert not said(systemd)
            gate.write_text("go on")
            assert recorder.wait_for_status("online")["reason"] == ""
            name = put(folder, 1)
            assert recorder.wait_for("event")[0]["source"] == name
            assert "READY=1" in said(systemd)
            stop(daemon)
    assert [each["state"] for each in recorder.statuses()] == ["online", "offline"]


def said(systemd: socket.socket) -> list[str]:
    """Return what systemd was told since it was last asked."""
    words = []
    try:
        while True:
            words.append(systemd.recv(200).decode())
    except BlockingIOError:
        return words
