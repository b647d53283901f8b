"""The log: in the journal with priorities and fields, never many times the same, never a reason to wait."""

from __future__ import annotations

import io
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from conftest import free_port
from device import inspect_command, write_config
from hypothesis import given
from hypothesis import strategies as st
from spark_host import until

from edge import journal, logs
from edge.journal import JournalHandler, datagram, priority_of
from edge.logs import BURST, WINDOW_SECONDS, Calm, OneLine, Repeats

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def record(text: str, level: int = logging.WARNING, name: str = "edge.capture") -> logging.LogRecord:
    return logging.LogRecord(name, level, "capture.py", 17, text, (), None)


def texts(records: list[logging.LogRecord]) -> list[str]:
    return [each.getMessage() for each in records]


def entry(data: bytes) -> dict[str, str]:
    """Read a datagram as the journal does."""
    fields = {}
    while data:
        name, _, data = data.partition(b"\n")
        size = int.from_bytes(data[:8], "little")
        fields[name.decode()] = data[8 : 8 + size].decode()
        assert data[8 + size : 9 + size] == b"\n"
        data = data[9 + size :]
    return fields


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    """What stands in for the journal's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "journal"))
        server.settimeout(10)
        yield server


# --- the journal


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z_0-9]{0,20}", fullmatch=True), st.text(st.characters(codec="utf-8"))))
def test_the_journal_gets_each_value_as_it_is(fields: dict[str, str]) -> None:
    """Line breaks and equals signs in a value make no field of their own."""
    assert entry(datagram(fields)) == fields


def test_records_have_priority_and_fields(tmp_path: Path, listening: socket.socket) -> None:
    """`journalctl -p warning` and a filter by part find what they should."""
    handler = JournalHandler(tmp_path / "journal")
    handler.setFormatter(OneLine("%(message)s"))
    handler.handle(record("the camera\nis away"))
    found = entry(listening.recv(100_000))
    handler.close()
    assert found["MESSAGE"] == r"the camera\nis away"
    assert (found["PRIORITY"], found["EDGE_INSPECT_PART"], found["CODE_LINE"]) == ("4", "capture", "17")
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
    assert [priority_of(level) for level in levels] == [7, 6, 4, 3, 2]


@pytest.mark.parametrize(("named", "expected"), [("edge-inspect@left", "edge-inspect@left"), ("", "edge-inspect")])
def test_lines_have_the_name_of_their_unit(
    tmp_path: Path, listening: socket.socket, monkeypatch: pytest.MonkeyPatch, named: str, expected: str
) -> None:
    """`journalctl -t edge-inspect@left` finds one camera's lines, as the unit names them."""
    monkeypatch.setenv("SYSLOG_IDENTIFIER", named)
    handler = JournalHandler(tmp_path / "journal")
    handler.handle(record("the camera is away"))
    handler.close()
    assert entry(listening.recv(100_000))["SYSLOG_IDENTIFIER"] == expected


def test_a_journal_that_hangs_holds_nobody_up(tmp_path: Path, listening: socket.socket) -> None:
    """What does not fit is not waited for; the next line that does says how many were lost."""
    handler = JournalHandler(tmp_path / "journal")
    sent = 3_000
    for number in range(sent):
        handler.handle(record(f"{number} " + "x" * 1_000))
    listening.setblocking(False)
    kept = 0
    while True:
        try:
            listening.recv(100_000)
        except BlockingIOError:
            break
        kept += 1
    assert 0 < kept < sent
    handler.handle(record("again"))
    assert entry(listening.recv(100_000))["MESSAGE"].startswith(f"again ({sent - kept} lines before it were lost")
    handler.handle(record("and again"))
    assert entry(listening.recv(100_000))["MESSAGE"] == "and again"
    handler.close()


def test_without_its_socket_lines_have_their_priority(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A sandbox without the socket loses nothing: stderr is read too."""
    handler = JournalHandler(tmp_path / "none")
    handler.handle(record("the camera is away"))
    handler.close()
    assert capfd.readouterr().err == "<4>the camera is away\n"


def test_a_journal_that_is_gone_ends_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither its socket nor the other end of stderr is there, the next line that is taken says what was lost."""
    handler = JournalHandler(tmp_path / "journal")
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch, io.FileIO(writer, "w") as gone:
        patch.setattr("sys.stderr", io.TextIOWrapper(cast("Any", gone), write_through=True))
        handler.handle(record("the camera is away"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "journal"))
        server.settimeout(10)
        handler.handle(record("again"))
        assert entry(server.recv(100_000))["MESSAGE"].startswith("again (1 lines before it were lost")
    handler.close()


def test_a_library_that_cannot_spell_ends_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    """Words and values that do not fit together are one line of their own, not an exception in who said them."""
    calm = Calm(logging.StreamHandler())
    calm.handle(logging.LogRecord("picamera2", logging.INFO, "picamera2.py", 17, "frame %d", ("x",), None))
    calm.close()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("picamera2 said what cannot be logged (TypeError(")


def test_only_the_journals_own_stream_gets_prefixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that was redirected elsewhere is a file like any other, whatever the environment says."""
    with (tmp_path / "log").open("w") as stream:
        found = os.fstat(stream.fileno())
        for value, expected in ((f"{found.st_dev}:{found.st_ino}", True), ("1:2", False), ("", False), ("x", False)):
            monkeypatch.setenv("JOURNAL_STREAM", value)
            assert journal.reads(stream) is expected
    assert not journal.reads(stream)


def test_last_words_have_their_priority(tmp_path: Path) -> None:
    """A service that cannot start says why in one line, which the journal knows for an error; else it has no prefix."""
    for has_journal in (True, False):
        reader, writer = os.pipe()
        found = os.fstat(writer)
        stream = f"{found.st_dev}:{found.st_ino}" if has_journal else ""
        command = inspect_command("run", "--config", tmp_path / "none.toml")
        done = subprocess.run(command, stderr=writer, env={**os.environ, "JOURNAL_STREAM": stream}, check=False)
        os.close(writer)
        with os.fdopen(reader) as said:
            (line,) = said.read().splitlines()
        assert done.returncode == 3
        assert line.startswith("<3>edge-inspect: " if has_journal else "edge-inspect: ")


def test_the_daemons_lines_have_their_priorities(tmp_path: Path, demo_bundle: Path) -> None:
    """Each line of a service whose journal has no socket begins with its priority, the library's own words apart."""
    if journal.SOCKET.exists():
        pytest.skip(f"{journal.SOCKET} is there: the lines go to this machine's journal")
    mqtt = {"host": "127.0.0.1", "port": free_port()}
    camera = {"kind": "synthetic", "width": 64, "height": 64}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt=mqtt)
    reader, writer = os.pipe()
    found = os.fstat(writer)
    environment = {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    daemon = subprocess.Popen(inspect_command("run", "--config", config), stderr=writer, env=environment)
    os.close(writer)
    with os.fdopen(reader) as said:
        line = next(line for line in said if "cannot be reached" in line)
        daemon.kill()
        daemon.wait()
    assert line.startswith("<4>broker 127.0.0.1:")


# --- what repeats itself


def test_a_fault_at_ten_frames_a_second_is_a_few_lines() -> None:
    """Of twenty minutes of the same line, but for its numbers, a handful a minute is said, and the numbers add up."""
    repeats, said = Repeats(), []
    for number in range(12_000):
        said += repeats.look(record(f"frame {number} was late by {number * 7} ms"), number / 10)
    said += repeats.over(float("inf"))
    lines = texts(said)
    assert len(lines) == 20 * (BURST + 1)
    more = [int(found[1]) for line in lines if (found := re.search(r"last of (\d+) more", line))]
    assert sum(more) + 20 * BURST == 12_000


@given(st.lists(st.tuples(st.sampled_from(["a 1", "a 2", "b", "c"]), st.floats(0, 100)), max_size=50))
def test_no_line_is_lost(events: list[tuple[str, float]]) -> None:
    """Whatever comes whenever, each line is said or counted in one that is."""
    repeats, said, now = Repeats(), [], 0.0
    for text, pause in events:
        now += pause
        said += repeats.look(record(text), now)
    said += repeats.over(float("inf"))
    counted = [int(found[1]) if (found := re.search(r"last of (\d+) more", line)) else 1 for line in texts(said)]
    assert sum(counted) == len(events)


def test_what_differs_is_said() -> None:
    """Other words, and another level, are another line; memory is bounded whatever strangers make us say."""
    repeats = Repeats()
    words = [f"{'x' * number} is away" for number in range(150)]
    assert texts([each for word in words for each in repeats.look(record(word), 1.0)]) == words
    assert repeats.look(record(words[-1], logging.ERROR), 1.0)
    for number in range(5_000):
        repeats.look(record("y" * number), 1.0)
    assert len(repeats._kinds) <= 256


def test_the_last_word_is_last() -> None:
    """What was held back is told before the line that says why a command ended, not behind it."""
    code = (
        "import logging, sys\n"
        "from edge import __main__, run\n"
        "from edge.errors import ConfigError\n"
        "def fail(_):\n"
        "    for number in range(9):\n"
        "        logging.warning('once more: %d', number)\n"
        "    raise ConfigError('the last word')\n"
        "run.run = fail\n"
        "sys.argv[1:] = ['run', '--config', 'device.toml']\n"
        "sys.exit(__main__.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    lines = done.stderr.splitlines()
    assert lines[-1] == "edge-inspect: the last word"
    assert lines[-2].endswith("(the last of 4 more like it)")


def test_the_count_is_told_though_nothing_else_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the fault has ended, so has the silence: the number comes at the window's end, or at the program's."""
    said: list[str] = []
    told = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            if "more" in said[-1]:
                told.set()

    monkeypatch.setattr(logs, "WINDOW_SECONDS", 1.5)
    calm = Calm(Listener())
    for _ in range(BURST + 3):
        calm.handle(record("away"))
    assert told.wait(20)
    assert said == ["away"] * BURST + ["away (the last of 3 more like it)"]
    monkeypatch.setattr(logs, "WINDOW_SECONDS", WINDOW_SECONDS)
    for _ in range(BURST + 2):
        calm.handle(record("again"))
    calm.close()
    assert said[-1] == "again (the last of 2 more like it)"
    until(lambda: not any(isinstance(thread, threading.Timer) for thread in threading.enumerate()))
