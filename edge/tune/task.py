"""What a process is to measure, as the one that starts it says it."""

from __future__ import annotations

from edge.contract.preprocess import Rotation  # noqa: TC001 - msgspec reads it
from edge.record import Record
from edge.sections.runtime import Runtime  # noqa: TC001 - msgspec reads it


class Task(Record, frozen=True, kw_only=True):
    """What to measure."""

    bundle: str
    trusted_keys: tuple[str, ...]
    runtime: Runtime
    size: tuple[int, int]
    """The camera's (height, width)."""
    rotate: Rotation
    """Degrees clockwise, by which a frame is turned."""
    areas: tuple[tuple[float, float, float, float], ...]
    """The regions of a frame: x, y, width, height."""
    seconds: float
    state: str
    """A folder that remembers which models were probed."""
