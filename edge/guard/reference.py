"""How a picture lies to a reference picture: how far it moved, and how like it is then. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edge.guard.measures import halved
from edge.record import Record

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge.guard.measures import Floats

_BELIEVED = 7.0
"""Standard deviations from which a peak is taken for a shift; that of noise is the highest of thousands, at 4 to 5."""
_BELL = 1.0
"""Pixels: the standard deviation of the correlation's peak. Finer detail than that is mostly noise."""
_PHASELESS = 1e-6
"""Of the strongest frequency's size: a frequency below it has no phase to speak of."""
_TINY = 1e-9


class Placement(Record, frozen=True):
    """Where a picture lies, compared with the reference."""

    dx: float
    """How far its content lies to the right, in fractions of the frame's width; 0 where that is not known."""
    dy: float
    """How far its content lies below, in fractions of the frame's height; 0 where that is not known."""
    confidence: float
    """The height of the correlation's peak: 1 for the reference itself, about 0 for another scene."""
    likeness: float
    """How its large features correlate with the reference's, moved back: 1 for the same, 0 and less for another."""
    known: bool
    """Whether the confidence is that of a shift, not of chance."""


class Reference:
    """A picture to compare others of its size with: luma, float32 [h, w]."""

    def __init__(self, picture: Floats) -> None:
        self._picture = picture
        self._believed = _BELIEVED * _BELL * math.sqrt(2 * math.pi / picture.size)
        """The confidence from which a shift is taken for one: 0.15 for the 160 x 90 pixels of a 16:9 frame.

        The weights' sum of squares by the square of their sum, pi _BELL^2 / size, is the variance of a correlation of
        complex noise; that of real pictures has twice as much.
        """
        rows, columns = (np.hanning(length + 2)[1:-1] for length in picture.shape)
        self._window = np.outer(rows, columns).astype(np.float32)
        self._spectrum = np.conj(self._transformed(picture))
        self._weights = _bell(picture.shape)

    def place(self, picture: Floats) -> Placement:
        """Compare a picture of the same size."""
        dx, dy, confidence = self._shift(picture)
        known = confidence >= self._believed
        if not known:
            dx = dy = 0.0
        height, width = self._picture.shape
        likeness = self._likeness(picture, round(dx), round(dy))
        return Placement(dx / width, dy / height, confidence, likeness, known)

    def _shift(self, picture: Floats) -> tuple[float, float, float]:
        """Return how far the content lies to the right and below, in pixels, and the peak's height.

        Phase correlation (Kuglin and Hines, 1975), with the frequencies weighted so that the peak is a Gaussian bell
        of known width, whose top three pixels' logarithms give exactly.
        """
        cross = self._transformed(picture) * self._spectrum
        size = np.abs(cross)
        cross *= self._weights / np.maximum(size, max(float(size.max()) * _PHASELESS, _TINY))
        surface = np.fft.irfft2(cross, self._picture.shape)
        row, column = divmod(int(surface.argmax()), surface.shape[1])
        across = column + _top(surface[row].take((column - 1, column, column + 1), mode="wrap"))
        down = row + _top(surface[:, column].take((row - 1, row, row + 1), mode="wrap"))
        height, width = surface.shape
        return _around_zero(across, width), _around_zero(down, height), float(surface[row, column])

    def _likeness(self, picture: Floats, dx: int, dy: int) -> float:
        """Return Pearson's correlation of both where they overlap, by blocks of 4 x 4 pixels: no finish, no noise."""
        height, width = picture.shape
        before = self._picture[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
        now = picture[max(0, dy) : height - max(0, -dy), max(0, dx) : width - max(0, -dx)]
        before, now = halved(halved(before)), halved(halved(now))
        before, now = before - before.mean(), now - now.mean()
        return float((before * now).sum() / np.sqrt(max((before * before).sum() * (now * now).sum(), _TINY)))

    def _transformed(self, picture: Floats) -> npt.NDArray[np.complexfloating]:
        return np.fft.rfft2((picture - picture.mean()) * self._window)


def _bell(shape: tuple[int, int]) -> Floats:
    """Return the frequencies' weights that make the correlation of a picture with itself a bell of height 1."""
    rows, columns = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    weights = np.exp(-2 * (np.pi * _BELL) ** 2 * (rows[:, np.newaxis] ** 2 + columns**2))
    bell: Floats = (weights / np.fft.irfft2(weights, shape).max()).astype(np.float32)
    return bell


def _top(three: npt.NDArray[np.floating]) -> float:
    """Return where a bell through three neighbours has its top, in pixels from the middle one."""
    left, middle, right = np.log(np.maximum(three, _TINY))
    bend = left - 2 * middle + right
    return float((left - right) / (2 * bend)) if bend < 0 else 0.0


def _around_zero(place: float, length: int) -> float:
    """Return a place on a circle of this length as one from minus to plus half of it."""
    return place - length if place > length / 2 else place
