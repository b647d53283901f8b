"""What an accelerator is to compute, and how long that may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.accelerator.plan import Pace
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.accelerator.wire import Job
    from edge.engine import Engine, Layout


class Task(Record, frozen=True, kw_only=True):
    """What the accelerator is to compute, and how it is known to compute it rightly."""

    model: bytes
    job: Job
    layout: Layout
    """The CPU's."""
    accept: Callable[[Engine], object]
    """Raises an exception if an engine does not give what the bundle expects."""


class Limits(Record, frozen=True, kw_only=True):
    """How long things may take."""

    deadline: float
    """Seconds for one canvas, the CPU's help included."""
    opening: float = 60.0
    """Seconds until a worker has the model open; the slowest known, with firmware to load, takes 10."""
    ending: float = 10.0
    """Seconds for a killed process to be gone; one that is not is held by a driver."""
    examining: float = 60.0
    """Seconds between two looks whether it still computes the same: each costs one canvas."""
    pace: Pace = Pace()
