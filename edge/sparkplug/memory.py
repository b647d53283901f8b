"""What a node remembers between starts: how often it was born, and how far the broker has read its verdicts."""

from __future__ import annotations

import logging
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Annotated

import msgspec

from edge.contract import storage
from edge.contract.json import NOT_JSON

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

FILE = "sparkplug.json"
BIRTHS = 256
"""bdSeq counts connections from 0 to 255 (message-flow-edge-node-birth-publish-will-message-payload-bdSeq)."""
SETTLED_SECONDS = 2.0
"""So long a message of QoS 0 is not trusted to have arrived, though the broker has read it: where this connection or
the primary host goes within that time, it is sent again."""
_LARGEST = 1_000
_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class Kept(msgspec.Struct, frozen=True):
    """What is in the file."""

    bd_seq: Annotated[int, msgspec.Meta(ge=0, lt=BIRTHS)] = BIRTHS - 1
    """Of the last connection."""
    cursor: _Count | None = None
    """The number up to which verdicts need not be sent again; None: nothing was ever sent."""


class Memory:
    """A small file beside the ledger, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        """Read it. A damaged one counts as nothing sent: what the ledger still has goes again, and nothing is lost."""
        self.trouble = ""
        """Why it cannot be written; empty if it can."""
        self._path = path
        self.kept = self._read()

    def keep(self, kept: Kept) -> None:
        """Have this on the disk; without room there it is in memory only, and tried again with the next."""
        self.kept = kept
        try:
            storage.replace_file(self._path, msgspec.json.encode(kept))
        except OSError as error:
            problem = f"{self._path} cannot be written ({error}); check the disk"
            if problem != self.trouble:
                log.warning("%s", problem)
            self.trouble = problem
        else:
            self.trouble = ""

    def _read(self) -> Kept:
        try:
            return msgspec.json.decode(storage.read_plain(self._path, _LARGEST), type=Kept)
        except FileNotFoundError:
            return Kept()
        except (OSError, *NOT_JSON) as error:
            log.warning("%s cannot be read (%s); what the ledger has goes to Sparkplug again", self._path, error)
            return Kept(cursor=0)


class Progress:
    """Up to where the broker has read the verdicts, and since when, over all connections of a start.

    What goes once more counts from its first time: a link that keeps breaking must not have it sent for ever. Times
    are seconds on the monotonic clock.
    """

    def __init__(self, reached: int) -> None:
        self._reached: deque[tuple[int, float]] = deque([(reached, -inf)])

    @property
    def last(self) -> int:
        """The number up to which the broker has read everything."""
        return self._reached[-1][0]

    def reach(self, number: int, now: float) -> None:
        """Note that the broker has read everything up to a number."""
        self.settled(now)
        if number > self.last:
            self._reached.append((number, now))

    def settled(self, now: float) -> int:
        """Return the number up to which that was SETTLED_SECONDS ago."""
        while len(self._reached) > 1 and now - self._reached[1][1] > SETTLED_SECONDS:
            self._reached.popleft()
        return self._reached[0][0]
