"""`edge-inspect doctor` as a whole: every finding with its remedy, whatever crashes or hangs in a check."""

from __future__ import annotations

import ctypes
import faulthandler
import itertools
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from accelerators import children, descriptors
from device import inspect_command, run_inspect, write_config

from edge.doctor.checks import CHECKS
from edge.doctor.finding import Finding, Patient, blame, ok, shorten
from edge.doctor.ward import Check, examine
from edge.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Broker

# Forked from a process with a few idle threads, as xdist's: the children only run what stands here.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


class Planted(Check):
    """A check whose examination stands in this file."""

    __slots__ = ()

    def load(self) -> Callable[[Patient], Iterator[Finding]]:
        """Take it from here."""
        found: Callable[[Patient], Iterator[Finding]] = globals()[self.function]
        return found


def planted(name: str, seconds: float = 20.0) -> list[Finding]:
    return examine(Planted("it", name, seconds=seconds), Patient())


def quick(_: Patient) -> Iterator[Finding]:
    yield ok("first", "fine")
    yield ok("second", "fine too")


def silent(_: Patient) -> Iterator[Finding]:
    yield from ()


def crashing(_: Patient) -> Iterator[Finding]:
    yield ok("first", "fine")
    faulthandler.disable()  # pytest's.
    os.write(1, b"about to read nothing\n")
    ctypes.string_at(0)


def hanging(_: Patient) -> Iterator[Finding]:
    yield ok("first", "fine")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.run([sys.executable, "-c", "import signal; signal.pause()"], check=True)


def failing(_: Patient) -> Iterator[Finding]:
    yield ok("first", "fine")
    raise ZeroDivisionError("no\nway")


def refusing(_: Patient) -> Iterator[Finding]:
    yield ok("first", "fine")
    raise BrokerError("the broker is away (so it is); look for it")


def forbidden(_: Patient) -> Iterator[Finding]:
    yield ok("first", "fine")
    raise PermissionError(13, "no", "/secret")


def strange(_: Patient) -> Iterator[Finding]:
    yield ok("first", "a path \udcff, \x1b and\na line")


def greedy(_: Patient) -> Iterator[Finding]:
    yield ok("first", "fine")
    raise MemoryError


def leaving(_: Patient) -> Iterator[Finding]:
    yield ok("first", "fine")
    os._exit(0)


def killed(_: Patient) -> Iterator[Finding]:
    yield ok("first", "fine")
    os.kill(os.getpid(), signal.SIGKILL)


def chatty(_: Patient) -> Iterator[Finding]:
    os.write(2, b"x" * 1_000_000)
    for number in range(3000):
        yield ok(f"{number}", "y" * 100)


def test_findings_come_through() -> None:
    """What a check yields in its child is what the parent gets, of three thousand findings too, and of none."""
    assert planted("quick") == [ok("first", "fine"), ok("second", "fine too")]
    assert planted("silent") == []
    assert [finding.check for finding in planted("chatty")] == [str(number) for number in range(3000)]


def test_whatever_a_finding_says_it_is_told() -> None:
    """A file's name that is no UTF-8, a control character and a line break come through as a terminal survives them."""
    assert planted("strange") == [Finding("first", "ok", r"a path \udcff, \x1b and\na line")]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("crashing", ["signal 11", '"about to read nothing"']),
        ("failing", ["ZeroDivisionError: no way"]),
        ("refusing", ["the broker is away"]),
        ("killed", ["was killed"]),
        ("greedy", ["not enough memory"]),
        ("leaving", ["ended before it was done"]),
    ],
)
def test_what_goes_wrong_in_a_check_is_a_finding(function: str, words: list[str]) -> None:
    """A crash and an error are problems with a remedy, and what was found before them stays."""
    first, last = planted(function)
    assert first == ok("first", "fine")
    assert last.state == "problem"
    assert last.remedy
    assert all(word in last.says for word in words)


def test_what_a_user_may_not_see_is_skipped() -> None:
    """A folder that is closed to who asks is no problem of the device."""
    assert planted("forbidden")[1] == Finding("it", "skipped", "/secret: this user may not look there; use sudo")


def test_a_check_that_hangs_ends_in_time() -> None:
    """One that hangs, and has started what hangs, is ended with it; nothing of them is left."""
    before, files = children(), descriptors()
    found = planted("hanging", seconds=3.0)
    assert found[0] == ok("first", "fine")
    assert (found[1].state, found[1].says) == ("problem", "no answer within 3 s")
    assert children().keys() == before.keys()
    assert descriptors() == files


def test_every_check_can_be_loaded() -> None:
    """Each entry of the list names a function that is there, once, and has time."""
    assert all(callable(check.load()) for check in CHECKS)
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.seconds > 0 for check in CHECKS)


def test_an_error_is_divided_into_finding_and_remedy() -> None:
    """What stands behind the last semicolon is the remedy; an error without one gets another."""
    assert blame("it", ConfigError("a; b; do this"), "-") == Finding("it", "problem", "a; b", "do this")
    assert blame("it", ValueError("a"), "do that") == Finding("it", "problem", "a", "do that")
    assert blame("it", ValueError(), "do that").says == "ValueError()"
    assert shorten("a\nb\x1b" + "c" * 1000).startswith("a b\\x1bccc")
    assert len(shorten("c" * 1000)) == 400


def test_without_a_configuration(tmp_path: Path) -> None:
    """It says what it can of the machine, needs no configuration for it, and ends well."""
    result = subprocess.run(
        inspect_command("doctor"), cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    lines = result.stdout.splitlines()
    assert result.returncode == 0, result.stdout
    assert result.stderr == ""
    assert lines[1].startswith("ok      python          Python 3.")
    assert any(line.startswith("ok      model           litert") for line in lines)
    assert not any("broker" in line and "ok " in line for line in lines)
    assert lines[-1].endswith(" skipped")
    for line, after in itertools.pairwise(lines):
        if line.startswith(("warning", "PROBLEM")):
            assert after.strip().startswith("-> ")


def test_a_device_that_is_well(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """With a broker, a camera and a bundle there is no problem, and the JSON has every finding."""
    camera = {"kind": "synthetic"}
    config = write_config(
        tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt={"host": "127.0.0.1", "port": broker.port}
    )
    result = run_inspect("doctor", "--config", config, "--json")
    said = json.loads(result.stdout)
    assert {"findings", "version", "time"} == said.keys()
    assert [each for each in said["findings"] if each["state"] == "problem"] == []
    assert result.returncode == 0, result.stdout
    states = {each["check"]: each["state"] for each in said["findings"]}
    for check in ("configuration", "bundle", "model", "camera", "broker name", "broker port", "broker", "ledger"):
        assert states[check] == "ok", check
    for each in said["findings"]:
        assert each.keys() == {"check", "state", "says", "remedy"}
        assert bool(each["remedy"]) == (each["state"] in {"warning", "problem"})
    assert not (tmp_path / "state").exists()


def test_a_numpy_that_crashes_does_not_take_doctor_with_it(tmp_path: Path) -> None:
    """One that is made for another processor is the one problem; what stands on it waits, the machine is examined."""
    (tmp_path / "numpy.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    config = tmp_path / "device.toml"
    config.write_text('bundle = "x"\n[camera]\nkind = "synthetic"\n')
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        inspect_command("doctor", "--config", config, "--json"),
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    findings = json.loads(result.stdout)["findings"]
    assert [each["check"] for each in findings if each["state"] == "problem"] == ["numpy"]
    assert "signal 4" in next(each["says"] for each in findings if each["check"] == "numpy")
    assert result.returncode == 6
    assert {"python", "memory", "journal"} <= {each["check"] for each in findings}


@pytest.mark.parametrize(
    ("broken", "code", "check"),
    [
        ({"bundle": "none.bundle"}, 4, "bundle"),
        ({"camera": {"kind": "folder", "path": "none"}}, 5, "camera"),
        ({}, 7, "broker port"),
    ],
)
def test_the_first_problem_is_the_exit_code(
    tmp_path: Path, demo_bundle: Path, broken: dict[str, object], code: int, check: str
) -> None:
    """A problem does not end the examination; its kind's exit code does in the end, the first one's of several."""
    values = {"bundle": demo_bundle, "camera": {"kind": "synthetic"}, **broken}
    config = write_config(tmp_path / "device.toml", mqtt={"host": "127.0.0.1", "port": 1}, **values)  # type: ignore[arg-type]
    result = run_inspect("doctor", "--config", config, "--json")
    assert result.returncode == code, result.stdout
    findings = json.loads(result.stdout)["findings"]
    problems = [each["check"] for each in findings if each["state"] == "problem"]
    assert problems[0] == check
    assert problems[-1] == "broker port"
    assert "first mend: broker port" in [each["says"] for each in findings if each["check"] == "broker"]
    assert all(each["remedy"] for each in findings if each["state"] == "problem")


def test_a_broken_configuration_leaves_the_machine(tmp_path: Path) -> None:
    """A misspelt key is one problem with exit code 3; what needs no configuration is examined all the same."""
    config = tmp_path / "device.toml"
    config.write_text('bundle = "x"\ncolour = 1\n[camera]\nkind = "synthetic"\n')
    result = run_inspect("doctor", "--config", config)
    assert result.returncode == 3
    assert "PROBLEM configuration   " in result.stdout
    assert "colour" in result.stdout
    assert "skipped broker          it needs the configuration, which cannot be read" in result.stdout
    assert "ok      model" in result.stdout
