"""What a trigger is to the rest of the daemon: it asks for a verdict, and gets a frame, or why there is none."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.camera.base import BadFrame, Frame

PAUSED = "paused by command"
"""Why what was triggered in a pause, or right before it, is not judged."""


class Shot(Record, frozen=True):
    """What is to be judged: a trigger, and its frame; a BadFrame, with the reason, where none came in time."""

    trigger: str
    """Its name: no other of this start of the daemon has it."""
    frame: Frame | BadFrame
    deadline: float = inf
    """time.monotonic() seconds by which its verdict counts; later it is UNKNOWN."""
    is_optional: bool = False
    """Whether it needs no verdict where there is no part: something moved, which may have been one that left."""
    boot_id: str = ""
    """Of the start of the daemon in which it was fired; empty: of this one."""


class Trigger(Protocol):
    """Says when a part is to be judged. One thread calls it."""

    @property
    def ended(self) -> bool:
        """Whether nothing is to be judged any more: the camera has no more frames."""

    def next(self, timeout: float) -> Shot | None:
        """Return what is to be judged next, waiting at most `timeout` seconds; None: nothing yet.

        Raises CameraError where the camera failed for good.
        """

    def leave(self, timeout: float) -> Shot | None:
        """Have nothing judged for `timeout` seconds, while the device is paused; returns what needs a verdict anyway.

        Raises CameraError as `next`.
        """

    def rest(self, timeout: float) -> Shot | None:
        """Have nothing judged for `timeout` seconds, while the device cools; returns what is past its deadline.

        Raises CameraError as `next`.
        """

    def wake(self) -> None:
        """Have `next` return soon, where it would wait: somebody asks for something. Any thread may."""

    def give_up(self, reason: str) -> Iterator[Shot]:
        """Yield what was not judged yet and never will be, for this reason."""
