"""How many pictures a training step may take, so that it does not outgrow the machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_BYTES = 1 << 30
"""That a step's layers may give in all. 83 pictures of 128 pixels or 27 of 224 take this much in MobileNetV2 0.35."""
_FLOAT = 4


def at_once(parts: Sequence[Any], shapes: Sequence[tuple[int, ...]], most: int | None = None) -> int:
    """Return how many pictures' values, all of which the gradient needs, fit into `most` bytes or 1 GiB: 1 at least.

    `shapes` are those of one picture's inputs, [tiles, h, w, c] each. A part of any height and width, such as a head,
    counts with what goes into it.
    """
    outputs = [layer.output.shape[1:] for part in parts for layer in getattr(part, "layers", ())]
    whole = sum(math.prod(shape) for shape in outputs if None not in shape)
    values: int = 2 * sum(map(math.prod, shapes)) + shapes[0][0] * whole
    return max(1, (most or _BYTES) // (_FLOAT * values))
