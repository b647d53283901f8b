"""The command edge-inspect as a newcomer and a script meet it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import free_port
from device import assert_one_clear_line, inspect_command, run_inspect, write_config
from ledger_samples import make_ledger
from PIL import Image

from edge.command import EXIT_CODES
from edge.contract import bundle as bundles
from edge.ledger.ledger import FILE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of two good pictures and a bad one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        Image.fromarray(np.full((50, 80, 3), 90, np.uint8)).save(folder / name)
    (folder / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n garbage")
    return folder


def test_once_prints_one_object_a_picture(demo_bundle: Path, pictures: Path) -> None:
    """Each picture of a folder is a JSON line; a bad one is a line with `error` and exit code 8."""
    done = run_inspect("once", "--bundle", demo_bundle, pictures)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in lines] == [str(pictures / name) for name in ("a.png", "b.jpg", "c.png")]
    for line in lines[:2]:
        assert set(line) == {"image", "verdict", "label", "score", "scores", "latency_ms"}
        assert line["score"] == line["scores"][line["label"]]
    assert set(lines[2]) == {"image", "error"}
    assert done.returncode == 8
    assert "Traceback" not in done.stderr


def test_once_succeeds_on_good_pictures(demo_bundle: Path, pictures: Path) -> None:
    """Pictures named one by one and all readable end with exit code 0."""
    done = run_inspect("once", "--bundle", demo_bundle, pictures / "b.jpg", pictures / "a.png")
    assert done.returncode == 0
    assert [json.loads(line)["image"] for line in done.stdout.splitlines()] == [
        str(pictures / "b.jpg"),
        str(pictures / "a.png"),
    ]


def test_once_on_missing_and_empty_places(demo_bundle: Path, tmp_path: Path) -> None:
    """A picture that is not there and a folder without pictures are lines with `error`, not silence."""
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run_inspect("once", "--bundle", demo_bundle, tmp_path / "none.png", empty)
    assert [set(json.loads(line)) for line in done.stdout.splitlines()] == [{"image", "error"}] * 2
    assert done.returncode == 8


def test_check_validates_without_starting(demo_bundle: Path, tmp_path: Path, pictures: Path) -> None:
    """A sound configuration and bundle pass though no broker runs; --live says that the broker is away."""
    mqtt = {"host": "127.0.0.1", "port": free_port()}
    camera = {"kind": "folder", "path": str(pictures)}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt=mqtt)
    done = run_inspect("check", "--config", config)
    assert done.returncode == 0, done.stderr
    live = run_inspect("check", "--config", config, "--live")
    assert_one_clear_line(live, 7, str(mqtt["port"]), "cannot be reached", "check mqtt.host")


def test_check_says_what_waits_in_the_ledger(tmp_path: Path, demo_bundle: Path) -> None:
    """Before the first start there is none; afterwards the verdicts that the broker does not have are counted."""
    config = write_config(tmp_path / "d.toml", bundle=demo_bundle, camera={"kind": "synthetic"}, mqtt={})
    assert "none yet" in run_inspect("check", "--config", config).stdout
    make_ledger(tmp_path / "state" / FILE, 7)
    assert "verdicts up to 7, 7 wait for the broker" in run_inspect("check", "--config", config).stdout
    (tmp_path / "state" / FILE).write_bytes(b"nothing that SQLite knows")
    assert_one_clear_line(run_inspect("check", "--config", config), 10, FILE, "next start repairs it")


def test_check_names_the_nearest_key(demo_bundle: Path, tmp_path: Path) -> None:
    """A misspelt key is one line that names the nearest known one, exit code 3."""
    camera = {"kind": "synthetic", "seeed": 3}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt={})
    assert_one_clear_line(run_inspect("check", "--config", config), 3, "camera.seeed", "did you mean seed")


def test_check_finds_a_flipped_bit(demo_bundle: Path, tmp_path: Path) -> None:
    """One flipped bit in the model is one line that names the file, exit code 4."""
    copy = tmp_path / "bundle"
    shutil.copytree(demo_bundle, copy)
    model = bytearray((copy / "model.tflite").read_bytes())
    model[len(model) // 2] ^= 1
    (copy / "model.tflite").write_bytes(model)
    config = write_config(tmp_path / "device.toml", bundle=copy, camera={"kind": "synthetic"}, mqtt={})
    assert_one_clear_line(run_inspect("check", "--config", config), 4, "model.tflite", "damaged")


@pytest.mark.parametrize("command", [[], ["run"], ["once"], ["check"], ["baseline"], ["demo"]])
def test_help_lists_the_exit_codes(command: list[str]) -> None:
    """Every command explains itself and its exit codes, without loading a model."""
    done = run_inspect(*command, "--help")
    assert done.returncode == 0
    assert EXIT_CODES.strip() in done.stdout


def test_a_wrong_command_line_ends_with_2() -> None:
    """A missing argument is argparse's usage line and exit code 2."""
    done = run_inspect("run")
    assert done.returncode == 2
    assert "--config" in done.stderr


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (b"not json", "cannot be used"),
        (b'{"9.png": {}}', "cannot be used"),
        (b'{"0.png": {"intact": 1.0}}', "a score for each label"),
        (None, " off, more than"),
    ],
)
def test_check_refuses_golden_frames_that_do_not_hold(
    demo_bundle: Path, tmp_path: Path, expected: bytes | None, words: str
) -> None:
    """Golden frames that are damaged, or whose scores this runtime does not give, are one line, exit code 4."""
    sound = bundles.read(demo_bundle)
    if expected is None:
        right = json.loads(sound.files["golden/expected.json"])
        inverted = {
            name: {label: 1 - round(score) for label, score in scores.items()} for name, scores in right.items()
        }
        expected = json.dumps(inverted).encode()
    files = {**sound.files, "golden/expected.json": expected}
    bundles.write(tmp_path / "bundle", sound.manifest, files)
    config = write_config(tmp_path / "device.toml", bundle=tmp_path / "bundle", camera={"kind": "synthetic"}, mqtt={})
    assert_one_clear_line(run_inspect("check", "--config", config), 4, words)


def test_a_reader_that_goes_away_is_no_traceback(demo_bundle: Path) -> None:
    """Output into a pipe that nobody reads any more ends quietly, with the shells' code for it."""
    once = subprocess.Popen(
        inspect_command("once", "--bundle", demo_bundle, demo_bundle / "golden"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert once.stdout is not None
    once.stdout.close()
    assert once.stderr is not None
    said = once.stderr.read()
    once.stderr.close()
    assert once.wait(60) == 141
    assert "Traceback" not in said


_OPENS_A_FILE = """
import os, sys
from edge.command import run_command
def work():
    with open(os.devnull) as file:
        sys.stdin.read(), sys.stdout.write("said"), sys.stderr.isatty()
        return 0 if file.fileno() > 2 else 9
sys.exit(run_command("edge-test", work))
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_as_if_nobody_read_them(closed: str) -> None:
    """The work is done, and no file gets a closed stream's number, which libraries of C print to."""
    command = f"exec {shlex.join([sys.executable, '-c', _OPENS_A_FILE])} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


_WAITS = """
import signal, sys
from edge.command import ended_as_interrupted, run_command
stops = {signal.SIGTERM, signal.SIGHUP}
def work():
    with ended_as_interrupted():
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, stops)
            for each in sys.argv[1:]:
                signal.raise_signal(int(each))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
        finally:
            for each in sys.argv[1:]:
                signal.raise_signal(int(each))
            print("tidied up")
    return 0
sys.exit(run_command("edge-test", work))
"""


@pytest.mark.parametrize("how", [[signal.SIGTERM], [signal.SIGHUP], [signal.SIGTERM, signal.SIGHUP]])
def test_what_ends_a_command_lets_it_tidy_up(how: list[signal.Signals]) -> None:
    """A plain kill and a closed terminal are as Ctrl-C, once; under nohup a closed terminal is nothing."""
    command = [sys.executable, "-c", _WAITS, *(str(int(each)) for each in how)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "tidied up\n", "edge-test: interrupted\n")
    done = subprocess.run(["nohup", *command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (0 if how == [signal.SIGHUP] else 130)


def test_pipes_are_not_waited_for(demo_bundle: Path, tmp_path: Path) -> None:
    """A named pipe in place of a picture, a bundle or a configuration is refused at once."""
    for name in ("x.png", "b.zip", "d.toml"):
        os.mkfifo(tmp_path / name)
    done = run_inspect("once", "--bundle", demo_bundle, tmp_path / "x.png", "a" * 5000)
    assert done.returncode == 8
    assert ["error" in json.loads(line) for line in done.stdout.splitlines()] == [True, True]
    assert_one_clear_line(run_inspect("once", "--bundle", tmp_path / "b.zip", "x.png"), 4, "not a regular file")
    assert_one_clear_line(run_inspect("check", "--config", tmp_path / "d.toml"), 3, "not a file; name the device's")
    assert_one_clear_line(
        run_inspect("check", "--config", "/proc/self/mem"), 3, "Input/output error; may this user read it"
    )


def test_check_wants_a_frame_that_can_be_judged(demo_bundle: Path, tmp_path: Path) -> None:
    """A camera whose first picture is damaged does not count as working: one line, exit code 5."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"no picture")
    camera = {"kind": "folder", "path": str(tmp_path / "pictures")}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt={})
    assert_one_clear_line(run_inspect("check", "--config", config, "--live"), 5, "a.png: not a readable picture")


def test_a_full_disk_is_one_line(demo_bundle: Path) -> None:
    """Output that no disk takes ends with one line and a code, not with a traceback."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, not a path of the project
        done = subprocess.run(
            inspect_command("once", "--bundle", demo_bundle, demo_bundle / "golden"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert_one_clear_line(done, 1, "No space left", "make room")


def test_an_empty_path_is_refused(demo_bundle: Path) -> None:
    """An unset shell variable does not mean the working folder."""
    done = run_inspect("once", "--bundle", demo_bundle, "")
    assert done.returncode == 2
    assert "an empty path" in done.stderr


def test_a_name_with_control_characters_stays_one_line(tmp_path: Path) -> None:
    """Whatever a file is called, its error is one line that a terminal survives."""
    done = run_inspect("check", "--config", tmp_path / "a\nb\x1b[31m.toml")
    assert_one_clear_line(done, 3, r"a\nb\x1b[31m.toml")
    assert len(done.stderr.splitlines()) == 1
