"""The real daemon with a pretended camera that a test disturbs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from device import running_daemon, stop, write_config
from recorder import Recorder

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


class Pretended(Protocol):
    """A camera within the daemon's process."""

    camera: dict[str, Any]
    environment: dict[str, str]

    def do(self, verb: str) -> None:
        """Do something to it."""


class Fault(NamedTuple):
    """What is done to a camera."""

    begins: str
    ends: str
    """Empty: opened anew, the camera is right again."""
    says: str
    """Words of the verdicts."""
    status: str
    """Words of the status."""


def config_for(tmp_path: Path, bundle: Path, port: int, camera: dict[str, Any]) -> Path:
    """Write the configuration of a device under test."""
    return write_config(tmp_path / "device.toml", bundle=bundle, camera=camera, mqtt={"port": port})


@contextmanager
def judging(config: Path, port: int, camera: Pretended) -> Iterator[tuple[Recorder, subprocess.Popen[str]]]:
    """Run the daemon, from its first verdict on; unless its own end was waited for, it ends well when stopped."""
    with Recorder(port) as recorder, running_daemon(config, camera.environment) as daemon:
        recorder.wait(lambda r: bool(r.named("event")))
        yield recorder, daemon
        if daemon.returncode is None:  # Nobody has waited for its end.
            stop(daemon)
            assert daemon.returncode == 0


def unknowns(recorder: Recorder) -> list[dict[str, Any]]:
    """Return the verdicts that say that no frame came."""
    return [event for event in recorder.named("event") if event["verdict"] == "UNKNOWN"]


def sees(recorder: Recorder, behind: int) -> bool:
    """Say whether a part was judged behind so many verdicts."""
    return any(event["verdict"] != "UNKNOWN" for event in recorder.named("event")[behind:])


def none_passes(recorder: Recorder, words: str, before: int) -> bool:
    """Say whether none of the first `before` verdicts was of a part, from the first with these words on."""
    events = recorder.named("event")[:before]
    first = next(number for number, event in enumerate(events) if words in event["reason"])
    return all(event["verdict"] == "UNKNOWN" for event in events[first:])


def goes_through(recorder: Recorder, camera: Pretended, fault: Fault) -> set[str]:
    """Have a camera that is seen with go through a fault, of which the status tells, until it is seen with again.

    Returns what verdicts there were meanwhile.
    """
    recorder.wait(lambda r: sees(r, 0))
    camera.do(fault.begins)
    recorder.wait(lambda r: any(fault.says in event["reason"] for event in unknowns(r)))
    assert fault.status in recorder.wait_for_status("degraded")["reason"]
    before = len(recorder.named("event"))
    if fault.ends:
        camera.do(fault.ends)
    recorder.wait(lambda r: sees(r, before))
    assert recorder.wait_for_status("online")["reason"] == ""
    events = recorder.named("event")
    said = [number for number, event in enumerate(events) if fault.says in event["reason"]]
    last = max(said[-1] + 1, before if fault.ends else 0)
    return {event["verdict"] for event in events[said[0] : last]}
