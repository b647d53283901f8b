"""What a person turns lens and lamp by: histogram, focus with its recent best, frames per second. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from edge.guard.measures import LUMA
from edge.record import Record

if TYPE_CHECKING:
    from edge.contract.preprocess import ChannelOrder, Pixels

BINS = 64
"""Of the histogram, of four levels each."""
_LONGEST = 640
"""Pixels of the longer side that are counted; single ones, because an average is never clipped."""
_GREY = 2
"""Axes of a picture without colour."""
BEST_SECONDS = 60.0
"""Long enough to turn a lens through its whole range, short enough to begin anew with another part."""
RATE_SECONDS = 3.0

ChannelName: TypeAlias = Literal["luma", "red", "green", "blue"]


class Channel(Record, frozen=True):
    """The levels of one channel of a frame."""

    name: ChannelName
    mean: float
    """0-255."""
    low: float
    """The share of pixels, 0-1, at level 0: what is darker is lost."""
    high: float
    """The share of pixels, 0-1, at level 255: what is brighter is lost."""
    bins: tuple[float, ...]
    """The shares of pixels, 0-1, in BINS equal steps of levels; they sum to 1."""


class Focus(Record, frozen=True):
    """A sharpness as edge.guard.measures has it, and the best of the last BEST_SECONDS."""

    value: float
    best: float


def channels(pixels: Pixels, order: ChannelOrder) -> list[Channel]:
    """Count the levels of a frame, uint8 [h, w], [h, w, 1] or [h, w, 3] in `order`: luma first, then its colours."""
    step = -(-max(pixels.shape[:2]) // _LONGEST)
    sample = pixels[::step, ::step]
    if sample.ndim == _GREY or sample.shape[2] == 1:
        return [_channel("luma", sample)]
    luma = np.rint(sample @ np.array(LUMA[order], np.float32)).astype(np.uint8)
    colours = [sample[..., index] for index in range(3)]
    red, green, blue = colours if order == "RGB" else reversed(colours)
    return [_channel("luma", luma), _channel("red", red), _channel("green", green), _channel("blue", blue)]


def _channel(name: ChannelName, levels: Pixels) -> Channel:
    shares = np.bincount(levels.ravel(), minlength=256) / levels.size
    bins = shares.reshape(BINS, -1).sum(axis=1)
    return Channel(name, float(levels.mean()), float(shares[0]), float(shares[-1]), tuple(bins.tolist()))


class FocusMeter:
    """Follows the sharpness of one camera's frames."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque()
        """Since when, by time.monotonic(), nothing later was sharper; the sharpest first."""

    def add(self, now: float, value: float) -> Focus:
        """Add a frame's sharpness; `now` is in seconds, and never goes back."""
        while self._recent and self._recent[0][0] <= now - BEST_SECONDS:
            self._recent.popleft()
        while self._recent and self._recent[-1][1] <= value:
            self._recent.pop()
        self._recent.append((now, value))
        return Focus(value, self._recent[0][1])


class RateMeter:
    """Turns a count of frames into frames per second."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()

    def add(self, now: float, count: int) -> float:
        """Add how many frames there were until `now`, in seconds; returns the rate of the last RATE_SECONDS."""
        self._counts.append((now, count))
        while self._counts[0][0] < now - RATE_SECONDS:
            self._counts.popleft()
        since, before = self._counts[0]
        return (count - before) / (now - since) if now > since else 0.0
