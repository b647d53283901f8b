"""Random draws that are the same on every machine, and picture noise made of them.

Only a bit generator's raw stream is used: numpy keeps it stable from version to version, which it does not
promise of Generator's methods. Arrays are only added, multiplied, divided, rooted and compared: IEEE 754
rounds these alike everywhere, where exp and sin differ from processor to processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats: TypeAlias = npt.NDArray[np.float32]
Item = TypeVar("Item")

_WORD = 1 << 64
_MANTISSA_STEP = 2.0**-53
"""A double in [0, 1) has 53 bits: the upper ones of a raw 64-bit word."""


class Dice:
    """One stream of draws for part (seed, index); streams of different numbers are independent.

    Arrays come from a stream of their own, so that a larger picture shows the same part.
    """

    def __init__(self, seed: int, index: int, stream: int) -> None:
        # Philox turns (key, counter) into words directly: part one million costs no more than part one.
        key = seed % _WORD << 64 | index
        self._bits = np.random.Philox(key=key, counter=2 * stream << 192)
        self._array_bits = np.random.Philox(key=key, counter=2 * stream + 1 << 192)

    def uniform(self, low: float, high: float) -> float:
        """Draw from [low, high)."""
        return low + (high - low) * ((self._bits.random_raw() >> 11) * _MANTISSA_STEP)

    def chance(self, probability: float) -> bool:
        """Draw True with a probability, 0-1."""
        return self.uniform(0, 1) < probability

    def pick(self, items: Sequence[Item]) -> Item:
        """Draw one of the items, all alike."""
        return items[int(self.uniform(0, len(items)))]

    def triangular(self, *shape: int) -> Floats:
        """Draw an array from the triangular distribution on (-1, 1), whose deviation is 1/sqrt(6)."""
        count = int(np.prod(shape))
        pairs = self._array_bits.random_raw((count + 3) // 4).view(np.uint8)[: 2 * count].reshape(2, *shape)
        total: Floats = np.add(pairs[0], pairs[1], dtype=np.uint16).astype(np.float32)
        total -= 255
        total *= 1 / 255
        return total


def smooth_noise(dice: Dice, shape: tuple[int, ...], cell: float) -> Floats:
    """Return value noise, float32 [height, width] within (-1, 1); `cell` is its grain in short sides."""
    height, width = shape
    pitch = max(cell * min(height, width), 1.0)
    rows, row_share = _knots(height, pitch)
    columns, column_share = _knots(width, pitch)
    knots = dice.triangular(int(rows[-1]) + 2, int(columns[-1]) + 2)
    lines = knots[rows] + row_share[:, np.newaxis] * (knots[rows + 1] - knots[rows])
    left = lines.take(columns, axis=1)
    field: Floats = lines.take(columns + 1, axis=1)
    field -= left
    field *= column_share
    field += left
    return field


def _knots(length: int, pitch: float) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return each pixel's knot before it and how far it is on the way to the next, eased at both ends."""
    place = np.arange(length, dtype=np.float32) * (1 / pitch)
    knot = place.astype(np.intp)
    share: Floats = place - knot.astype(np.float32)
    return knot, share * share * (3 - 2 * share)
