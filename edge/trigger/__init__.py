"""What says that a part is to be judged. Each trigger ends in exactly one verdict about each region."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge.sections.triggers import CommandConfig, FreeConfig, GpioConfig, MotionConfig, TriggerConfig
from edge.trigger.external import External
from edge.trigger.free import FreeRunning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.capture import Capture
    from edge.sections.cameras import CameraConfig
    from edge.trigger.base import Trigger
    from edge.trigger.journal import Journal


@contextmanager
def open_trigger(
    config: TriggerConfig, camera: CameraConfig, capture: Capture, journal: Journal | None
) -> Iterator[Trigger]:
    """Open the configured trigger for a while; raises ConfigError, naming it and the remedy, if it is not there.

    One from outside needs the journal.
    """
    match config:
        case FreeConfig(rate=rate):
            yield FreeRunning(capture, rate=rate, patience=camera.silence_s)
        case MotionConfig():
            from edge.trigger.motion import MotionTriggered

            yield MotionTriggered(capture, config, patience=camera.silence_s)
        case CommandConfig() if journal is not None:
            yield _external(config, capture, journal)
        case GpioConfig() if journal is not None:
            from edge.trigger.gpio import Pin

            trigger = _external(config, capture, journal)
            pin = Pin(config, trigger)
            try:
                yield trigger
            finally:
                pin.close()


def _external(config: GpioConfig | CommandConfig, capture: Capture, journal: Journal) -> External:
    return External(capture, journal, delay_s=config.delay_ms / 1e3, deadline_s=config.deadline_s)
