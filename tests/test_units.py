"""The systemd unit and the daemon's user, checked by systemd's own tools; nothing is started."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import PROJECT
from rigs import need

from edge.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

UNIT = PROJECT / "systemd" / "edge-inspect.service"
USERS = PROJECT / "systemd" / "edge-inspect.sysusers"
THRESHOLD = 20
"""The highest exposure allowed, times ten: `systemd-analyze security` gives 96 for a bare unit."""


def verify(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Let systemd read a unit, with a program that exists on this machine in place of the daemon."""
    analyze = need("systemd-analyze", "systemd")
    unit = folder / UNIT.name
    unit.write_text(text.replace("/opt/edge-inspect/venv/bin/edge-inspect", "/bin/true"))
    command = [analyze, "verify", "--recursive-errors=no", str(unit)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_unit_is_what_systemd_understands(tmp_path: Path) -> None:
    """Systemd reads the unit without an error or a warning."""
    read = verify(tmp_path, UNIT.read_text())
    assert (read.returncode, read.stderr) == (0, "")


def test_a_misspelt_directive_would_be_noticed(tmp_path: Path) -> None:
    """The check above fails for a directive that systemd does not know."""
    assert verify(tmp_path, UNIT.read_text().replace("WatchdogSec=", "WatchdogSecs=")).returncode != 0


def test_the_unit_stays_hardened() -> None:
    """The service's exposure by systemd's own measure is 2.0 or less."""
    command = [need("systemd-analyze", "systemd"), "security", "--offline=true", f"--threshold={THRESHOLD}", str(UNIT)]
    measured = subprocess.run(command, capture_output=True, text=True, check=False)
    assert measured.returncode == 0, measured.stdout.splitlines()[-1]


def test_only_what_a_person_must_mend_ends_the_restarts() -> None:
    """Systemd restarts after every failure but those of command line, configuration and bundle."""
    line = next(line for line in UNIT.read_text().splitlines() if line.startswith("RestartPreventExitStatus="))
    assert {int(code) for code in line.partition("=")[2].split()} == {2, ConfigError.exit_code, BundleError.exit_code}


def test_the_daemons_user_can_be_made(tmp_path: Path) -> None:
    """Systemd makes the daemon's own user and the group of a PCIe Edge TPU from the sysusers file."""
    if os.geteuid() != 0:
        pytest.skip("systemd-sysusers needs root")
    command = [need("systemd-sysusers", "systemd"), f"--root={tmp_path}", str(USERS)]
    (tmp_path / "etc").mkdir()
    subprocess.run(command, capture_output=True, check=True)
    assert "edge-inspect:" in (tmp_path / "etc" / "passwd").read_text()
    assert "apex:" in (tmp_path / "etc" / "group").read_text()
