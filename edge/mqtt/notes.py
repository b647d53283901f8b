"""What other threads tell the publisher's: notes in its inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from edge.record import Record

if TYPE_CHECKING:
    from edge.album import Picture
    from edge.contract.commands import Reply
    from edge.contract.messages import Message
    from edge.mqtt.link import Heard


class Written(Record, frozen=True):
    """The ledger holds verdicts up to this number."""

    last: int


class Retain(Record, frozen=True):
    """A retained message, by its name."""

    name: str
    message: Message


class Pictured(Record, frozen=True):
    """The album holds one more."""

    picture: Picture


class Answer(Record, frozen=True):
    """What to answer a request, by the command's name."""

    name: str
    reply: Reply


class Trouble(Record, frozen=True):
    """What is wrong with a part of the device; empty: nothing."""

    part: str
    problem: str


class Stop(Record, frozen=True):
    """Deliver until the deadline, and have said goodbye at last; both on the monotonic clock."""

    reason: str
    deadline: float
    last: float


Note: TypeAlias = "Heard | Written | Retain | Pictured | Answer | Trouble | Stop"
