"""`edge-deploy push` up to the point where a device changes: every mistake is one clear line and an exit code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from conftest import DEMO_BUNDLE, free_port
from device import write_config
from rigs import deploy, make_key, start_sshd

from edge.command import EXIT_CODES

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from rigs import Sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd on this machine."""
    server = start_sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.process.terminate()
    server.process.wait(10)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A device's configuration with a broker that is not there."""
    return write_config(
        tmp_path / "device.toml",
        bundle=DEMO_BUNDLE,
        camera={"kind": "synthetic"},
        mqtt={"host": "127.0.0.2", "port": free_port()},
    )


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Something that passes for a wheel as long as nothing installs it."""
    import zipfile

    path = tmp_path / "edge_inspect-0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("edge/__init__.py", "")
    return path


def assert_one_line(pushed: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    """Check the exit code and that stderr is one line with these words (a regular expression)."""
    assert pushed.returncode == code, pushed.stderr
    assert re.fullmatch(rf"edge-deploy: [^\n]*{words}[^\n]*\n", pushed.stderr), pushed.stderr


def login(sshd: Sshd) -> tuple[object, ...]:
    """Return the options that let edge-deploy in."""
    return ("--ssh-key", sshd.key, "--known-hosts", sshd.known_hosts)


def test_the_help_says_how_to_begin() -> None:
    """Both helps show commands to copy and what the exit codes mean."""
    for arguments in (["--help"], ["push", "--help"]):
        shown = deploy(*arguments)
        assert shown.returncode == 0
        assert "edge-deploy push pi@station-1 my-bundle --config device.toml" in shown.stdout
        assert EXIT_CODES.strip() in shown.stdout


@pytest.mark.parametrize("host", ["pi@", "a b", "pi@host:99999", "a:b:c"])
def test_a_host_that_is_none_is_a_wrong_command_line(host: str, config: Path) -> None:
    """A malformed HOST ends with code 2 and the forms it may have."""
    pushed = deploy("push", host, DEMO_BUNDLE, "--config", config)
    assert pushed.returncode == 2
    assert "is not NAME, USER@NAME or USER@NAME:PORT" in pushed.stderr


def test_mistakes_of_the_operator_are_found_before_the_device_is_asked(config: Path, tmp_path: Path) -> None:
    """A bundle that is not there, an unknown key and a broker that means the device end with codes 4, 3 and 3."""
    assert_one_line(deploy("push", "nowhere.invalid", tmp_path / "none", "--config", config), 4, "no such bundle")
    assert_one_line(deploy("push", "nowhere.invalid", DEMO_BUNDLE, "--config", config), 3, "with --broker")
    config.write_text(config.read_text().replace("[camera]", "[camera]\nrat = 1"))
    assert_one_line(deploy("push", "nowhere.invalid", DEMO_BUNDLE, "--config", config), 3, "did you mean rate")


def push(wheel: Path, config: Path, host: str, *more: object) -> subprocess.CompletedProcess[str]:
    """Push the demo bundle; the broker is one that this machine cannot reach either."""
    broker = f"127.0.0.1:{free_port()}"
    return deploy("push", host, DEMO_BUNDLE, "--config", config, "--wheel", wheel, "--broker", broker, *more)


def test_a_host_that_does_not_answer_is_one_line(config: Path, wheel: Path) -> None:
    """An unreachable host ends with code 9 and says which one."""
    assert_one_line(push(wheel, config, f"127.0.0.1:{free_port()}"), 9, "127.0.0.1: not reached by ssh: .*port")


def test_an_unknown_host_key_is_refused(sshd: Sshd, config: Path, wheel: Path, tmp_path: Path) -> None:
    """A host whose key nobody has compared is not logged in to; the line says what to do."""
    (tmp_path / "empty").touch()
    pushed = push(wheel, config, f"127.0.0.1:{sshd.port}", "--ssh-key", sshd.key, "--known-hosts", tmp_path / "empty")
    assert_one_line(pushed, 9, "host key is not known here; compare it once with ssh")
    assert (tmp_path / "empty").read_text() == ""


def test_a_changed_host_key_is_refused(sshd: Sshd, config: Path, wheel: Path, tmp_path: Path) -> None:
    """A host that shows another key than the known one is not logged in to."""
    other = f"{make_key(tmp_path)}.pub"
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {(tmp_path / other).read_text()}")
    pushed = push(wheel, config, f"127.0.0.1:{sshd.port}", "--ssh-key", sshd.key, "--known-hosts", known)
    assert_one_line(pushed, 9, "host key has changed")


def test_a_key_that_the_host_does_not_know_is_refused(sshd: Sshd, config: Path, wheel: Path, tmp_path: Path) -> None:
    """A login that ssh refuses ends with code 9 and how to try it."""
    options = ("--ssh-key", make_key(tmp_path), "--known-hosts", sshd.known_hosts)
    assert_one_line(push(wheel, config, f"127.0.0.1:{sshd.port}", *options), 9, "ssh refuses this login")


def test_a_broker_that_is_not_there_is_found_before_the_device_is_touched(
    sshd: Sshd, config: Path, wheel: Path
) -> None:
    """Without the broker there is no proof to wait for: code 7, and the push does not begin."""
    pushed = push(wheel, config, f"127.0.0.1:{sshd.port}", *login(sshd))
    if "gets no sudo" in pushed.stderr:
        pytest.skip("this user is not root and may not sudo here")
    assert_one_line(pushed, 7, "cannot be reached.*the device was not touched")
    assert len(pushed.stdout.splitlines()) == 1
