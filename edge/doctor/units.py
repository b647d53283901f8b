"""What systemd knows of this program's units."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SECONDS = 4
_PROPERTIES = (
    *("Id", "LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "NRestarts", "WatchdogUSec"),
    *("User", "SupplementaryGroups", "ExecMainStatus", "ProtectSystem", "StateDirectory", "ReadWritePaths"),
    *("ProtectHome", "PrivateTmp", "BindPaths", "BindReadOnlyPaths"),
)
_STATES = Path("/var/lib")
"""Where StateDirectory= is (systemd.exec(5))."""
_HIDDEN = {
    "ProtectHome": ({"yes", "tmpfs"}, ("/home", "/root", "/run/user")),
    "PrivateTmp": ({"yes", "disconnected"}, ("/tmp", "/var/tmp")),  # noqa: S108 - nothing is written there
}
"""By which values of a property which folders are not to be seen (the same)."""


class Unit(Record, frozen=True):
    """One unit's properties, as `systemctl show` gives them."""

    values: Mapping[str, str]

    @property
    def is_installed(self) -> bool:
        """Whether there is a file for it that systemd could read."""
        return self.values.get("LoadState") not in {None, "not-found", "masked"}

    def makes(self, folder: Path) -> bool:
        """Say whether systemd makes this folder for it, or one above."""
        return _is_below(folder, [_STATES / name for name in self.values.get("StateDirectory", "").split()])

    def may_write(self, folder: Path) -> bool:
        """Say whether its sandbox lets it write there, whatever the folder's mode says."""
        more = [Path(each.lstrip("-+")) for each in self.values.get("ReadWritePaths", "").split()]
        return self.values.get("ProtectSystem") != "strict" or self.makes(folder) or _is_below(folder, more)

    def hides(self, path: Path) -> bool:
        """Say whether its sandbox has another, empty folder in the place of one above a path."""
        bound = f"{self.values.get('BindPaths', '')} {self.values.get('BindReadOnlyPaths', '')}"
        shown = [Path(each.lstrip("-").partition(":")[0]) for each in bound.split()]
        hidden = [
            Path(each)
            for name, (values, folders) in _HIDDEN.items()
            for each in (folders if self.values.get(name) in values else ())
        ]
        return _is_below(path, hidden) and not _is_below(path, shown)


def _is_below(folder: Path, places: Iterable[Path]) -> bool:
    return any(folder.is_relative_to(place) for place in places)


def runs_systemd(root: Path) -> bool:
    """Say whether systemd is what started this system (sd_booted(3))."""
    return (root / "run/systemd/system").is_dir()


def show(root: Path) -> list[Unit]:
    """Return the service's unit and its instances; nothing without systemd, or where that does not answer in time."""
    if not runs_systemd(root):
        return []
    command = ["systemctl", "show", "--no-pager", f"--property={','.join(_PROPERTIES)}"]
    try:
        found = subprocess.run(
            [*command, "edge-inspect.service", "edge-inspect@*.service"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parse(found.stdout.decode(errors="replace"))


def parse(shown: str) -> list[Unit]:
    """Read what `systemctl show` prints: lines of key and value, an empty line between two units.

    An instance makes the plain unit's absence no matter.
    """
    blocks = (dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in shown.split("\n\n"))
    units = [Unit(block) for block in blocks if block.get("Id")]
    return [unit for unit in units if unit.is_installed] or units
