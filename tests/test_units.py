"""The systemd units and what belongs to them, checked by systemd's own tools; nothing is started."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import PROJECT
from rigs import need, run

from edge.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SYSTEMD = PROJECT / "systemd"
UNIT = SYSTEMD / "edge-inspect.service"
TEMPLATE = SYSTEMD / "edge-inspect@.service"
PROGRAM = "/opt/edge-inspect/venv/bin/edge-inspect"
_NAMED = """SyslogIdentifier=edge-inspect@%i
# What the daemon gives the journal itself has this name too.
Environment=SYSLOG_IDENTIFIER=edge-inspect@%i"""
THRESHOLD = 20
"""The highest exposure allowed, times ten: `systemd-analyze security` gives 96 for a bare unit."""


def analyze(unit: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Let systemd look at a unit."""
    program = need("systemd-analyze", "systemd")
    return subprocess.run([program, *command, str(unit)], capture_output=True, text=True, check=False)


def verify(folder: Path, text: str, name: str = UNIT.name) -> subprocess.CompletedProcess[str]:
    """Let systemd read a unit, with a program that exists on this machine in place of the daemon."""
    unit = folder / name
    unit.write_text(text.replace(PROGRAM, "/bin/true"))
    return analyze(unit, "verify", "--recursive-errors=no")


@pytest.mark.parametrize("unit", [UNIT, TEMPLATE], ids=lambda unit: unit.name)
def test_the_units_are_what_systemd_understands(unit: Path, tmp_path: Path) -> None:
    """Systemd reads them without an error or a warning."""
    read = verify(tmp_path, unit.read_text(), unit.name.replace("@", "@left"))
    assert (read.returncode, read.stderr) == (0, "")


def test_a_misspelt_directive_would_be_noticed(tmp_path: Path) -> None:
    """The check above fails for a directive that systemd does not know."""
    assert verify(tmp_path, UNIT.read_text().replace("WatchdogSec=", "WatchdogSecs=")).returncode != 0


@pytest.mark.parametrize("unit", [UNIT, TEMPLATE], ids=lambda unit: unit.name)
def test_the_units_stay_hardened(unit: Path) -> None:
    """A service's exposure by systemd's own measure is 2.0 or less."""
    measured = analyze(unit, "security", "--offline=true", f"--threshold={THRESHOLD}")
    assert measured.returncode == 0, measured.stdout.splitlines()[-1]


def calls(group: str) -> set[str]:
    """Return the system calls of one of systemd's groups, those of the groups in it among them."""
    program = need("systemd-analyze", "systemd")
    names = {line.strip() for line in run(program, "--no-pager", "syscall-filter", group).splitlines()[1:]}
    found = {name for name in names if name and name[0] not in "@#"}
    return found.union(*(calls(name) for name in names if name.startswith("@")))


@pytest.mark.parametrize("unit", [UNIT, TEMPLATE], ids=lambda unit: unit.name)
def test_the_sandbox_lets_the_daemon_be_asked(unit: Path) -> None:
    """`edge-inspect top` and Prometheus are answered: each call of a listener may be made."""
    allowed: set[str] = set()
    for line in unit.read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "SystemCallFilter":
            named = set[str]().union(*(calls(each) if each[0] == "@" else {each} for each in value.lstrip("~").split()))
            allowed = allowed - named if value.startswith("~") else allowed | named
    assert {"socket", "bind", "listen", "accept4", "shutdown"} <= allowed
    assert "reboot" not in allowed


def test_one_of_several_cameras_is_served_as_the_only_one_is() -> None:
    """The template differs from the unit by its first lines and by its own names and places only."""
    expected = UNIT.read_text().partition("[Unit]")[2]
    for only, several in (
        ("frames to verdicts", "frames to verdicts (%i)"),
        ("/etc/edge-inspect/device.toml", "/etc/edge-inspect/%i.toml"),
        ("SyslogIdentifier=edge-inspect", _NAMED),
        ("StateDirectory=edge-inspect", "StateDirectory=edge-inspect/%i"),
        ("/run/credentials/edge-inspect.", "/run/credentials/edge-inspect@left."),
        ("/etc/credstore/edge-inspect.", "/etc/credstore/edge-inspect@left."),
    ):
        assert only in expected
        expected = expected.replace(only, several)
    assert TEMPLATE.read_text().partition("[Unit]")[2] == expected


def test_only_what_a_person_must_mend_ends_the_restarts() -> None:
    """Systemd restarts after every failure but those of command line, configuration and bundle."""
    line = next(line for line in UNIT.read_text().splitlines() if line.startswith("RestartPreventExitStatus="))
    assert {int(code) for code in line.partition("=")[2].split()} == {2, ConfigError.exit_code, BundleError.exit_code}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A root folder in which systemd has made the daemon's user and groups."""
    if os.geteuid() != 0:
        pytest.skip("systemd-sysusers needs root")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "group").write_text("root:x:0:\nvideo:x:44:\nplugdev:x:46:\n")
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    run(need("systemd-sysusers", "systemd"), f"--root={tmp_path}", SYSTEMD / "edge-inspect.sysusers")
    return tmp_path


def test_no_group_of_the_unit_is_missing(host: Path) -> None:
    """Each group that the unit names is Debian's own or made from the sysusers file: one that is not keeps it down."""
    groups = {line.partition(":")[0] for line in (host / "etc" / "group").read_text().splitlines()}
    line = next(line for line in UNIT.read_text().splitlines() if line.startswith("SupplementaryGroups="))
    assert {"edge-inspect", *line.partition("=")[2].split()} <= groups
    assert "edge-inspect:" in (host / "etc" / "passwd").read_text()


def test_secrets_on_a_device_are_not_for_everybody(host: Path) -> None:
    """An installation by hand has its configuration read by root and the daemon only, its credentials by root."""
    (host / "etc" / "edge-inspect" / "bundle").mkdir(mode=0o777, parents=True)
    (host / "etc" / "edge-inspect" / "device.toml").touch(mode=0o666)
    (host / "etc" / "edge-inspect" / "bundle" / "model").touch(mode=0o600)
    run(need("systemd-tmpfiles", "systemd"), f"--root={host}", "--create", SYSTEMD / "edge-inspect.tmpfiles")
    etc = host / "etc"
    group = next(line for line in (etc / "group").read_text().splitlines() if line.startswith("edge-inspect:"))
    inside = ("device.toml", "bundle", "bundle/model")
    shown = {
        name: (oct((etc / name).stat().st_mode & 0o777), (etc / name).stat().st_uid, (etc / name).stat().st_gid)
        for name in ("edge-inspect", *(f"edge-inspect/{name}" for name in inside), "credstore")
    }
    gid = int(group.split(":")[2])
    assert shown == {
        "edge-inspect": ("0o750", 0, gid),
        "edge-inspect/device.toml": ("0o640", 0, gid),
        "edge-inspect/bundle": ("0o750", 0, gid),
        "edge-inspect/bundle/model": ("0o640", 0, gid),
        "credstore": ("0o700", 0, 0),
    }
