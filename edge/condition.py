"""How the device fares as a whole, for its `status`: what is wrong with which part of it."""

from __future__ import annotations

from edge import clock
from edge.command import printable
from edge.contract.messages import Status

PAUSED = "paused"
"""Stands for judging itself among the parts of a device: what is wrong with it is somebody's wish."""
STARTING = "starting"
"""Stands for the line as a whole among them: nothing is judged before all of it is open."""


class Condition:
    """Collects troubles by the part that has them."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self._troubles: dict[str, str] = {}

    def note(self, part: str, problem: str) -> bool:
        """Note what is wrong with a part, empty: nothing any more; False if that is no news."""
        problem = printable(problem)  # A path in it may be no UTF-8, which JSON would not take.
        if self._troubles.get(part, "") == problem:
            return False
        self._troubles[part] = problem
        return True

    def present(self) -> Status:
        """Return the status of a device that is there. Any thread may ask."""
        reason = "; ".join(filter(None, list(self._troubles.values())))
        return Status(
            state="degraded" if reason else "online",
            reason=reason,
            paused=bool(self._troubles.get(PAUSED)),
            boot_id=self._boot_id,
            time=clock.now(),
        )

    def gone(self, reason: str) -> Status:
        """Return the status of a device that is not."""
        return Status(state="offline", reason=printable(reason), boot_id=self._boot_id, time=clock.now())
