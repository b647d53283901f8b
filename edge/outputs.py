"""Pins that verdicts switch: each at its own time after the exposure, by one thread."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from functools import partial
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any

from edge.contract.messages import Verdict
from edge.errors import InspectError
from edge.gpio import import_gpiozero, line_of, unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.sections.outputs import OutputConfig

log = logging.getLogger(__name__)

LATE_SECONDS = 0.005
"""Beyond its time by more than this a switch counts as late."""
HANG_SECONDS = 10.0
"""For one switch, which takes microseconds: a driver that takes longer may not come back at all."""
_END_SECONDS = 0.5
_left: list[Any] = []
"""Pins that are to keep their level: gpiozero makes an input of one that nobody holds. At the end of the process it
would too, but lgpio's thread is one of those for which edge/__main__.py leaves nothing to tidy up."""


class Schedule:
    """Does things at their times, in a thread of its own. Times are seconds on the monotonic clock."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._is_over = False
        self._acting_since = inf
        self._thread = threading.Thread(target=self._run, name="outputs", daemon=True)
        self._thread.start()

    def at(self, instant: float, act: Callable[[], None]) -> None:
        """Do something at this time, or at once if that is past."""
        with self._changed:
            heapq.heappush(self._due, (instant, next(self._numbers), act))
            self._changed.notify_all()

    @property
    def hangs(self) -> bool:
        """Whether what is being done takes too long."""
        return time.monotonic() - self._acting_since > HANG_SECONDS

    def close(self) -> bool:
        """Do nothing any more; False if what is being done hangs."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._thread.join(_END_SECONDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (act := self._next()) is not None:
            self._acting_since = time.monotonic()
            act()
            self._acting_since = inf

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._is_over:
                left = self._due[0][0] - time.monotonic() if self._due else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(left)
        return None


class Outputs:
    """The configured pins. One thread tells it of verdicts."""

    def __init__(self, configs: Sequence[OutputConfig]) -> None:
        """Open the pins at their safe levels; raises InspectError without gpiozero, or for one that cannot be used."""
        self.late = 0
        """Switches that came after their time, or never did: the verdict took longer than the delay."""
        self._pins = [(config, _opened(config)) for config in configs]
        self._troubles: dict[str, str] = {}
        """By pin, why it did not switch when it was to."""
        self._ends: dict[str, float] = {}
        """By pin, when its last pulse ends, on the monotonic clock."""
        self._resting = {config.pin for config in configs}
        """Pins that are at their safe levels, for nothing was judged yet, or is."""
        self._schedule = Schedule() if configs else None

    def show(self, verdict: Verdict, exposed: float) -> None:
        """Switch the pins by the verdict about a frame, as long after its exposure as each is to be.

        What comes after its time is switched at once, but for a PASS: it opens nothing to a part that it is not about.
        """
        if self._schedule is None:
            return
        for config, pin in self._pins:
            is_on = verdict in config.verdicts
            # A pulse ends by itself, but what lets a PASS by is shut where the next part is there, which may be none.
            if not (is_on or not config.pulse_ms or Verdict.PASS in config.verdicts or self._rests_on(config)):
                continue
            due = exposed + config.delay_ms / 1e3
            late = bool(config.delay_ms) and time.monotonic() > due + LATE_SECONDS
            self.late += late
            if late and verdict is Verdict.PASS:  # At the gate is another part by now.
                self._schedule.at(due, partial(self._miss, config))
                continue
            self._resting.discard(config.pin)
            act = partial(self._begin, config, pin) if is_on else partial(self._switch, config, pin.off)
            self._schedule.at(due, act)

    def check(self) -> str:
        """Return which pins do not switch, and why; empty if all do. Raises InspectError if their driver hangs."""
        if self._schedule is not None and self._schedule.hangs:
            raise InspectError(
                f"outputs: the pins' driver has not come back for {HANG_SECONDS:g} s; a new start may free it"
            )
        return "; ".join(self._troubles.values())

    def rest(self) -> None:
        """Put each pin at its safe level: for a while there will be no verdict. A pulse may end first."""
        if self._schedule is None:
            return
        for config, pin in self._pins:
            self._resting.add(config.pin)
            if not config.pulse_ms or config.safe:
                switch = pin.on if config.safe else pin.off
                self._schedule.at(time.monotonic(), partial(self._switch, config, switch))

    def close(self) -> None:
        """Leave each pin at its safe level."""
        if self._schedule is not None and not self._schedule.close():
            log.error("outputs: the pins' driver hangs; they stay as they are")
            return
        for config, pin in self._pins:
            self._switch(config, partial(setattr, pin, "value", config.safe))
            _left.append(pin)

    def _begin(self, config: OutputConfig, pin: Any) -> None:
        self._switch(config, pin.on)
        if config.pulse_ms and self._schedule is not None:
            end = self._ends[config.pin] = time.monotonic() + config.pulse_ms / 1e3
            self._schedule.at(end, partial(self._end, config, pin, end))

    def _end(self, config: OutputConfig, pin: Any, end: float) -> None:
        if self._ends[config.pin] == end:  # Else another pulse has begun within this one, and ends later.
            self._switch(config, pin.on if self._rests_on(config) else pin.off)

    def _rests_on(self, config: OutputConfig) -> bool:
        return config.safe and config.pin in self._resting

    def _miss(self, config: OutputConfig) -> None:
        self._note(config, f"outputs: pin {config.pin!r} stayed as it was: PASS came after its time; raise delay_ms")

    def _switch(self, config: OutputConfig, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever a driver says, the next switch may succeed
            self._note(config, f"outputs: pin {config.pin!r} does not switch ({line_of(error)}); look at its wiring")
        else:
            self._troubles = {pin: text for pin, text in self._troubles.items() if pin != config.pin}

    def _note(self, config: OutputConfig, trouble: str) -> None:
        if config.pin not in self._troubles:
            log.error(trouble)
        self._troubles = self._troubles | {config.pin: trouble}


def _opened(config: OutputConfig) -> Any:
    gpiozero = import_gpiozero("outputs")
    try:
        return gpiozero.DigitalOutputDevice(config.pin, active_high=config.active_high, initial_value=config.safe)
    except Exception as error:  # Each factory has errors of its own.
        raise unusable(gpiozero, f"outputs: pin {config.pin!r}", error) from error
