"""What a node says on one connection: its birth, its data in turn, its death."""

from __future__ import annotations

import logging
from collections import Counter, deque
from math import inf
from typing import TYPE_CHECKING, Self

from edge import __version__, clock
from edge.ledger.rows import Row, first_of
from edge.mqtt.manner import Manner
from edge.record import Record
from edge.sparkplug import payload

if TYPE_CHECKING:
    from edge.config import Config
    from edge.contract.messages import Gap, Verdict
    from edge.ledger.ledger import Ledger
    from edge.mqtt.link import Link
    from edge.sparkplug.payload import Value
    from edge.sparkplug.reader import Reader

log = logging.getLogger(__name__)

REBIRTH_SECONDS = 1.0
"""Between two births on one connection, at least: a host that keeps asking must not keep verdicts from going out."""
ECHO_SECONDS = 30.0
"""A birth certificate that did not come back for so long is published again: access rules may have been mended."""
LEAVING_SECONDS = 0.5
"""For a death certificate to be acknowledged; where it is not, the broker's copy of it speaks."""
_SEQS = 256
_DATA = Manner(qos=0)
_DEATH = Manner(qos=1)


class Topics(Record, frozen=True):
    """Where this node speaks and listens (chapter 4)."""

    group: str
    node: str

    @classmethod
    def by(cls, config: Config) -> Self:
        """Return those that are configured."""
        return cls(config.sparkplug.group_id, config.sparkplug.edge_node_id or config.device.id)

    def of(self, kind: str) -> str:
        """Return the topic of NBIRTH, NDATA, NDEATH or NCMD."""
        return f"spBv1.0/{self.group}/{kind}/{self.node}"

    @staticmethod
    def state(host: str) -> str:
        """Return the topic on which a host says whether it is there."""
        return f"spBv1.0/STATE/{host}"


class Session:
    """From the birth certificate on; one after the other. Times are seconds on the monotonic clock."""

    def __init__(self, config: Config, ledger: Ledger, reader: Reader, link: Link) -> None:
        self.topics = Topics.by(config)
        self.born = False
        self.rival = False
        """Whether another node was born that has this one's name."""
        self.deaf = ""
        """Which topic the broker does not let this node hear; empty: it hears all."""
        self._rebirth = self._confirmed = False
        self._certificates: deque[bytes] = deque(maxlen=3)
        """The last ones that were published."""
        self._born_at = -inf
        self._device = config.device
        self._ledger = ledger
        self._reader = reader
        self._link = link
        self._late = self._counted = self._seq = 0
        """Up to `_late` verdicts are historical, up to `_counted` they are in the counters."""
        self._counts: Counter[Verdict] = Counter()
        self._told: dict[str, Value] = {}
        """What was last said of what is counted."""

    @property
    def rebirth_at(self) -> float | None:
        """When the node is to be born again; until then it may say nothing; None: it need not be.

        So it is while a rebirth is asked for (data-commands-rebirth-action-1), and while its birth certificate did not
        come back: to what a broker's access rules forbid it says nothing where that is QoS 0.
        """
        if self._rebirth:
            return self._born_at + REBIRTH_SECONDS
        return self._born_at + ECHO_SECONDS if self.born and not self._confirmed else None

    @property
    def trouble(self) -> str:
        """What keeps this session from being one; empty: nothing."""
        topic = self.topics.of("NBIRTH")
        if self.rival:
            return f"another device publishes {topic}; give each its own sparkplug.edge_node_id"
        if self.deaf:
            return self.deaf
        return "" if self._confirmed else f"{topic} does not come back; do the broker's rules let us write and read it?"

    def ask_rebirth(self) -> None:
        """Have the node born again soon, once, however often this is asked."""
        self._rebirth = self.born

    def hear_birth(self, certificate: bytes) -> None:
        """Note a birth certificate on this node's topic: its own, come back, or that of another with its name."""
        self._confirmed = self._confirmed or certificate in self._certificates
        self.rival = self.rival or certificate not in self._certificates

    def end(self) -> None:
        """Note that the connection ended."""
        self.born = self._rebirth = self._confirmed = self.rival = False
        self.deaf = ""

    def begin(self, bd_seq: int, now: float) -> None:
        """Publish an NBIRTH: all metrics as they are, the newest verdict's too; all before that is historical now."""
        self.look_back()
        self._told = self._figures()
        own: dict[str, Value] = {payload.SOFTWARE: f"edge-inspect {__version__}"}
        own |= {payload.SITE: self._device.site, payload.DEVICE: self._device.id}
        samples = [payload.Sample(own | self._told, clock.now())]
        if (newest := self._reader.newest()) is not None:
            samples.append(payload.sample(newest, historical=False))
        self._certificates.append(payload.birth(bd_seq, samples))
        self._link.publish(self.topics.of("NBIRTH"), self._certificates[-1], _DATA)
        self._link.mark()  # The answer tells a broker that hangs up on this from a network that ends the connection.
        self.born, self._born_at, self._rebirth, self._seq = True, now, False, 0
        log.info("Sparkplug node %s is born, bdSeq %d", self.topics.of("+"), bd_seq)

    def look_back(self) -> None:
        """Have all that there is by now marked historical: what comes of it is no news any more."""
        self._late = self._reader.upto

    def send(self, entries: list[Row | Gap]) -> None:
        """Publish an NDATA for each of these."""
        for entry in entries:
            samples = [payload.sample(entry, historical=first_of(entry) <= self._late)]
            if isinstance(entry, Row) and entry.seq > self._counted:
                self._counted = entry.seq
                self._counts[entry.verdict] += 1
            if entry is entries[-1] and (changed := self._changed()):
                samples.append(payload.Sample(changed, clock.now()))
            self._seq = (self._seq + 1) % _SEQS
            self._link.publish(self.topics.of("NDATA"), payload.data(self._seq, samples), _DATA)

    def die(self, bd_seq: int) -> None:
        """Publish what the broker has as the last will, before leaving (...-intentional-disconnect-ndeath)."""
        goodbye = self._link.publish(self.topics.of("NDEATH"), payload.death(bd_seq), _DEATH)
        try:
            goodbye.wait_for_publish(LEAVING_SECONDS)
        except RuntimeError as error:  # paho's word for a link that broke meanwhile.
            log.warning("could not publish NDEATH: %s; the last will speaks", error)

    def _figures(self) -> dict[str, Value]:
        counters: dict[str, Value] = {name: self._counts[verdict] for verdict, name in payload.COUNTERS.items()}
        return counters | {payload.WAITING: self._reader.waiting, payload.LOST: self._ledger.lost}

    def _changed(self) -> dict[str, Value]:
        figures, before = self._figures(), self._told
        self._told = figures
        return {name: value for name, value in figures.items() if value != before[name]}
