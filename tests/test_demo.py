"""The demo: real broker, real daemon, verdicts in the terminal, nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from device import assert_one_clear_line, inspect_command, run_inspect

pytest.importorskip("rich", reason="the demo extra is not installed: pip install 'edge-inspect[demo]'")


def children_of(pid: int) -> list[int]:
    """Return the direct child processes (proc(5))."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until_gone(pids: list[int], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still running: {[pid for pid in pids if is_alive(pid)]}"
        time.sleep(0.02)


def test_demo_shows_verdicts_and_truth(tmp_path: Path) -> None:
    """Ten rendered parts are judged; the final table counts them, and the picture is saved as SVG."""
    picture = tmp_path / "demo.svg"
    done = run_inspect("demo", "--count", 10, "--picture", picture)
    assert done.returncode == 0, done.stderr
    assert "label right" in done.stdout
    assert "of 10" in done.stdout
    assert picture.read_text().startswith("<svg")


def test_a_narrow_terminal_still_shows_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a window of 48 characters the last verdicts keep their labels."""
    monkeypatch.setenv("COLUMNS", "48")
    done = run_inspect("demo", "--count", 10)
    assert done.stderr == "", "a person is watching: nothing but the table"
    assert done.returncode == 0, done.stderr
    cells = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│ │")]
    labels = [row[5].strip() for row in cells if row[4].strip() in ("PASS", "DEFECT")]
    assert len(labels) == 10
    assert all(labels)


def test_a_terminal_without_utf8_shows_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the output cannot carry lines and bars, they are written otherwise and the verdicts stay."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run_inspect("demo", "--count", 2)
    assert done.returncode == 0, done.stderr
    assert "of 2" in done.stdout


def test_a_reader_that_goes_away_ends_the_demo() -> None:
    """Output into a pipe that nobody reads any more ends with the shells' code for it, like every command."""
    demo = subprocess.Popen(inspect_command("demo"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    demo.stdout.readline()
    demo.stdout.close()
    assert demo.stderr is not None
    said = demo.stderr.read()
    demo.stderr.close()
    assert demo.wait(30) == 141
    assert "Traceback" not in said


def test_a_picture_goes_into_a_file(tmp_path: Path) -> None:
    """A folder in place of the picture's file is refused before the demo begins."""
    done = run_inspect("demo", "--picture", tmp_path)
    assert_one_clear_line(done, 8, str(tmp_path), "not a file")


def test_demo_without_mosquitto(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where mosquitto is not installed the pure-Python broker serves, over MQTT 3.1.1."""
    pytest.importorskip("amqtt", reason="the demo extra is not installed: pip install 'edge-inspect[demo]'")
    if shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin"):
        code = "import sys, edge.demo; edge.demo._SBIN = ''; from edge.__main__ import main; sys.exit(main())"
    else:
        code = "import sys; from edge.__main__ import main; sys.exit(main())"
    monkeypatch.setenv("PATH", "/nowhere")
    command = [inspect_command()[0], "-c", code, "demo", "--count", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "amqtt" in done.stdout


def test_demo_judges_ones_own_pictures(tmp_path: Path, demo_bundle: Path) -> None:
    """With --frames the demo judges the pictures of a folder and ends after the last."""
    shutil.copytree(demo_bundle / "golden", tmp_path / "crack")
    done = run_inspect("demo", "--frames", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("crack/") >= len(list((tmp_path / "crack").glob("*.png")))


def test_demo_on_a_missing_folder(tmp_path: Path) -> None:
    """A folder that is not there is one line, exit code 8."""
    done = run_inspect("demo", "--frames", tmp_path / "none")
    assert done.returncode == 8
    assert "none: no such folder" in done.stderr


def test_the_daemons_failure_is_the_demos(tmp_path: Path) -> None:
    """A bundle that the daemon refuses ends the demo with the daemon's own words and exit code."""
    done = run_inspect("demo", "--bundle", tmp_path / "none")
    assert_one_clear_line(done, 4, "no such bundle", str(tmp_path / "none"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_running(how: signal.Signals) -> None:
    """However the demo ends, Ctrl-C or kill -9, its broker and daemon end too."""
    demo = subprocess.Popen(
        inspect_command("demo"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert demo.stdout is not None
    try:
        assert demo.stdout.readline().split()[0] == "1"
        children = children_of(demo.pid)
        assert len(children) == 2
        demo.send_signal(how)
        _, errors = demo.communicate(timeout=15)
    finally:
        demo.kill()
        demo.communicate()
    wait_until_gone(children)
    assert "Traceback" not in errors
    assert demo.returncode == (-how if how == signal.SIGKILL else 130)
