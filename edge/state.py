"""Where a device keeps what outlives a start: the ledger, pictures, changed settings, models that were tried."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.config import Config

OF_THE_SERVICE = Path("/var/lib/edge-inspect")
"""systemd's folder for the service, which only the service itself is told of."""


def state_dir(config: Config) -> Path:
    """Return the folder for what outlives a start: configured, or systemd's StateDirectory, or the user's own.

    Raises ConfigError if it cannot be made: verdicts are kept there.
    """
    folder = config.state_dir
    try:
        folder = folder or default_state_dir()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home.
        where = folder or "for what is remembered between starts"
        raise ConfigError(f"the folder {where} cannot be made ({error}); set state_dir to one that can") from error
    return folder


def daemons_state(config: Config) -> Path:
    """Return the folder that the daemon will have, for whoever leaves something there for it.

    Raises ConfigError if it cannot be made, or this user may not write there.
    """
    ours = config.state_dir or "STATE_DIRECTORY" in os.environ or not OF_THE_SERVICE.is_dir()
    folder = state_dir(config) if ours else OF_THE_SERVICE
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise ConfigError(f"the folder {folder} is not this user's to write in; use sudo, or set another state_dir")
    return folder


def hand_over(path: Path) -> None:
    """Let a file that root left in the daemon's folder be the daemon's: to another user it may be closed."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def find_state(config: Config, name: str) -> Path:
    """Return where the daemon's file of this name is, for whoever is not the daemon; no folder is made.

    Where the service has one and somebody ran it by hand too, it is the service's. Raises ConfigError if it is nowhere.
    """
    possible = candidates(config, name)
    for path in possible:
        if os.path.lexists(path):
            return path
    where = " and ".join(str(path.parent) for path in dict.fromkeys(possible))
    raise ConfigError(f"no {name} in {where}; has the daemon run, and may this user look there (sudo)?")


def candidates(config: Config, name: str) -> list[Path]:
    """Return where the daemon's file of this name may be, whether or not it is: the service's place first."""
    try:
        folders = [config.state_dir] if config.state_dir else [OF_THE_SERVICE, default_state_dir()]
        if "STATE_DIRECTORY" in os.environ:  # Asked within a service, it is that one's.
            folders.reverse()
    except RuntimeError:  # A user without a home.
        folders = [OF_THE_SERVICE]
    return [folder / name for folder in folders]


def default_state_dir() -> Path:
    """Return systemd's folder for this service, or the one of the XDG Base Directory Specification."""
    if from_systemd := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(from_systemd)
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not base.is_absolute():  # A relative one is to be ignored, says the specification.
        base = Path("~/.local/state").expanduser()
    return base / "edge-inspect"
