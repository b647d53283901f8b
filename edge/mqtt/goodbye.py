"""The end of a connection: what the broker says to the last message of all."""

from __future__ import annotations

import contextlib
import time
from queue import Empty
from typing import TYPE_CHECKING

from edge.mqtt.connection import Acknowledged, Away
from edge.mqtt.notes import Stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from edge.mqtt.connection import News
    from edge.mqtt.notes import Note


def last_answer(
    packet: int, inbox: SimpleQueue[Note], hear: Callable[[Note], Note | News | None], deadline: float
) -> Acknowledged | str:
    """Return the broker's answer to the last message of all, or why there is none.

    Waits until the deadline, on the monotonic clock, or the sooner one of a stop that hurries. `hear` returns what a
    note says, of the connection perhaps; whatever else is said meanwhile comes to nothing.
    """
    with contextlib.suppress(Empty):
        while True:
            match hear(inbox.get(timeout=max(0.0, deadline - time.monotonic()))):
                case Acknowledged(answered) as answer if answered == packet:
                    return answer
                case Away(reason):
                    return reason
                case Stop(last=sooner):
                    deadline = sooner
    return "no answer"
