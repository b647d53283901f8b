"""What may be changed from afar: a few settings, kept beside the ledger, over those of the configuration file."""

from __future__ import annotations

import threading
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from edge.config import parse
from edge.contract import storage
from edge.contract.json import NOT_JSON
from edge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.config import Config

FILE = "settings.json"
CHANGEABLE = ("decision.threshold", "decision.votes", "decision.window", "health_every_s")
"""None of these can stop a device from judging, lead it to another broker, or let anybody in."""
_LARGEST = 64 << 10
"""Bytes of the file."""
KEEP_SECONDS = 1.0
"""For the disk to take a change; judging waits meanwhile."""


class Settings:
    """The configuration file's values, and what was changed of them; a change is kept before it counts."""

    def __init__(self, config: Config, folder: Path) -> None:
        """Read what was changed earlier; where that cannot be used any more the configuration file counts."""
        self.config = config
        """What counts now."""
        self.trouble = ""
        """Why what was changed earlier does not count; empty if it does."""
        self._file = config
        self._path = folder / FILE
        self._changed: dict[str, Any] = {}
        self._writer = threading.Thread()
        try:
            changed = self._read()
            self.config = _applied(config, changed, self._path)
            self._changed = changed
        except ConfigError as error:
            self.trouble = f"{error}; the configuration file counts"

    def values(self) -> dict[str, Any]:
        """Return what may be changed, as it is now, by key."""
        return {key: attrgetter(key)(self.config) for key in CHANGEABLE}

    def change(self, wishes: dict[str, Any]) -> None:
        """Keep new values by key, null for the configuration file's own; all or none of them.

        Raises ConfigError, one line, for a key that may not be changed or a value that does not fit, and OSError if
        they cannot be kept.
        """
        for key in wishes:
            if key not in CHANGEABLE:
                raise ConfigError(f"{key[:60]!r} may not be changed; known are: {', '.join(CHANGEABLE)}")
        changed = {key: value for key, value in (self._changed | wishes).items() if value is not None}
        config = _applied(self._file, changed, self._path)
        self._keep(msgspec.json.encode(changed))
        self._changed, self.config, self.trouble = changed, config, ""

    def _keep(self, data: bytes) -> None:
        if self._writer.is_alive():
            raise TimeoutError(f"{self._path}: the disk hangs with the change before; check it")
        failed: list[OSError] = []

        def write() -> None:
            try:
                storage.replace_file(self._path, data)
            except OSError as error:
                failed.append(error)

        self._writer = threading.Thread(target=write, name="settings", daemon=True)
        self._writer.start()
        self._writer.join(KEEP_SECONDS)
        if self._writer.is_alive():
            problem = f"{self._path}: the disk hangs; check it"
            raise TimeoutError(f"{problem}; nothing is changed now, but may be from the next start on")
        for error in failed:
            raise error

    def _read(self) -> dict[str, Any]:
        try:
            changed = msgspec.json.decode(storage.read_plain(self._path, _LARGEST), type=dict[str, Any])
        except FileNotFoundError:
            return {}
        except (OSError, *NOT_JSON) as error:
            raise ConfigError(f"{self._path} cannot be read ({error})") from error
        return {key: value for key, value in changed.items() if key in CHANGEABLE}


def _applied(config: Config, changed: dict[str, Any], where: Path) -> Config:
    """Return a configuration with other values; raises ConfigError for one that does not fit."""
    decision = msgspec.to_builtins(config.decision)
    table = {"bundle": "-", "camera": {"kind": "synthetic"}, "device": {"id": config.device.id}, "decision": decision}
    for key, value in changed.items():
        section, _, name = key.rpartition(".")
        (table[section] if section else table)[name] = value
    checked = parse(table, where)  # Without what stays: only what may be changed is looked at.
    sections = {key.partition(".")[0] for key in changed}
    try:
        return msgspec.structs.replace(config, **{name: getattr(checked, name) for name in sections})
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
