"""The daemon on a disk that fills up, turns read-only or fails: it judges on, says so, and comes back by itself."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest
from device import running_daemon, stop, write_config
from recorder import Recorder
from rigs import need
from test_ledger_disk import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Broker


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """Mount something in a new folder; skip where that is not allowed."""
    place.mkdir()
    done = subprocess.run(["mount", *options, place], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@contextlib.contextmanager
def disk_image(file: Path, place: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file as a disk of ext4, through the kernel's block layer."""
    with file.open("wb") as image:
        image.truncate(megabytes << 20)
    subprocess.run([need("mkfs.ext4", "e2fsprogs"), "-q", "-F", file], check=True, capture_output=True)
    with mounted(place, "-o", "loop", str(file)):
        yield place


@contextlib.contextmanager
def frozen(disk: Path) -> Iterator[None]:
    """Have a disk hang: whoever changes anything there waits in the kernel until the block ends."""
    subprocess.run(["fsfreeze", "--freeze", disk], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)


@contextlib.contextmanager
def judging(tmp_path: Path, broker: Broker, bundle: Path, state: Path) -> Iterator[Recorder]:
    """Run a daemon that keeps its state on a disk; in the end all its numbers must have arrived, in order, no gap."""
    config = write_config(
        tmp_path / "device.toml",
        bundle=bundle,
        camera={"kind": "synthetic", "rate": 100, "width": 64, "height": 64},
        mqtt={"host": "127.0.0.1", "port": broker.port},
        state_dir=str(state / "state"),
        health_every_s=0.5,
    )
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        recorder.wait_for("event", 20)
        yield recorder
        log = stop(daemon)
        assert daemon.returncode == 0, log
        assert "Traceback" not in log
    seqs = list(dict.fromkeys(event["seq"] for event in recorder.named("event")))
    assert recorder.named("gap") == [], "there was room, or memory, for all that had not arrived yet"
    assert seqs == list(range(1, len(seqs) + 1))


def wait_for_more(recorder: Recorder, count: int) -> None:
    """Wait until so many verdicts more have arrived."""
    recorder.wait_for("event", len(recorder.named("event")) + count)


def test_a_full_disk(tmp_path: Path, broker: Broker, demo_bundle: Path, figure: Callable[[str], None]) -> None:
    """While others leave no byte free the line judges and delivers on, and with room its state is what it was."""
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=12m", "disk") as disk,
        judging(tmp_path, broker, demo_bundle, disk) as recorder,
    ):
        hog = fill(disk)
        wait_for_more(recorder, 700)
        told = recorder.named("status")[-1]
        hog.unlink()
        wait_for_more(recorder, 100)
        recorder.wait_for_status("online")
    arrived = {event["seq"] for event in recorder.named("event")}
    lost = max(arrived) - len(arrived)
    figure(f"{len(arrived)} verdicts, 700 of them on a full disk ({told['state']}): {lost} lost")
    assert lost == 0


def test_a_start_on_a_full_disk(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Started where not a byte is free the line judges from memory, and takes to the disk once there is room."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=6m", "disk") as disk:
        (disk / "state" / "pictures" / "sent").mkdir(parents=True)
        hog = fill(disk)
        with judging(tmp_path, broker, demo_bundle, disk) as recorder:
            assert "kept in memory" in recorder.wait_for_status("degraded")["reason"]
            hog.unlink()
            recorder.wait_for_status("online")
            wait_for_more(recorder, 20)


def test_a_disk_that_turns_read_only(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """When the kernel makes a disk read-only after an error, verdicts go on from memory, and the status says why."""
    with (
        disk_image(tmp_path / "image", tmp_path / "disk", 32) as disk,
        judging(tmp_path, broker, demo_bundle, disk) as recorder,
    ):
        # As ext4_abort does after a failed write of the journal: files that are open for writing do not keep it.
        subprocess.run(["mount", "-o", "remount,abort", disk], check=True, capture_output=True)
        reason = recorder.wait_for_status("degraded")["reason"]
        wait_for_more(recorder, 300)
    assert "kept in memory" in reason


def test_a_disk_with_write_errors(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """When writes fail with I/O errors verdicts go on from memory; once they succeed again so does the disk."""
    with (
        mounted(tmp_path / "below", "-t", "tmpfs", "-o", "size=12m", "below") as below,
        disk_image(below / "image", tmp_path / "disk", 64) as disk,
        judging(tmp_path, broker, demo_bundle, disk) as recorder,
    ):
        hog = fill(below)  # The disk's blocks have nowhere to be kept: its writes fail.
        with contextlib.suppress(OSError):  # The line's own writes may have been first.
            (disk / "trouble").write_bytes(bytes(1 << 20))
        reason = recorder.wait_for_status("degraded")["reason"]
        wait_for_more(recorder, 200)
        hog.unlink()
        wait_for_more(recorder, 200)
    assert "kept in memory" in reason


def test_a_disk_that_hangs(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """While it does, pictures on their way or not, a broker that comes back hears that the line judges, and why mute.

    Alarms arrive meanwhile; when the disk goes on each verdict does, once and in order.
    """
    with (
        disk_image(tmp_path / "image", tmp_path / "disk", 64) as disk,
        judging(tmp_path, broker, demo_bundle, disk) as recorder,
    ):
        recorder.wait_for("image", 2)
        with frozen(disk):
            wait_until(recorder, "status", lambda told: "its disk hangs" in told["reason"])
            before = len(recorder.named("health"))
            broker.stop()
            broker.start()
            wait_until(recorder, "status", lambda told: told["state"] == "offline" and told["reason"] != "stopped")
            wait_until(recorder, "status", lambda told: "its disk hangs" in told["reason"])
            alarms = [alarm["event"] for alarm in recorder.named("alarm")]
            recorder.wait(lambda r: len(r.named("health")) > before + 1)
            recorder.wait(lambda r: r.named("alarm")[-1]["event"] not in alarms)
            assert recorder.named("status")[-1]["state"] == "degraded"
        wait_until(recorder, "status", lambda told: told["state"] == "online", 30)
        wait_for_more(recorder, 100)


@pytest.mark.parametrize("kind", ["free", "mqtt"])
def test_an_end_while_the_disk_hangs(tmp_path: Path, broker: Broker, demo_bundle: Path, kind: str) -> None:
    """The broker hears that the device was stopped in the time that a stop may take: no file is waited for."""
    with disk_image(tmp_path / "image", tmp_path / "disk", 64) as disk:
        config = write_config(
            tmp_path / "device.toml",
            bundle=demo_bundle,
            camera={"kind": "synthetic", "rate": 10, "width": 64, "height": 64},
            mqtt={"host": "127.0.0.1", "port": broker.port},
            state_dir=str(disk / "state"),
            trigger={"kind": kind},
            commands={"allow": ["trigger"] if kind == "mqtt" else []},
        )
        with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
            recorder.wait_for("model")
            recorder.wait_for_status("online")
            with frozen(disk):
                daemon.terminate()
                assert recorder.wait_for_status("offline", 5)["reason"] == "stopped"
            assert "the disk hangs" in daemon.communicate(timeout=10)[1]
            assert daemon.returncode == 0


def wait_until(
    recorder: Recorder, name: str, condition: Callable[[dict[str, object]], bool], seconds: float = 20
) -> None:
    """Wait until the last message of a name is so."""
    recorder.wait(lambda r: condition(r.named(name)[-1]), seconds)
