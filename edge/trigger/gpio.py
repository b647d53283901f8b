"""A pin of the Raspberry Pi as trigger, and a light that flashes for the exposure, through the system's gpiozero."""

from __future__ import annotations

import threading
import time
from math import inf
from typing import TYPE_CHECKING, Any

from edge.gpio import import_gpiozero, unusable

if TYPE_CHECKING:
    from edge.sections.triggers import GpioConfig
    from edge.trigger.external import External


class Pin:
    """Fires a trigger at each edge of a pin, until it is closed."""

    def __init__(self, config: GpioConfig, trigger: External) -> None:
        """Listen to the pin; raises InspectError without gpiozero, or for a pin that cannot be used."""
        self._delay = config.delay_ms / 1e3
        self._flash = config.strobe_ms / 1e3
        self._debounce = config.debounce_ms / 1e3
        self._changed_at = -inf
        """When the pin's level last changed, in seconds."""
        self._trigger = trigger
        gpiozero = import_gpiozero("trigger.kind gpio")
        try:
            self._light = gpiozero.DigitalOutputDevice(config.strobe_pin) if config.strobe_pin else None
            self._pin = _listen(gpiozero, config)
        except Exception as error:  # Each factory has errors of its own.
            raise unusable(gpiozero, f"trigger.pin {config.pin!r}", error) from error
        # With a pull-up gpiozero calls the low level active.
        is_on = (config.edge == "rising") is (config.pull != "up")
        self._pin.when_activated = lambda: self._change(self._pin.active_time, is_edge=is_on)
        self._pin.when_deactivated = lambda: self._change(self._pin.inactive_time, is_edge=not is_on)

    def close(self) -> None:
        """Listen no more, and leave the light switched off."""
        self._pin.close()
        light, self._light = self._light, None  # First: a flash that is due later finds none.
        if light is not None:
            light.close()

    def _change(self, ago: float, *, is_edge: bool) -> None:
        """Take the first of changes that follow each other too soon, in either direction, for a part.

        Not gpiozero's own debouncing: lgpio's passes over a pulse that is shorter, and RPi.GPIO's over the one after.
        """
        before, self._changed_at = self._changed_at, time.monotonic() - ago
        if is_edge and self._changed_at - before >= self._debounce:
            self._fire(self._changed_at)

    def _fire(self, at: float) -> None:
        if self._light is not None:  # First: to fire a trigger may take a while, and frames are exposed meanwhile.
            self._light_up_after(self._delay)
        self._trigger.fire(at=at)  # A process that was stopped hears of parts that are gone.

    def _light_up_after(self, delay: float) -> None:
        if delay:
            timer = threading.Timer(delay, self._light_up_after, (0.0,))
            timer.daemon = True
            timer.start()
        elif self._light is not None:
            self._light.blink(on_time=self._flash, off_time=0, n=1)


def _listen(gpiozero: Any, config: GpioConfig) -> Any:
    pulled = {"up": True, "down": False, "none": None}[config.pull]
    return gpiozero.DigitalInputDevice(config.pin, pull_up=pulled, active_state=True if pulled is None else None)
