"""How the logits of a region's places become one logit a class: part of contract 3, declared in the bundle.

The graph itself gives each tile's mean. Any other pooling is computed from its `logit_map` output, so that the
graph, and what an accelerator runs of it, stays the same. Places are those of all tiles together.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]


class _Kind(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """One way to pool."""


class Mean(_Kind, frozen=True, kw_only=True, tag="mean"):
    """The average over all places: robust, but damage on a small share of the places vanishes in it."""


class TopK(_Kind, frozen=True, kw_only=True, tag="top-k"):
    """The average over each class's highest places: a share of 1 is the mean, a tiny one the maximum."""

    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    """Of all places, those of all tiles together; at least one place counts."""


class LogSumExp(_Kind, frozen=True, kw_only=True, tag="log-sum-exp"):
    """log(mean(exp(sharpness * x))) / sharpness: towards 0 the mean, towards infinity the maximum.

    Source: Pinheiro and Collobert, From image-level to pixel-level labeling with convolutional networks (2015),
    where the sharpness is called r.
    """

    sharpness: Annotated[float, msgspec.Meta(ge=0.01, le=100)] = 1.0
    """Places whose logit is several times 1 / sharpness below the highest hardly count."""


Pooling: TypeAlias = Mean | TopK | LogSumExp


def pool(logits: Floats, pooling: Pooling) -> Floats:
    """Pool logits by place, float32 [..., places, n] with at least one place, to float32 [..., n].

    The order of the places does not matter. One place alone is returned as it is.
    """
    places = logits.shape[-2]
    if places == 1:
        return logits[..., 0, :]
    match pooling:
        case Mean():
            return _mean(logits)
        case TopK(share=share):
            lowest = places - top_count(places, share)
            return _mean(np.partition(logits, lowest, axis=-2)[..., lowest:, :])
        case LogSumExp(sharpness=sharpness):
            highest = logits.max(axis=-2, keepdims=True)  # Taken out first: exp of a large logit is infinite.
            mean = _mean(np.exp(np.float32(sharpness) * (logits - highest)))
            result: Floats = highest[..., 0, :] + np.log(mean) / np.float32(sharpness)
            return result


def _mean(values: Floats) -> Floats:
    # Ten thousand float32 values added one by one lose three digits.
    result: Floats = values.mean(axis=-2, dtype=np.float64).astype(np.float32)
    return result


def top_count(places: int, share: float) -> int:
    """Return how many of so many places TopK averages, 1 to `places`."""
    return max(1, round(share * places))
