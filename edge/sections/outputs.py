"""The tables [[outputs]]: pins that are driven by verdicts."""

from __future__ import annotations

from typing import Annotated

from edge.contract.messages import Verdict
from edge.sections.base import Section, doc


class OutputConfig(Section, frozen=True, kw_only=True):
    """A pin that a verdict switches on: a gate, a lamp, an input of the controller (apt install python3-gpiozero).

    The worst verdict about a frame counts. Best is to let PASS open the way: then a device that is down passes nothing.
    """

    pin: Annotated[str, doc("as gpiozero names it: 17, GPIO17 or BOARD11", pattern=r"^[A-Za-z0-9:]{1,20}\Z")]
    verdicts: Annotated[tuple[Verdict, ...], doc("which verdicts switch it on", min_length=1)]
    delay_ms: Annotated[
        float,
        doc(
            "from the exposure until it is switched, for a gate further down the line; a PASS that comes later opens "
            "nothing, any other verdict switches it at once",
            ge=0,
            le=60_000,
        ),
    ] = 0.0
    pulse_ms: Annotated[
        float,
        doc(
            "how long it stays on, for a PASS until a part with another verdict at most; 0: until the next verdict",
            ge=0,
            le=60_000,
        ),
    ] = 100.0
    active_high: Annotated[bool, doc("false: on is the low level")] = True
    safe: Annotated[bool, doc("whether it is on while nothing is judged: before the start, in a pause, at the end")] = (
        False
    )
