"""Fixtures that several test files share: a real broker, the demo bundle, the outside pictures."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from accelerators import Standin
    from fake_v4l2 import Webcam

PROJECT = Path(__file__).resolve().parent.parent
NOBODY = 65534
DEMO_BUNDLE = PROJECT / "edge" / "demo_bundle"

# What tests start remembers nothing of the user's, nor leaves him anything.
for _name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
    os.environ[_name] = tempfile.mkdtemp(prefix="edge-inspect-tests-")
    atexit.register(shutil.rmtree, os.environ[_name])

# A shell without job control starts what it puts in the background deaf to Ctrl-C, and whatever that starts is too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On busy shared cores time says nothing about the code.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

FIGURE = "figure"
"""The name of what a test measured among the properties of its report."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --soak, for `make soak`."""
    parser.addoption("--soak", action="store_true", help="run the long forms of the tests that have one")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests measured, in whichever process they ran."""
    reports = chain(*(terminalreporter.getreports(outcome) for outcome in ("passed", "failed")))
    lines = [value for each in reports if each.when == "call" for name, value in each.user_properties if name == FIGURE]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="module", autouse=True)
def no_process_left() -> Iterator[None]:
    """A test file ends what it has started: what it left would meet the tests after it."""
    from accelerators import children

    before = children()
    yield
    gc.collect()  # A Popen nobody holds is waited for by the next one to be made, which may be far away.
    left = children().keys() - before.keys()
    assert not left, [Path(f"/proc/{each}/cmdline").read_text().split("\0") or "a zombie" for each in left]


@pytest.fixture(scope="session")
def soak(pytestconfig: pytest.Config) -> bool:
    """Whether the long forms are asked for."""
    return bool(pytestconfig.getoption("--soak"))


@pytest.fixture(scope="session")
def long_rig(pytestconfig: pytest.Config) -> None:
    """For rigs that take minutes: skips unless rigs alone were asked for."""
    if pytestconfig.getoption("markexpr") != "rig":
        pytest.skip("takes minutes: make rig")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Note a figure that is printed at the end, with the test's name."""
    properties = request.node.user_properties
    return lambda text: properties.append((FIGURE, f"{request.node.name}: {text}"))


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_RUN = os.getppid() if _WORKERS > 1 else os.getpid()
_PORTS = islice(cycle(range(10_000 + _WORKER, 32_000, _WORKERS)), _RUN * 61 % 22_000, None)
"""Below those that Linux gives to clients: one of theirs may be taken again before a broker has it. No worker has
another's: a daemon of one, whose broker is away just now, would meet the other's broker under its own name."""


def free_port() -> int:
    """Return a TCP port that was free a moment ago, and that no other test run is likely to ask for now."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 10) -> None:
    """Return once something accepts on the port; fail if the process ends or time runs out."""
    import time

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"nothing listens on port {port} after {seconds} s")


@dataclass
class Broker:
    """A real mosquitto on a free port, started and stopped at will."""

    port: int
    settings: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(["mosquitto", "-c", str(self.settings)], stdout=log, stderr=log)
        wait_for_port(self.port, self.process)

    def log(self) -> str:
        """Return what it has written so far."""
        return self._log.read_text("utf-8", "replace")

    @property
    def _log(self) -> Path:
        return self.settings.with_suffix(".log")

    def reload(self) -> None:
        """Have it read its access rules anew."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it without a chance to write anything."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """Stop it; a second call does nothing."""
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            self.process.terminate()  # Again: mosquitto forgets a signal that comes right before its main loop.
            self.process.wait(10)
            self.process = None


def need_mosquitto() -> None:
    """Skip where there is no broker."""
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")


def make_broker(folder: Path, *lines: str) -> Broker:
    """Write a mosquitto configuration (anonymous unless `lines` say otherwise) for a free port.

    By default mosquitto drops what a slow subscriber has not fetched beyond 1,000 messages, as if we had lost them.
    """
    need_mosquitto()
    port = free_port()
    access = lines or ("allow_anonymous true",)
    settings = folder / "mosquitto.conf"
    settings.write_text("\n".join([f"listener {port} 127.0.0.1", "user root", "max_queued_messages 0", *access, ""]))
    return Broker(port, settings)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running mosquitto that lets anybody in."""
    running = make_broker(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let go of ledgers that a test leaves open: each stands for that of a process that was killed."""
    connect, opened = sqlite3.connect, []

    def note(*arguments: Any, **more: Any) -> sqlite3.Connection:
        opened.append(connection := connect(*arguments, **more | {"check_same_thread": False}))
        return connection

    monkeypatch.setattr(sqlite3, "connect", note)
    yield
    for each in opened:
        each.close()


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """Become an ordinary user for a while and return a folder of his: root may read everything."""
    before = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        if before == 0:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(before)


@pytest.fixture(scope="session")
def demo_bundle() -> Path:
    """The bundle that the project ships."""
    return DEMO_BUNDLE


@pytest.fixture(scope="session")
def outside_data() -> Path:
    """Real photographs and weights that are not part of the project; skips where they are missing."""
    folder = Path(os.environ.get("INSPECT_TEST_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no outside test data at {folder}: set INSPECT_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights for the recipe of tiny_parts."""
    from tiny_parts import save_weights

    return save_weights(tmp_path_factory.mktemp("weights") / "tiny.weights.h5")


@pytest.fixture(scope="session")
def standin_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in for an Edge TPU's library."""
    from accelerators import compile_standin

    return compile_standin(tmp_path_factory.mktemp("standin"))


@pytest.fixture
def standin(standin_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standin:
    """The same, behaving well."""
    from accelerators import Standin

    monkeypatch.setenv("STANDIN_EDGETPU", str(tmp_path / "behaves"))
    return Standin(standin_library, tmp_path / "behaves")


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a watched folder be looked at again at once."""
    for name in ("LOOK_SECONDS", "LOOK_SHARE", "RETRY_SECONDS"):
        monkeypatch.setattr(f"edge.camera.watched.{name}", 0)


@pytest.fixture
def webcam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webcam]:
    """A USB camera, plugged in."""
    from fake_v4l2 import Webcam

    webcam = Webcam(tmp_path / "video0")
    webcam.install(monkeypatch)
    yield webcam
    webcam.put_away()


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    place = tmp_path / "little"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=16m", "little", place], check=False).returncode
    ):
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)
