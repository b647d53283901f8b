"""What a camera is to the rest of the daemon: something that yields frames until it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge.contract.preprocess import ChannelOrder, Pixels


class Frame(Record, frozen=True):
    """One exposure. `pixels` is uint8 [h, w] or [h, w, 3] in `order` and belongs to the receiver."""

    number: int
    """Counts from 1 in each camera's life; a gap is a frame that the camera itself lost."""
    source: str
    """Where it came from: a file's path in its folder, or the frame's number."""
    exposed: float
    """time.monotonic() seconds of the exposure (for a file: of its reading)."""
    pixels: Pixels
    """What is judged."""
    order: ChannelOrder = "RGB"
    larger: Callable[[], Pixels] | None = None
    """Gives the same view of the same exposure with more pixels, in the same order; None: there is none."""

    def picture(self) -> Pixels:
        """Return what to keep of it: the larger picture, where there is one. It belongs to the receiver.

        Raises CameraError if the camera cannot give it any more.
        """
        return self.pixels if self.larger is None else self.larger()


class BadFrame(Record, frozen=True):
    """A frame that was due but cannot be judged, such as a damaged picture: it ends as UNKNOWN."""

    number: int
    source: str
    exposed: float
    reason: str


class Camera(Protocol):
    """A source of frames, opened on creation (CameraError if it is not there)."""

    keeps_pace: bool
    """False: the newest frame wins. True: it waits until each frame is taken, none is dropped."""
    live: bool
    """True: it shows what is before it now. False: what it shows was there before, so the first frame can wait."""

    def frames(self) -> Iterator[Frame | BadFrame | None]:
        """Yield frames at the camera's own rate; ends with the last one. Raises CameraError if it fails.

        None: there is no frame, nor need there be one, but the camera is well.
        """

    def close(self) -> None:
        """Stop and release the camera from any thread: a waiting `frames` ends soon after. Idempotent."""
