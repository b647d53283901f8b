"""Where the device has introduced itself to Home Assistant: remembered, so that it can be taken back."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import msgspec

from edge.contract import storage
from edge.contract.json import NOT_JSON
from edge.contract.names import NAME

if TYPE_CHECKING:
    from pathlib import Path

    from edge.config import Config

log = logging.getLogger(__name__)

FILE = "homeassistant.json"
"""In the state folder: the topics on which it has."""
BIRTHS = "homeassistant/status"
"""Where Home Assistant says that it has started, whatever its discovery prefix is, if nobody has changed it."""
STARTED = b"online"
"""What it says there then."""
_LARGEST = 64 << 10
"""Bytes of the file."""
_TOPIC = re.compile(rf"{NAME}/device/{NAME}/{NAME}/config")


class Discovery:
    """What Home Assistant is to be told, and what is to be taken back, because it was told at an earlier start."""

    def __init__(self, config: Config, folder: Path) -> None:
        """Remember in the folder what will be told: whatever happens, a later start can take it back."""
        self.trouble = ""
        """Why it cannot be remembered; empty if it can."""
        self.messages: dict[str, bytes] = {}
        """Retained messages by their whole topic; an empty one takes back."""
        self.births = BIRTHS if config.homeassistant.enabled else ""
        """Where Home Assistant says that it has started; empty: that does not matter."""
        self._path = folder / FILE
        self._told = told = self._read()
        self.messages |= dict.fromkeys(told, b"")
        if config.homeassistant.enabled:
            from edge.mqtt import homeassistant

            self.messages[homeassistant.topic(config)] = msgspec.json.encode(homeassistant.introduction(config))
            self._remember({*told, homeassistant.topic(config)})

    def landed(self, name: str) -> None:
        """Note that the broker answered a message. What it refuses to have taken back, it always will."""
        if self.messages[name] == b"":
            del self.messages[name]
            self._remember(self._told - {name})

    def _read(self) -> set[str]:
        try:
            told = msgspec.json.decode(storage.read_plain(self._path, _LARGEST), type=set[str])
        except FileNotFoundError:
            return set()
        except (OSError, *NOT_JSON) as error:
            self._complain(error)
            return set()
        return {name for name in told if _TOPIC.fullmatch(name)}

    def _remember(self, told: set[str]) -> None:
        if told == self._told:
            return
        try:
            storage.replace_file(self._path, msgspec.json.encode(sorted(told)))
        except OSError as error:
            self._complain(error)
        self._told = told

    def _complain(self, error: Exception) -> None:
        self.trouble = f"{self._path} cannot be used ({error}): what Home Assistant was told cannot be taken back"
        log.warning("%s", self.trouble)
