"""Brings a release onto a device: what is there, what is missing, and the one rename that switches.

Everything is staged beside what runs; until the switch, an interrupted push has changed nothing that runs.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deploy.release import UNIT, has_pins, pack, shared_file
from edge.errors import DeployError
from edge.sections.cameras import PicameraConfig

if TYPE_CHECKING:
    from deploy.device import Device
    from deploy.program import Program
    from deploy.release import Release
    from edge.config import Config

HOME = "/opt/edge-inspect"
_DIRECTORIES = (HOME, f"{HOME}/releases", f"{HOME}/venvs")
_LINKS = {f"{HOME}/venv": "current/venv", "/etc/edge-inspect": f"{HOME}/current/etc"}
_COMMAND = "/usr/local/bin/edge-inspect"
"""Where root, by sudo too, and everybody else finds the program by its name."""
_LOCK = f"exec 9>{HOME}/.lock; flock 9; cd {HOME}"
"""Two switches never overlap, not even one that an interrupted push left running."""
_INSTALLED_UNIT = f"/etc/systemd/system/{UNIT}"
_APT_WAITS = "-o DPkg::Lock::Timeout=300"
_BACKOFF_SINCE = 254
"""The systemd that knows the keys of backoff.conf."""


@dataclass(frozen=True, slots=True)
class SystemFile:
    """A file of systemd/ that a part of the system reads."""

    name: str
    path: str
    """Where it reads it."""
    learn: str
    """The command that has it read."""


_SYSTEM_FILES = (
    SystemFile("edge-inspect.sysusers", "/etc/sysusers.d/edge-inspect.conf", "systemd-sysusers edge-inspect.conf"),
    # A container has no udev that could be told, and no devices.
    SystemFile(
        "edge-inspect.rules",
        "/etc/udev/rules.d/60-edge-inspect.rules",
        "systemctl try-reload-or-restart systemd-udevd && udevadm trigger --action=change || true",
    ),
)
_BACKOFF = SystemFile("backoff.conf", f"{_INSTALLED_UNIT}.d/backoff.conf", "systemctl daemon-reload")

_SURVEY = f"""
echo host $(uname -n)
echo python $(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
echo running $(readlink {HOME}/current)
echo venv $(readlink {HOME}/current/venv)
echo unit $(sha256sum < {_INSTALLED_UNIT})
echo systemd $(systemctl --version | cut -d" " -f2 | head -n1)
cd {HOME}/venvs 2>/dev/null && for v in *; do test -e $v/.complete && echo complete $v; done
cd {HOME}/current 2>/dev/null && find . -type f -exec sha256sum {{}} + | sed 's/^/file /'
true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a device has now."""

    host_name: str
    python: str
    """Its own Python, such as 3.11; empty if it has none yet."""
    running: str
    """The release that `current` points to, such as releases/20260724T101112Z; empty before the first push."""
    venv: str
    complete: frozenset[str]
    """Environments that were installed to their end."""
    hashes: dict[str, str]
    """SHA-256 of the running release's files, by name."""
    unit: str
    """SHA-256 of the unit that systemd has."""
    systemd: int
    """Its version."""


def packages(config: Config) -> list[str]:
    """Return the Debian packages that a device with this configuration needs."""
    camera = ["python3-picamera2"] if isinstance(config.camera, PicameraConfig) else []
    return ["python3-venv", *camera, *(["python3-gpiozero", "python3-lgpio"] if has_pins(config) else [])]


def plan_packages(device: Device, wanted: list[str]) -> None:
    """Plan the Debian packages that are missing."""
    from pyinfra.facts.deb import DebPackages
    from pyinfra.operations import apt

    missing = [name for name in wanted if name not in device.fact(DebPackages)]
    if missing:
        device.plan(
            f"install Debian packages: {', '.join(missing)}",
            apt.packages,
            packages=missing,
            update=True,
            no_recommends=True,
            extra_install_args=_APT_WAITS,
        )


def survey(device: Device) -> Survey:
    """Look at what the device has; raises DeployError if it cannot be asked."""
    words: dict[str, list[str]] = {"complete": [], "file": []}
    for line in device.ask(_SURVEY):
        kind, _, rest = line.partition(" ")
        words.setdefault(kind, []).append(rest.strip())
    files = (line.partition("  ./") for line in words["file"])
    return Survey(
        host_name=words["host"][0].partition(".")[0],
        python=words["python"][0],
        running=words["running"][0],
        venv=words["venv"][0].rpartition("/")[2],
        complete=frozenset(words["complete"]),
        hashes={name: digest for digest, _, name in files},
        unit=words["unit"][0].partition(" ")[0],
        systemd=int(words["systemd"][0] or 0),
    )


def venv_name(program: Program, found: Survey) -> str:
    """Name the environment: a new Python on the device needs a new one."""
    return f"{program.id}-{found.python}"


def is_current(release: Release, program: Program, found: Survey) -> bool:
    """Say whether the device's current release is this one, file by file."""
    name, hashes = venv_name(program, found), release.hashes()
    return found.hashes == hashes and found.unit == hashes[UNIT] and found.venv == name and name in found.complete


def plan_stage(device: Device, release: Release, program: Program, found: Survey) -> str:
    """Plan everything beside what runs; returns the new release's place, empty if the device has it already."""
    from pyinfra.operations import files

    _plan_host(device, found)
    if is_current(release, program, found):
        return ""
    scratch = _scratch(device)
    device.plan(f"make {scratch}", files.directory, path=scratch, mode="700", _sudo=False)
    name = venv_name(program, found)
    if name not in found.complete:
        _plan_program(device, program, name, scratch)
    place = f"releases/{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    _plan_release(device, release, place, name, scratch)
    return place


def _scratch(device: Device) -> str:
    """Return where things are sent to: a fixed name, for after an interrupted push the next one goes on from there."""
    from pyinfra.facts.server import Home

    return f"{device.fact(Home, _sudo=False)}/.edge-inspect-push"


def clear(device: Device, place: str, venv: str) -> None:
    """Remove what a stage of this release and environment left that failed; raises DeployError."""
    left = f"{HOME}/venvs/{venv}"
    device.ask(f"rm -rf {_scratch(device)} {HOME}/{place}.new; test -e {left}/.complete || rm -rf {left}")


def system_files(systemd: int) -> tuple[SystemFile, ...]:
    """Return what a device with this version of systemd needs besides the unit."""
    return (*_SYSTEM_FILES, _BACKOFF) if systemd >= _BACKOFF_SINCE else _SYSTEM_FILES


def _plan_host(device: Device, found: Survey) -> None:
    from pyinfra.facts.files import Link
    from pyinfra.operations import files, server

    for file in system_files(found.systemd):
        source = str(shared_file(f"systemd/{file.name}"))
        if device.plan(f"put {file.path}", files.put, src=source, dest=file.path):
            device.plan(f"have {file.path} read", server.shell, commands=file.learn)
    for path in _DIRECTORIES:
        device.plan(f"make {path}", files.directory, path=path, user="root", group="root", mode="755")
    for path, target in _LINKS.items():
        if device.fact(Link, path=path) is False:
            remedy = "move it away to have pushes here; else go on by hand"
            raise DeployError(f"{device.name}: {path} is no link of a push: this device was set up by hand; {remedy}")
        device.plan(f"link {path}", files.link, path=path, target=target)
    if device.fact(Link, path=_COMMAND) is not False:  # A program of this name that somebody put there stays.
        device.plan(f"link {_COMMAND}", files.link, path=_COMMAND, target=f"{HOME}/venv/bin/edge-inspect")


def _plan_program(device: Device, program: Program, name: str, scratch: str) -> None:
    from pyinfra.operations import files, pip, server

    venv = f"{HOME}/venvs/{name}"
    offline = f"--no-index -f {scratch}" if program.wheelhouse else ""
    for path in (program.requirements, *program.wheelhouse, program.wheel):
        device.plan(f"send {path.name}", files.put, src=str(path), dest=f"{scratch}/{path.name}", _sudo=False)
    device.plan("clear an unfinished environment", files.directory, path=venv, present=False)
    device.plan(
        f"make {venv}", pip.venv, path=venv, python="python3", site_packages=program.system_packages, _get_pty=True
    )
    # On a terminal, so that an interrupted push ends pip too: it must not meet the next push's.
    device.plan(
        "install the locked Python packages",
        pip.packages,
        requirements=f"{scratch}/{program.requirements.name}",
        pip=f"{venv}/bin/pip",
        extra_install_args=f"--quiet --no-color --disable-pip-version-check --no-cache-dir --only-binary=:all: "
        f"--require-hashes {offline}".rstrip(),
        _get_pty=True,
    )
    finish = f"{venv}/bin/pip install --quiet --no-color --no-index --no-deps {scratch}/{program.wheel.name}"
    # Synced first: else a power cut may leave the mark, and of the files their names.
    commands = [f"{finish} && chmod -R a+rX {venv} && sync -f {venv} && touch {venv}/.complete"]
    device.plan(f"install {program.wheel.name}", server.shell, commands=commands, _get_pty=True)


def _plan_release(device: Device, release: Release, place: str, name: str, scratch: str) -> None:
    from pyinfra.operations import files, server

    content = io.BytesIO(pack(release))
    device.plan("send bundle and configuration", files.put, src=content, dest=f"{scratch}/release.tar", _sudo=False)
    steps = (
        f"cd {HOME}",
        "systemd-sysusers edge-inspect.conf",  # Again: a push may have been interrupted before it was read.
        f"mkdir {place}.new",
        f"tar -xf {scratch}/release.tar -C {place}.new",
        f"ln -s ../../venvs/{name} {place}.new/venv",
        f"chgrp edge-inspect {place}.new",
        f"chmod 751 {place}.new",  # Whoever is logged in may pass to the program; what is secret is closed itself.
        f"sync -f {place}.new",
        f"mv {place}.new {place}",
        f"rm -rf {scratch}",
    )
    device.plan(f"lay out {HOME}/{place}", server.shell, commands=" && ".join(steps))


def plan_switch(device: Device, place: str) -> None:
    """Plan the switch to a staged release (empty: none), and that the service is enabled and runs."""
    from pyinfra.operations import server, systemd

    if place:
        device.plan(f"switch to {place} and restart", server.shell, commands=_switch(place))
    device.plan("enable and start the service", systemd.service, service=UNIT, enabled=True, running=True)


def _switch(place: str) -> str:
    return " && ".join(
        (
            f"{_LOCK}",
            f"ln -sfn {place} current.new",
            "mv -T current.new current",
            f"cp current/{UNIT} {_INSTALLED_UNIT}.new",
            f"chmod 644 {_INSTALLED_UNIT}.new",
            f"mv {_INSTALLED_UNIT}.new {_INSTALLED_UNIT}",
            "sync -f .",
            "systemctl daemon-reload",
            f"{{ systemctl restart {UNIT} 2>/dev/null || {{ echo 'the service did not start' >&2; false; }}; }}",
        )
    )


def roll_back(device: Device, found: Survey) -> None:
    """Return to the release that ran before, or to none; raises DeployError if that does not start."""
    if found.running:
        device.ask(_switch(found.running))
        return
    stop = f"systemctl disable --now {UNIT}; systemctl reset-failed {UNIT} 2>/dev/null"
    device.ask(f"{_LOCK}; {stop}; rm -f current {_INSTALLED_UNIT}; systemctl daemon-reload")


def last_words(device: Device) -> str:
    """Return the daemon's last line in the device's journal."""
    # By both: systemd's own lines are the unit's too, and another camera's daemon may have the same name for its lines.
    one = f"--lines=1 --identifier=edge-inspect --unit={UNIT}"
    lines = device.ask(f"journalctl --quiet --no-pager --output=cat {one}")
    return lines[-1] if lines else "its journal is empty"


def prune(device: Device, found: Survey) -> None:
    """Keep the current release and the one before it, as `previous`; remove the others and their environments."""
    device.ask(
        f"""{_LOCK}
        test "{found.running}" && test "{found.running}" != "$(readlink current)" && ln -sfn {found.running} previous
        for r in releases/*; do
            test "$r" = "$(readlink current)" || test "$r" = "$(readlink previous)" || rm -rf "$r"
        done
        for v in venvs/*; do
            used=; for r in releases/*; do test "$(readlink $r/venv)" = "../../$v" && used=1; done
            test "$used" || rm -rf "$v"
        done"""
    )
