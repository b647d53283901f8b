"""What becomes of the real daemon when its Edge TPU fails: the CPU judges the same, and says why; then it is back."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from accelerators import Standin, bundle, children
from conftest import make_broker
from device import end, inspect_command, running_daemon, stop, write_config
from PIL import Image
from proxy import Proxy
from recorder import Recorder

from edge.contract import bundle as bundles

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from conftest import Broker

    from edge.contract.preprocess import Pixels

OPEN_SECONDS = 60.0
"""Until a hang while the library loads is given up."""
_IMPATIENT = """
import sys
from functools import partial
from edge.accelerator import accelerated
accelerated.Limits = partial(accelerated.Limits, opening=2.0)
from edge.__main__ import main
sys.exit(main())
"""
"""The daemon, but that it gives such a hang up sooner."""
PICTURES: list[Pixels] = [np.random.default_rng(seed).integers(0, 256, (80, 160, 3), np.uint8) for seed in range(8)]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """PICTURES and a bundle, judged by the CPU alone."""
    folder = tmp_path_factory.mktemp("shown")
    (folder / "pictures").mkdir()
    for number, pixels in enumerate(PICTURES):
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.png")
    parts = bundle()
    bundles.write(folder / "parts", parts.manifest, parts.files)
    broker = make_broker(folder)
    broker.start()
    config = config_for(folder, folder, broker.port, rate=0)
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        said = end(daemon)
        assert daemon.returncode == 0, said
        events = recorder.wait_for("event", len(PICTURES))
    broker.stop()
    return Shown(folder, {(event["source"], event["verdict"], event["label"]) for event in events})


class Shown(NamedTuple):
    """A folder of pictures and a bundle, and what comes out right: source, verdict and label."""

    folder: Path
    expected: set[tuple[str, str, str]]


def config_for(folder: Path, shown: Path, port: int, *, runtime: dict[str, Any] | None = None, **camera: Any) -> Path:
    """Write the configuration of a device that is shown the pictures."""
    return write_config(
        folder / "device.toml",
        bundle=shown / "parts",
        camera={"kind": "folder", "path": str(shown / "pictures"), **camera},
        mqtt={"host": "127.0.0.1", "port": port},
        runtime=runtime or {},
        health_every_s=0.2,
    )


@pytest.fixture
def device(tmp_path: Path, shown: Shown, broker: Broker, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device with the stand-in, which shows PICTURES again and again."""
    monkeypatch.setenv("STANDIN_EDGETPU", str(standin.says))
    runtime = {"accelerator": "edgetpu", "library": str(standin.library), "invoke_deadline_ms": 1000}
    config = config_for(tmp_path, shown.folder, broker.port, runtime=runtime, rate=20.0, loop=True)
    return Device(config, broker, standin, shown.expected)


class Device:
    """The daemon and what it says of its accelerator."""

    def __init__(self, config: Path, broker: Broker, standin: Standin, expected: set[tuple[str, str, str]]) -> None:
        self.config = config
        self.standin = standin
        self._broker = broker
        self._expected = expected

    @contextmanager
    def running(self, program: Sequence[str] = ("-m", "edge")) -> Iterator[tuple[Recorder, subprocess.Popen[str]]]:
        """Run it; each frame that it judged meanwhile was judged as the CPU does."""
        command = [sys.executable, *program, *inspect_command("run", "--config", self.config)[3:]]
        with Recorder(self._broker.port) as recorder, running_daemon(self.config, command=command) as daemon:
            yield recorder, daemon
            recorder.wait(lambda r: len({event["source"] for event in r.named("event")}) == len(PICTURES))
            said = stop(daemon) if daemon.poll() is None else end(daemon)
            assert daemon.returncode == 0, said
            recorder.wait_for_status("offline")
        events = recorder.named("event")
        assert {(event["source"], event["verdict"], event["label"]) for event in events} <= self._expected
        numbers = list(dict.fromkeys((event["seq"], event["id"]) for event in events))  # After a cut some arrive twice.
        assert [number for number, _ in numbers] == list(range(1, len(numbers) + 1))


def state(recorder: Recorder) -> str:
    """Return what the newest health message says of the accelerator."""
    found = [health["accelerator"] for health in recorder.named("health")]
    return found[-1]["state"] if found and found[-1] else ""


def invokes(recorder: Recorder) -> int:
    """Return how many frames the accelerator has judged."""
    return int(recorder.named("health")[-1]["accelerator"]["invokes"])


def wait_for_state(recorder: Recorder, wanted: str, seconds: float = OPEN_SECONDS) -> None:
    """Wait until health says it."""
    recorder.wait(lambda r: state(r) == wanted, seconds)


def test_the_stand_in_tells_parts_apart(shown: Shown) -> None:
    """Of PICTURES some are PASS and some DEFECT, so that a wrong accelerator would be seen."""
    assert {verdict for _, verdict, _ in shown.expected} == {"PASS", "DEFECT"}


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no-device", "no Edge TPU answers"),
        ("crash-load", "the Edge TPU's library died of signal 11"),
        ("refuse-model", "the Edge TPU refuses the model"),
        ("wrong", "golden frame 0.png: a score is "),
        ("crash-invoke 1", "the Edge TPU's library died of signal 11"),
        ("fail-invoke 1", "the Edge TPU fails (Node number "),
    ],
)
def test_one_that_cannot_be_used_from_the_start(device: Device, how: str, says: str) -> None:
    """The CPU judges, `health` says cpu, and `status` is degraded with the reason; mended, it judges within seconds."""
    device.standin.behave(how)
    with device.running() as (recorder, _):
        wait_for_state(recorder, "cpu")
        reason = recorder.wait_for_status("degraded")["reason"]
        assert reason.startswith("the CPU judges: ")
        assert says in reason
        device.standin.behave("works")
        wait_for_state(recorder, "accelerated")
        assert recorder.wait_for_status("online")["reason"] == ""
        before = invokes(recorder)
        recorder.wait(lambda r: invokes(r) > before + 5)


def test_a_library_that_is_not_there(device: Device) -> None:
    """It is named, with what to install, and the CPU judges."""
    device.config.write_text(device.config.read_text().replace(str(device.standin.library), "libnowhere.so.1"))
    with device.running() as (recorder, _):
        reason = recorder.wait_for_status("degraded", OPEN_SECONDS)["reason"]
        assert "libnowhere.so.1 does not load" in reason
        assert "install the Edge TPU's library" in reason
        recorder.wait_for("event", 2 * len(PICTURES))


def test_one_that_hangs_while_it_loads_holds_nothing_up(device: Device) -> None:
    """Frames are judged by the CPU meanwhile, and the daemon ends in time."""
    device.standin.behave("hang-load")
    with device.running() as (recorder, _):
        recorder.wait_for("event", 3 * len(PICTURES))
        assert state(recorder) == "opening"


def test_one_that_hangs_while_it_loads_is_given_up(device: Device) -> None:
    """The status says for how long it did not answer; when it does again it judges, and no process is left behind."""
    device.standin.behave("hang-load")
    with device.running(("-c", _IMPATIENT)) as (recorder, daemon):
        reason = recorder.wait_for_status("degraded", OPEN_SECONDS)["reason"]
        assert reason.startswith("the CPU judges: the Edge TPU did not answer within 2000 ms")
        device.standin.behave("works")
        wait_for_state(recorder, "accelerated")
        assert recorder.wait_for_status("online")["reason"] == ""
        assert len(children(daemon.pid)) == 1, "a process of the accelerator's was left behind"


@pytest.mark.parametrize("how", ["crash-invoke 1", "hang-invoke 1", "fail-invoke 1"])
def test_one_that_fails_while_it_judges(device: Device, how: str) -> None:
    """The frame that it failed at is judged by the CPU, as are those after it, until it answers again."""
    with device.running() as (recorder, daemon):
        wait_for_state(recorder, "accelerated")
        recorder.wait(lambda r: invokes(r) > 5)
        device.standin.behave(how)
        assert "the CPU judges: " in recorder.wait_for_status("degraded", OPEN_SECONDS)["reason"]
        before = len(recorder.named("event"))
        device.standin.behave("works")
        wait_for_state(recorder, "accelerated")
        recorder.wait_for_status("online")
        recorder.wait_for("event", before + len(PICTURES))
        assert len(children(daemon.pid)) == 1, "a process of the accelerator's was left behind"


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_blows_to_its_process(device: Device, blow: signal.Signals) -> None:
    """A worker that is killed, dies or is stopped from outside is replaced; no frame is lost or judged otherwise."""
    with device.running() as (recorder, daemon):
        wait_for_state(recorder, "accelerated")
        (worker,) = children(daemon.pid)
        os.kill(worker, blow)
        recorder.wait(lambda r: any((health["accelerator"] or {}).get("failures") for health in r.named("health")))
        wait_for_state(recorder, "accelerated")
        recorder.wait_for_status("online")
        assert worker not in children(daemon.pid)


def test_a_hang_while_the_broker_is_away(device: Device, broker: Broker) -> None:
    """Two faults at once: what was judged meanwhile arrives, none is missing, and both are over soon after."""
    with Proxy(broker.port) as network:
        text = device.config.read_text()
        device.config.write_text(text.replace(f"port = {broker.port}", f"port = {network.port}"))
        with device.running() as (recorder, daemon):
            wait_for_state(recorder, "accelerated")
            network.hang()
            device.standin.behave("hang-invoke 30")
            assert daemon.stderr is not None
            assert any("the Edge TPU failed: " in line for line in iter(daemon.stderr.readline, ""))
            before = len(recorder.named("event"))
            network.cut()
            recorder.wait(lambda r: len(r.named("event")) > before + 2 * len(PICTURES), 60)
            device.standin.behave("works")
            wait_for_state(recorder, "accelerated")
            recorder.wait_for_status("online")
