"""Where verdicts go: the ledger, and from there the broker and SCADA; pictures go to the album. All opened as one.

Importing this module loads no MQTT client, database or picture library.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge.album import Album
from edge.contract.ulid import new_ulid
from edge.evidence import Evidence
from edge.record import Record
from edge.state import state_dir
from edge.stopping import QUICK_SECONDS

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from edge.album import Picture
    from edge.config import Config
    from edge.ledger.ledger import Ledger
    from edge.mqtt.publisher import Publisher
    from edge.sparkplug.node import Node

log = logging.getLogger(__name__)

_LAST_SECONDS = 0.2
"""For the Sparkplug node, which leaves at the same time, when the publisher has left."""


class Sinks(Record, frozen=True, kw_only=True):
    """Where verdicts go."""

    ledger: Ledger
    publisher: Publisher
    album: Album
    evidence: Evidence | None
    """None: no pictures are made."""
    sparkplug: Node | None

    def start(self) -> None:
        """Begin to connect and to open the ledger, in the background."""
        self.publisher.start()
        if self.sparkplug is not None:
            self.sparkplug.start()
        self.ledger.start(self._written)

    def report_trouble(self) -> None:
        """Have the status say what is wrong with any of them; raises what ended one of their threads."""
        self.ledger.check()
        self.publisher.report("ledger", self.ledger.trouble)
        if self.sparkplug is not None:
            self.publisher.report("sparkplug", self.sparkplug.trouble())

    def close(self, reason: str, patience: float, hurry: threading.Event) -> int:
        """Write and deliver what there is, for `patience` seconds unless it hurries, and say goodbye with the reason.

        Returns how many verdicts wait for the broker and the next start.
        """
        self.ledger.flush(QUICK_SECONDS)
        if self.evidence is not None:
            self.evidence.stop(QUICK_SECONDS)
        if self.sparkplug is not None:
            self.sparkplug.leave(patience)
        self.publisher.stop(reason, patience, hurry)
        if self.sparkplug is not None:
            self.sparkplug.stop(_LAST_SECONDS)
        waiting = self.ledger.waiting
        if unwritten := self.ledger.close(QUICK_SECONDS):
            log.error("%d verdicts were lost: neither the broker nor the disk took them in time", unwritten)
        return max(0, waiting - unwritten)

    def _written(self, last: int) -> None:
        self.publisher.written(last)
        if self.sparkplug is not None:
            self.sparkplug.written(last)


def open_sinks(config: Config) -> Sinks:
    """Prepare all of them; raises ConfigError for what the configuration names and cannot be used."""
    from edge.ledger.ledger import Ledger
    from edge.ledger.retention import Retention
    from edge.mqtt.discovery import Discovery
    from edge.mqtt.publisher import Publisher

    folder = state_dir(config)
    retention = Retention(config.ledger.keep_days)
    ledger = Ledger(folder, config.ledger.events_mib << 20, retention)
    album = Album(folder, config.ledger.pictures_mib << 20)
    retention.on_removed = album.forget
    boot_id = new_ulid()
    publisher = Publisher(config, boot_id, ledger, album, Discovery(config, folder, boot_id))
    return Sinks(
        ledger=ledger,
        publisher=publisher,
        album=album,
        evidence=_evidence(config, album, publisher),
        sparkplug=_sparkplug(config, ledger, folder),
    )


def _evidence(config: Config, album: Album, publisher: Publisher) -> Evidence | None:
    if not config.ledger.pictures_mib:
        return None

    def keep(picture: Picture, jpeg: bytes) -> None:
        if album.add(picture, jpeg):
            publisher.pictured(picture)

    return Evidence(keep, config.camera.rotate)


def _sparkplug(config: Config, ledger: Ledger, folder: Path) -> Node | None:
    if not config.sparkplug.group_id:
        return None
    from edge.sparkplug.node import Node  # With protobuf 2 MiB and more, for those who want it.

    return Node(config, ledger, folder)
