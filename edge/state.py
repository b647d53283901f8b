"""Where a device keeps what outlives a start: the ledger, pictures, changed settings, models that were tried."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.config import Config


def state_dir(config: Config) -> Path:
    """Return the folder for what outlives a start: configured, or systemd's StateDirectory, or the user's own.

    Raises ConfigError if it cannot be made: verdicts are kept there.
    """
    folder = config.state_dir
    try:
        folder = folder or _default_state_dir()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home.
        where = folder or "for what is remembered between starts"
        raise ConfigError(f"the folder {where} cannot be made ({error}); set state_dir to one that can") from error
    return folder


def _default_state_dir() -> Path:
    """Return systemd's folder for this service, or the one of the XDG Base Directory Specification."""
    if from_systemd := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(from_systemd)
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not base.is_absolute():  # A relative one is to be ignored, says the specification.
        base = Path("~/.local/state").expanduser()
    return base / "edge-inspect"
