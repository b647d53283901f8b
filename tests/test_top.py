"""`edge-inspect top`: what it shows fits any terminal, and it takes the daemon's coming and going as it is."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unicodedata
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest
from conftest import free_port
from device import assert_one_clear_line, inspect_command, run_inspect, running_daemon, stop, write_config
from hypothesis import given
from hypothesis import strategies as st
from live_samples import HEALTH, SEEN
from spark_host import until
from test_live import SYNTHETIC

from edge import state
from edge.config import Config
from edge.contract.messages import Accelerator, encode
from edge.errors import InspectError
from edge.live import top
from edge.live.door import Door, at_file, tell
from edge.live.screen import clip, lines
from edge.live.snapshot import FILE
from edge.sections.cameras import SyntheticConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.live.snapshot import Snapshot

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SIZES = st.tuples(st.integers(20, 200), st.integers(1, 60))


def columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def degraded(reason: str) -> Snapshot:
    return msgspec.structs.replace(SEEN, status=msgspec.structs.replace(SEEN.status, state="degraded", reason=reason))


@given(st.text(), st.text(), SIZES, st.booleans())
def test_it_fits_any_terminal(reason: str, label: str, size: tuple[int, int], colour: bool) -> None:  # noqa: FBT001
    """No line is wider, and no more of them come, than there is room for, whatever a reason or a label says."""
    last = [msgspec.structs.replace(SEEN.last[0], label=label, reason=reason)] * 50
    shown = lines(msgspec.structs.replace(degraded(reason), last=last), *size, colour=colour)
    plain = [ESCAPES.sub("", line) for line in shown]
    assert len(plain) <= size[1]
    assert all(columns(line) <= size[0] for line in plain)
    assert all(character.isprintable() for line in plain for character in line)
    if not colour:
        assert plain == shown


def test_eighty_by_twenty_four_shows_everything() -> None:
    """State with its reason, rate, stages, queues, heat, memory, disk, accelerator and verdicts are all in view."""
    chip = Accelerator(kind="edgetpu", state="cpu", failures=1, invokes=2, temperature_c=55.0)
    seen = msgspec.structs.replace(
        degraded("no frame for 3 s; the broker refuses inspect/v1/hall/lathe-7/event " + "x" * 200),
        health=msgspec.structs.replace(HEALTH, accelerator=chip),
        connected=False,
    )
    shown = "\n".join(lines(seen, 80, 24, colour=False))
    for words in (
        *(
            "hall/lathe-7 degraded",
            "no frame for 3 s",
            "localhost:1883 away",
            "4.5 a second",
            "PASS 2",
            "dropped 1 of 3",
        ),
        *("prepare", "p99", "62 °C", "SLOWED", "judges 50% of the time", "daemon 50.5", "disk free 1024"),
        *("edgetpu  cpu", "55 °C", "DEFECT", "crack"),
    ):
        assert words in shown


def test_a_device_without_a_look_says_so() -> None:
    """Where nothing is known of the computer no figure stands for it."""
    seen = msgspec.structs.replace(SEEN, health=msgspec.structs.replace(HEALTH, machine=None))
    assert "not looked at yet" in "\n".join(lines(seen, 200, 24, colour=False))


def test_a_line_that_hangs_is_not_shown_as_online_only() -> None:
    """Figures that stand still look like a quiet hour: that the line does not turn is said in so many words."""
    hangs = "\n".join(lines(msgspec.structs.replace(SEEN, silent_s=12.0), 80, 24, colour=False))
    assert "NOTHING IS JUDGED: the line hangs for 12 s" in hangs
    for silent in (0.9, None):
        shown = lines(msgspec.structs.replace(SEEN, silent_s=silent), 80, 24, colour=False)
        assert not any("hangs" in line for line in shown)


@given(st.text(), st.integers(0, 30))
def test_a_clipped_text_is_the_longest_that_fits(text: str, width: int) -> None:
    """It begins as the text does, within the columns."""
    clipped = clip(text, width)
    assert columns(clipped) <= width


# --- the command


@pytest.fixture
def config(tmp_path: Path, demo_bundle: Path) -> Path:
    """A device whose broker is away."""
    mqtt = {"host": "127.0.0.1", "port": free_port()}
    return write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=SYNTHETIC, mqtt=mqtt)


@pytest.fixture
def running(config: Path) -> Iterator[subprocess.Popen[str]]:
    """Its daemon, judging."""
    with running_daemon(config) as daemon:
        until((config.parent / "state" / FILE).exists)
        yield daemon


def test_once_is_plain_text_or_json(config: Path, running: subprocess.Popen[str]) -> None:
    """For a log a text without colours, for a program one line of JSON; the daemon goes on."""
    shown = run_inspect("top", "--config", config, "--once")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("test/dut online")
    assert "\x1b" not in shown.stdout
    (line,) = run_inspect("top", "--config", config, "--once", "--json").stdout.splitlines()
    assert json.loads(line)["health"]["frames_judged"] >= 0
    stop(running)
    assert_one_clear_line(
        run_inspect("top", "--config", config, "--once"), 1, "no daemon answers", "No such file", "systemctl"
    )


def test_it_asks_the_daemon_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the service or a start by hand has left behind keeps nobody from seeing the one that runs."""
    own, service = tmp_path / "edge-inspect", tmp_path / "service"
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(state, "OF_THE_SERVICE", service)
    folders = [service, own]
    for folder in folders:
        folder.mkdir()
        at_file(folder / FILE).close()  # As one that was killed leaves it.
    device = Config(bundle=tmp_path, camera=SyntheticConfig())
    with pytest.raises(InspectError, match=f"no daemon answers at {service}"):
        top._ask(device)
    for folder in folders:
        door = Door(partial(at_file, folder / FILE), tell(lambda: encode(SEEN)))
        assert top._ask(device) == SEEN
        door.close()


def test_where_no_daemon_ever_ran(config: Path) -> None:
    """The line says where it was looked for."""
    assert_one_clear_line(run_inspect("top", "--config", config, "--once"), 1, "live.sock", "is it running")


class Terminal:
    """A terminal with `top` in it."""

    def __init__(self, config: Path, rows: int, width: int, kind: str = "xterm") -> None:
        self._ours, theirs = pty.openpty()
        self.resize(rows, width)
        # The variables are what a shell may have exported of the size there was before.
        environment = {**os.environ, "TERM": kind, "COLUMNS": "80", "LINES": "24"}
        command = inspect_command("top", "--config", config)
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self.said = ""

    def resize(self, rows: int, width: int) -> None:
        """Give it another size; `top` is told as a terminal's owner is."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, width, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def wait_for(self, words: str, seconds: float = 30) -> str:
        """Read on until these words were said; returns all that was since the last time."""
        deadline = time.monotonic() + seconds
        while words not in self.said:
            assert time.monotonic() < deadline, self.said[-2000:]
            if select.select([self._ours], [], [], 0.2)[0]:
                self.said += os.read(self._ours, 1 << 16).decode(errors="replace")
        before, self.said = self.said, ""
        return before

    def drawn(self) -> list[str]:
        """Return the lines of the next look that is drawn to its end."""
        return ESCAPES.sub("", self.wait_for("\x1b[J")).strip().splitlines()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def test_a_terminal_sees_it_come_and_go(config: Path) -> None:
    """It waits for a daemon, shows it, fits a new size at once, and leaves the terminal as it was."""
    terminal = Terminal(config, 24, 80)
    try:
        terminal.wait_for("no daemon answers")
        with running_daemon(config) as daemon:
            terminal.wait_for("test/dut")
            terminal.wait_for("\x1b[J")
            terminal.resize(6, 40)
            drawn = terminal.drawn()
            while len(drawn) > 5:  # What was drawn before it heard of the new size.
                drawn = terminal.drawn()
            assert max(map(len, drawn)) <= 39
            daemon.kill()
            terminal.wait_for("no daemon answers")
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait_for("\x1b[?25h\x1b[?1049l")
        assert terminal.process.wait(10) == 0
    finally:
        terminal.close()


def test_a_terminal_that_cannot_be_drawn_on_gets_lines(config: Path) -> None:
    """Where TERM is dumb one look follows the other, as in a file: without a control sequence."""
    terminal = Terminal(config, 24, 80, "dumb")
    try:
        before = terminal.wait_for("no daemon answers")
        with running_daemon(config):
            before += terminal.wait_for("test/dut")
            before += terminal.wait_for("test/dut")
        assert "\x1b" not in before
    finally:
        terminal.close()
