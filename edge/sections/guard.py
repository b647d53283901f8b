"""The table [guard]."""

from __future__ import annotations

from typing import Annotated, Literal

from edge.sections.base import Section, doc


class Guard(Section, frozen=True, kw_only=True):
    """Whether a frame is fit to be judged; one that is not is UNKNOWN, with the reason."""

    checks: Annotated[
        tuple[Literal["frozen", "light", "part", "fixture", "focus"], ...],
        doc("of frozen, light, part, fixture, focus; all but a frozen, black or white picture need a baseline"),
    ] = ("frozen", "light", "part", "fixture", "focus")
    max_shift: Annotated[
        float, doc("by how much of the frame the fixture may have moved; regions follow it", gt=0, le=0.25)
    ] = 0.02
    alarm_after: Annotated[int, doc("unfit frames in a row from which `status` asks for maintenance", ge=1)] = 20
