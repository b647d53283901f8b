"""When the accelerator is tried, and how: pure, with the time passed in, in seconds of the monotonic clock."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from edge.record import Record

_NEVER = float("inf")
_AT_ONCE = 2
"""So many failures in a row are answered at once."""


class Step(StrEnum):
    """What to do now."""

    OPEN = "open"
    RESET = "reset"
    """Reset the device where that is possible, and open."""


class Pace(Record, frozen=True, kw_only=True):
    """How patient the plan is, in seconds."""

    first_pause: float = 10.0
    """After the third failure in a row; it doubles with each further one."""
    longest_pause: float = 600.0
    """An attempt takes a few seconds of one core; somebody who changed the cable waits for no more than this."""
    steady: float = 600.0
    """An accelerator that has judged for so long has proved itself: what failed before no longer counts."""


class Plan:
    """The accelerator judges, or is to be tried again at `due`.

    After one failure it is opened again at once, after the next one reset first, and from then on tried after growing
    pauses. They go on growing while it fails soon after it came back, so that it does not come and go all the time.
    """

    def __init__(self, now: float, pace: Pace) -> None:
        self._pace = pace
        self._since: float | None = None
        self.due = now
        """When to try it again; never (infinity) while it judges or is being tried."""
        self.strikes = 0
        """Failures in a row, each soon after the one before."""
        self.failures = 0
        """All failures so far: of the judging accelerator, and of attempts."""
        self.reason = ""
        """Why the CPU judges; empty while the accelerator does, and before the first attempt ended."""

    @property
    def accelerated(self) -> bool:
        """True from `opened` to `failed`."""
        return self._since is not None

    @property
    def state(self) -> Literal["opening", "accelerated", "cpu"]:
        """Where it stands, as `health` says it."""
        return "accelerated" if self.accelerated else "cpu" if self.failures else "opening"

    @property
    def paused(self) -> bool:
        """True once it has failed so often that it is no longer tried at once."""
        return self.strikes > _AT_ONCE

    def step(self, now: float) -> Step | None:
        """Return what to do now, once; what came of it is for `opened` or `failed`."""
        if now < self.due:
            return None
        self.due = _NEVER
        return Step.OPEN if self.strikes <= 1 else Step.RESET

    def opened(self, now: float) -> None:
        """Note that it judges from now on."""
        self._since = now
        self.due = _NEVER
        self.reason = ""

    def failed(self, now: float, reason: str) -> None:
        """Note that it failed: while it judged, or in an attempt."""
        if self._since is not None and now - self._since >= self._pace.steady:
            self.strikes = 0
        self._since = None
        self.strikes += 1
        self.failures += 1
        self.reason = reason
        self.due = now + self._pause()

    def _pause(self) -> float:
        """Return 0 twice, for opening it and for resetting it, then the first pause, and twice as long each time."""
        doubled = self.strikes - _AT_ONCE
        if doubled <= 0:
            return 0.0
        # The exponent is bounded: after months 2 ** n would be no float.
        return min(self._pace.longest_pause, self._pace.first_pause * 2.0 ** min(doubled - 1, 60))
