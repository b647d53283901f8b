"""What is said outside the device's own messages, and what is taken back because an earlier start said it.

That is where the device has introduced itself to Home Assistant, and the alarm of a camera that has another name now:
nobody would ever clear it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from edge.alarm import farewell
from edge.contract.messages import encode, topic
from edge.contract.names import NAME
from edge.mqtt.told import Told

if TYPE_CHECKING:
    from pathlib import Path

    from edge.config import Config

FILE = "homeassistant.json"
"""In the state folder: the topics on which it has introduced itself."""
ALARMS = "alarms.json"
"""Beside it: the topics of its alarms."""
BIRTHS = "homeassistant/status"
"""Where Home Assistant says that it has started, whatever its discovery prefix is, if nobody has changed it."""
STARTED = b"online"
"""What it says there then."""
_TOPIC = re.compile(rf"{NAME}/device/{NAME}/{NAME}/config")


class Discovery:
    """What Home Assistant is to be told, and what is to be taken back."""

    def __init__(self, config: Config, folder: Path, boot_id: str) -> None:
        """Remember in the folder what will be said: whatever happens, a later start can take it back."""
        self.births = BIRTHS if config.homeassistant.enabled else ""
        """Where Home Assistant says that it has started; empty: that does not matter."""
        ours = topic(config.device.site, config.device.id, "alarm/")
        # Only this device's: another one may have its former name by now, and an alarm there.
        self._alarms = Told(folder / ALARMS, re.compile(re.escape(ours) + NAME))
        self._introductions = Told(folder / FILE, _TOPIC)
        alarm = ours + config.camera.name
        self._last_words = set(self._alarms.topics - {alarm})
        """Topics on which something is said before it is taken back: who wants JSON may ignore an empty message."""
        self.messages = dict.fromkeys(self._introductions.topics, b"")
        """Retained messages by their whole topic; an empty one takes back."""
        self.messages |= dict.fromkeys(self._last_words, encode(farewell(boot_id)))
        self._alarms.keep(self._alarms.topics | {alarm})
        if config.homeassistant.enabled:
            from edge.mqtt import homeassistant

            where = homeassistant.topic(config)
            self.messages[where] = msgspec.json.encode(homeassistant.introduction(config))
            self._introductions.keep(self._introductions.topics | {where})

    @property
    def trouble(self) -> str:
        """Why something cannot be remembered; empty if all can."""
        return "; ".join(filter(None, (self._introductions.trouble, self._alarms.trouble)))

    def try_again(self) -> str:
        """Write what a disk did not take before, and return what is still the trouble."""
        for told in (self._introductions, self._alarms):
            told.keep(told.topics)
        return self.trouble

    def landed(self, name: str) -> bytes | None:
        """Note that the broker answered a message, and return the next one; None: that was the last.

        What it refuses to have taken back, it always will.
        """
        if name in self._last_words:
            self._last_words.remove(name)
            self.messages[name] = b""
            return b""
        if self.messages[name] == b"":
            del self.messages[name]
            for told in (self._introductions, self._alarms):
                told.keep(told.topics - {name})
        return None
