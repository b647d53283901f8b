"""How the logit map of a region becomes one logit a class: part of contract 3, declared in the bundle.

The graph itself gives the mean. Any other pooling is computed from its `logit_map` output, so that the graph,
and what an accelerator runs of it, stays the same.
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
    """The average over the highest places of each class."""

    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    """Of all places; at least one place counts."""


class LogSumExp(_Kind, frozen=True, kw_only=True, tag="log-sum-exp"):
    """log(mean(exp(sharpness * x))) / sharpness: towards 0 the mean, towards infinity the maximum.

    Source: Pinheiro and Collobert, From image-level to pixel-level labeling (2015), equation 6.
    """

    sharpness: Annotated[float, msgspec.Meta(ge=0.01, le=100)] = 1.0


Pooling: TypeAlias = Mean | TopK | LogSumExp


def pool(logits: Floats, pooling: Pooling) -> Floats:
    """Pool logits by place, float32 [..., places, n] with at least one place, to float32 [..., n]."""
    match pooling:
        case TopK(share=share):
            count = top_count(logits.shape[-2], share)
            highest = np.partition(logits, logits.shape[-2] - count, axis=-2)[..., -count:, :]
            return _mean(highest)
        case LogSumExp(sharpness=sharpness):
            scaled = logits * np.float32(sharpness)
            most = scaled.max(axis=-2, keepdims=True)
            result: Floats = (np.log(_mean(np.exp(scaled - most))) + most[..., 0, :]) / np.float32(sharpness)
            return result
    return _mean(logits)


def _mean(values: Floats) -> Floats:
    result: Floats = values.mean(axis=-2, dtype=np.float32)
    return result


def top_count(places: int, share: float) -> int:
    """Return how many of so many places TopK averages, 1 to `places`."""
    return max(1, round(share * places))
