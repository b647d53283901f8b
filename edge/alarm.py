"""Whether the last part was a defect, said at once: no verdict that waits for the broker delays it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import clock
from edge.contract.messages import Alarm, Verdict
from edge.decision import worst_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.contract.messages import Event


class AlarmState:
    """Follows the verdicts of the cameras: a DEFECT raises, PASS of all regions clears, UNKNOWN leaves it as it is."""

    def __init__(self) -> None:
        self._active: dict[str, bool] = {}

    def after(self, events: Sequence[Event]) -> Alarm | None:
        """Return what to say of a camera after the verdicts about one shot of it; None if that was said already."""
        event = worst_of(events)
        if event.verdict is Verdict.UNKNOWN:
            return None
        active = event.verdict is Verdict.DEFECT
        if not active and self._active.get(event.camera) is False:
            return None
        self._active[event.camera] = active
        return Alarm(
            active=active,
            event=event.id,
            label=event.label,
            score=event.score,
            boot_id=event.boot_id,
            time=event.time,
        )


def farewell(boot_id: str) -> Alarm:
    """Return the last word on a camera that has another name now: whoever follows it would wait for a PASS for ever."""
    return Alarm(active=False, event=None, label=None, score=None, boot_id=boot_id, time=clock.now())
