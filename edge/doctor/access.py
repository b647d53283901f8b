"""Whether the daemon may read what its configuration names: root, who asks, always may."""

from __future__ import annotations

import os
import stat
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from edge.contract.bundle import MANIFEST
from edge.doctor import units
from edge.doctor.account import may, of_daemon
from edge.doctor.broker import CREDENTIALS
from edge.doctor.finding import ok, problem, skipped
from edge.sections.cameras import FolderConfig, VideoConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.doctor.account import Account
    from edge.doctor.finding import Finding, Patient
    from edge.doctor.units import Unit

_READ, _LIST, _PASS = 4, 5, 1


def access(patient: Patient) -> Iterator[Finding]:
    """Whether the daemon's user, in the service's sandbox, may read the configuration and what it names."""
    installed = [unit for unit in units.show(patient.root) if unit.is_installed]
    if not installed:
        yield skipped("access", "no service is installed: whoever starts the daemon reads for it")
        return
    account = of_daemon(patient.root)
    if os.geteuid() not in {0, account.uid}:
        yield skipped("access", f"only root and user {account.name} can tell; use sudo")
        return
    found = [each for path in _named(patient) for each in islice(_judge_ways(account, installed, path), 1)]
    yield from found or [ok("access", f"user {account.name} may read the configuration and what it names")]


def judge_path(account: Account, installed: Sequence[Unit], path: Path) -> Iterator[Finding]:
    """Judge what a user may see of a file or folder, in the sandbox of the installed units; nothing if all of it."""
    if all(unit.hides(path) for unit in installed):
        name = installed[0].values.get("Id", "")
        yield problem("access", f"{path} is hidden from {name}", "move it, to a folder in /etc or /srv for one")
    elif (closed := _first_closed(account, path)) is not None:
        remedy = f"chgrp -R {account.name} and chmod -R g+rX for it, chmod o+x for folders above"
        yield problem("access", f"user {account.name} may not read {path}: {closed} is closed", remedy)


def _judge_ways(account: Account, installed: Sequence[Unit], path: Path) -> Iterator[Finding]:
    """Judge a path by each name that the kernel goes by: its own, and with one link in it followed after the other."""
    name = path.absolute()
    yield from judge_path(account, installed, name)
    while link := next((each for each in (*reversed(name.parents), name) if each.is_symlink()), None):
        name = link.parent / link.readlink() / name.relative_to(link)
        yield from judge_path(account, installed, name)


def _first_closed(account: Account, path: Path) -> Path | None:
    """Return what is closed to a user of the folders above a path, of itself and of a bundle's files in it."""
    inside = sorted(path.rglob("*")) if (path / MANIFEST).exists() else []
    wanted = [*((each, _PASS) for each in reversed(path.parents)), *((each, 0) for each in (path, *inside))]
    return next((each for each, how in wanted if each.exists() and not _is_open(account, each, how)), None)


def _is_open(account: Account, path: Path, how: int) -> bool:
    entry = path.stat()
    return may(account, entry, how or (_LIST if stat.S_ISDIR(entry.st_mode) else _READ))


def _named(patient: Patient) -> list[Path]:
    """Return the files and folders that the daemon reads and that are there, but for those that systemd hands to it."""
    config = patient.configured
    camera, mqtt = config.camera, config.mqtt
    pictures = camera.path if isinstance(camera, FolderConfig) else None
    video = Path(camera.source) if isinstance(camera, VideoConfig) and not camera.is_stream else None
    files = (mqtt.password_file, mqtt.ca_file, mqtt.cert_file, mqtt.key_file)
    named = filter(None, (patient.path, config.bundle, pictures, video, *files))
    return [path for path in named if path.exists() and CREDENTIALS not in path.parents]
