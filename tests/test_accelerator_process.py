"""The accelerator's process lives no longer than the daemon, and dies without taking anything with it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from accelerators import FRAME, PATIENCE, bundle, children, engine, line, wait_until_it_judges
from device import running_daemon, stop, write_config
from recorder import Recorder
from test_judge import judge_with, judged, shot

from edge import check
from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.messages import Verdict
from edge.errors import RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from accelerators import Standin
    from conftest import Broker

    from edge.contract.bundle import Bundle

DAEMON = """
import signal, sys
from accelerators import FRAME, bundle, children, engine, line
from edge.sections.runtime import Runtime
judging = line(bundle(), Runtime(accelerator="edgetpu", library=sys.argv[1]), deadline=600)
while not children():
    pass
if sys.argv[2] != "hang-load":
    assert not engine(judging).settle(60)
print(*children(), flush=True)
if sys.argv[2] == "hang-invoke":
    judging.classify(FRAME)
signal.pause()
"""
"""Something that has an accelerator, as the daemon has."""
HOLD = """
import ctypes, sys
libc = ctypes.CDLL(None)
seize = libc.ptrace(0x4206, int(sys.argv[1]), None, None)
print("no" if seize else "yes", flush=True)
sys.stdin.read()
"""
"""Traces a process: until this one ends, a killed one stays in the table, as one in a driver's hands does."""


@pytest.fixture(scope="module")
def parts() -> Bundle:
    """A bundle that has a model for it."""
    return bundle()


@pytest.fixture
def judging(parts: Bundle, standin: Standin) -> Iterator[Classifier]:
    """A line whose accelerator judges."""
    made = line(parts, standin.settings(), deadline=1.0)
    assert engine(made).settle(PATIENCE) == ""
    yield made
    made.close()
    assert children() == {}


def worker() -> int:
    """Return the one child's process id."""
    (found,) = children()
    return found


def ends(descriptor: int) -> bool:
    """Wait for the end of a process that a pidfd names."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(PATIENCE * 1e3))


@pytest.mark.parametrize("state", ["idle", "hang-load", "hang-invoke"])
def test_it_ends_with_the_daemon(standin: Standin, state: str) -> None:
    """When the daemon is killed its worker is gone too, also one that hangs in the library and reads nothing."""
    hangs = standin.says.with_name(f"{standin.says.name}.hangs")
    os.mkfifo(hangs)
    standin.behave({"idle": "works", "hang-load": "hang-load", "hang-invoke": "hang-invoke 6"}[state])
    command = [sys.executable, "-c", DAEMON, standin.library, state]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        if state != "idle":
            hangs.open().close()  # Opens when the worker does the same, at the moment it hangs.
        descriptor = os.pidfd_open(pid)
        daemon.kill()
        assert ends(descriptor)
        os.close(descriptor)


def test_the_signals_that_end_a_service_are_the_daemons(judging: Classifier) -> None:
    """A SIGTERM to all of a service, or Ctrl-C, leaves the worker to judge the last frames."""
    for each in (signal.SIGTERM, signal.SIGINT):
        os.kill(worker(), each)
    judging.classify(FRAME)
    assert (engine(judging).health().invokes, engine(judging).health().failures) == (1, 0)


def test_killing_it_again_and_again_costs_no_frame(judging: Classifier, parts: Bundle) -> None:
    """However often it dies between two frames, each of them is judged rightly, and it always comes back."""
    expected = Classifier(parts).classify(FRAME).scores
    for number in range(1, 6):
        os.kill(worker(), signal.SIGKILL)
        for _ in range(10):
            np.testing.assert_array_equal(judging.classify(FRAME).scores, expected)
        assert engine(judging).health().failures == number
        wait_until_it_judges(judging)


def test_one_that_is_stopped_is_killed(judging: Classifier) -> None:
    """A process that gets no time at all counts as hung, and is gone although it was stopped."""
    os.kill(worker(), signal.SIGSTOP)
    judging.classify(FRAME)
    assert engine(judging).trouble.startswith("the CPU judges: the Edge TPU did not answer within")
    wait_until_it_judges(judging)


def test_one_that_cannot_be_ended_is_not_followed_by_another(judging: Classifier, standin: Standin) -> None:
    """While a killed process is still there, as in a driver that hangs, no second one joins it; then it is back."""
    pid = worker()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        if holder.stdout.readline() != "yes\n":
            pytest.skip("this user may not trace a process")
        standin.behave("hang-invoke 1")
        judging.classify(FRAME)
        standin.behave("works")
        held = engine(judging)
        with held._changed:
            assert not held._changed.wait_for(lambda: held._plan.accelerated, 1.0)
        assert {each: state for each, state in children().items() if each != holder.pid} == {pid: "Z"}
        judging.classify(FRAME)
        assert engine(judging).trouble.endswith("; a driver holds its process: switch the device off and on")
        holder.stdin.close()
    wait_until_it_judges(judging)
    assert engine(judging).trouble == ""


def test_a_frame_that_is_too_late_is_unknown(judging: Classifier, standin: Standin, tmp_path: Path) -> None:
    """The event says that the Edge TPU hangs and the CPU would be too late; the next frame has its verdict."""
    standin.behave("hang-invoke 1")
    engine(judging)._cpu_seconds = 0.9
    judge = judge_with(judging, tmp_path)
    event = judged(judge, shot())
    assert event.verdict is Verdict.UNKNOWN
    assert event.reason == (
        "the classifier failed: the Edge TPU did not answer within 500 ms, and the CPU needs 900 ms more, "
        "which is past the deadline"
    )
    assert judged(judge, shot()).verdict is not Verdict.UNKNOWN


def save(parts: Bundle, folder: Path) -> Path:
    bundles.write(folder, msgspec.structs.replace(parts.manifest, files={}), dict(parts.files))
    return folder


@pytest.mark.parametrize("how", ["works", "no-device"])
def test_the_check_command_asks_the_accelerator(
    parts: Bundle, standin: Standin, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """`edge-inspect check` says that it judges, or why it does not with the exit code of a runtime."""
    standin.behave(how)
    save(parts, tmp_path / "parts")
    config = tmp_path / "device.toml"
    config.write_text(
        f'bundle = "parts"\nstate_dir = "state"\n[camera]\nkind = "synthetic"\n'
        f'[runtime]\naccelerator = "edgetpu"\nlibrary = "{standin.library}"\n'
    )
    if how == "works":
        check.check(config, live=False)
        assert "ok  accelerator    the Edge TPU gives the golden frames' expected scores" in capsys.readouterr().out
    else:
        with pytest.raises(RuntimeUnavailableError, match="the CPU judges: no Edge TPU answers"):
            check.check(config, live=False)
    assert children() == {}


def test_a_running_daemon_loses_no_verdict_by_it(
    parts: Bundle, standin: Standin, tmp_path: Path, broker: Broker
) -> None:
    """Its accelerator is killed while parts go by: none is UNKNOWN, and it still ends in time, with all it started."""
    config = write_config(
        tmp_path / "device.toml",
        bundle=save(parts, tmp_path / "parts"),
        camera={"kind": "synthetic", "rate": 20},
        mqtt={"host": "127.0.0.1", "port": broker.port},
        runtime={"accelerator": "edgetpu", "library": str(standin.library)},
    )
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        for number in range(1, 3):
            recorder.wait_for("event", 20 * number)
            (pid,) = children(daemon.pid)
            descriptor = os.pidfd_open(pid)
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            assert ends(descriptor)
            os.close(descriptor)
        events = recorder.wait_for("event", 60)
        began = time.monotonic()
        log = stop(daemon)
        assert time.monotonic() - began < 2
        assert daemon.returncode == 0
    assert all(event["verdict"] != "UNKNOWN" for event in events)
    assert log.count("the Edge TPU judges") >= 1
    assert "Traceback" not in log
