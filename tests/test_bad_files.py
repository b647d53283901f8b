"""Whatever lies in the place of a device's files, it starts, judges and delivers, and says what it could not use."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from device import end, running_daemon, write_config
from recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Broker

LONGEST_SECONDS = 10.0


def nothing(path: Path) -> None:
    """Leave no byte of a file."""
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    """Put other bytes in its place."""
    path.write_bytes(bytes(range(256)) * 40)


def folder(path: Path) -> None:
    """Put a folder in its place, with something in it."""
    path.unlink(missing_ok=True)
    (path / "something").mkdir(parents=True)


def pipe(path: Path) -> None:
    """Put a pipe in its place, which nobody writes to."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def hole(path: Path) -> None:
    """Put 4 GiB of nothing in its place."""
    path.write_bytes(b"")
    os.truncate(path, 4 << 30)


def stray(path: Path) -> None:
    """Put a file in a folder's place."""
    shutil.rmtree(path)
    path.touch()


def picture(path: Path) -> None:
    """Put a picture without a byte, a broken-off one and a folder among the pictures."""
    (path / "01KAK8Q2QTF6V5YJ3GAYB94N1D-DEFECT.jpg").write_bytes(b"")
    (path / "01KAK8Q2QTF6V5YJ3GAYB94N1E-DEFECT.jpg.new").write_bytes(b"\xff")
    (path / "01KAK8Q2QTF6V5YJ3GAYB94N1F-DEFECT.jpg").mkdir()


def markers(path: Path) -> None:
    """Put pipes in the place of what says which models have passed."""
    for each in path.glob("probed-*"):
        pipe(each)


DAMAGES: list[tuple[str, Callable[[Path], None]]] = [
    *(("ledger.db", damage) for damage in (nothing, garbage, folder, pipe, hole)),
    *(("ledger.db-wal", damage) for damage in (garbage, folder, pipe)),
    *(("ledger.db-shm", damage) for damage in (garbage, folder, pipe)),
    *(("ledger.numbers", damage) for damage in (nothing, garbage, folder, pipe)),
    *(("ledger.reserve", damage) for damage in (nothing, folder)),
    *(("settings.json", damage) for damage in (nothing, garbage, folder, pipe)),
    *(("alarms.json", damage) for damage in (nothing, garbage, folder, pipe)),
    *(("homeassistant.json", damage) for damage in (nothing, garbage, folder, pipe)),
    *(("sparkplug.json", damage) for damage in (nothing, garbage, folder, pipe)),
    *(("sparkplug.json.new", damage) for damage in (garbage, folder)),
    (".", markers),
    *(("ledger.db.new", damage) for damage in (garbage, folder)),
    *(("pictures", damage) for damage in (picture, stray)),
]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for the state of a device that was used once."""
    return tmp_path_factory.mktemp("used") / "state"


def judge_some(config: Path) -> tuple[str, float]:
    """Run a daemon until its three frames are delivered; returns its log and the seconds."""
    began = time.monotonic()
    with running_daemon(config) as daemon:
        log = end(daemon)
        assert daemon.returncode == 0, log
    assert "Traceback" not in log
    return log, time.monotonic() - began


@pytest.mark.parametrize(("name", "damage"), DAMAGES, ids=lambda each: getattr(each, "__name__", each))
def test_a_damaged_file_keeps_no_device_from_starting(  # noqa: PLR0913, PLR0917 - fixtures and the table's columns
    tmp_path: Path, broker: Broker, demo_bundle: Path, used: Path, name: str, damage: Callable[[Path], None]
) -> None:
    """With one of its files empty, foreign or a folder it judges and delivers as ever, soon, under new numbers."""
    config = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera={"kind": "synthetic", "rate": 0, "frames": 3, "width": 64, "height": 64},
        mqtt={"host": "127.0.0.1", "port": broker.port},
        sparkplug={"group_id": "line"},
    )
    state = tmp_path / "state"
    with Recorder(broker.port) as recorder:
        if used.exists():
            shutil.copytree(used, state)
        else:
            judge_some(config)
            recorder.wait_for("event", 3)
            shutil.copytree(state, used)
        seen = len(recorder.named("event"))
        damage(state / name)
        said, seconds = judge_some(config)
        fresh = recorder.wait_for("event", seen + 3)[seen:]
        said += "".join(status["reason"] for status in recorder.named("status"))
    assert seconds < LONGEST_SECONDS
    if damage in (pipe, stray):
        assert f"{state / name} is no " in said
    assert len({event["id"] for event in fresh}) == 3
    if not name.startswith("ledger.db") or damage not in (nothing, garbage, folder, pipe, hole):
        assert [event["seq"] for event in fresh] == [4, 5, 6]
    else:
        assert fresh[0]["seq"] > 3, "a number was given twice"
