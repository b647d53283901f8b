"""Deals groups of pictures to parts so that each part gets nearly its share of every class."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.data.dataset import Integers

Floats: TypeAlias = npt.NDArray[np.float64]

FREE = -1
"""The part of a group that is not dealt yet."""
_ATTEMPTS = 20
"""Shufflings before a class is given up that some part lacks: only groups of several classes need a second one."""
_EMPTY = 1e4
"""What a class that a part lacks costs: more than any deviation of all its classes."""
_GAIN = 1e-9
"""Below it a move is rounding noise."""


def deal(
    counts: Integers, shares: Sequence[float], *, rng: np.random.Generator, fixed: Integers | None = None
) -> Integers:
    """Choose a part for each group: int64 [groups], an index of `shares`.

    `counts` is int64 [groups, classes], the pictures of each class in each group; `shares` are those of the parts
    and sum to 1. `fixed` holds the part of each group that has one already, and FREE.
    Groups are dealt largest first, each to where it brings the shares nearest (chi-square, every class the same);
    then single groups move as long as that gains. A part lacks a class only if no way was found to give it one.
    """
    dealt = np.full(len(counts), FREE) if fixed is None else fixed
    target = np.outer(shares, counts.sum(axis=0)).clip(1e-12)
    for _ in range(_ATTEMPTS):
        result = _improve(_greedy(counts, target, dealt, rng), counts, target, dealt == FREE)
        if (tally(counts, result, len(shares)) > 0).all():
            break
    return result


def tally(counts: Integers, dealt: Integers, parts: int) -> Integers:
    """Count the pictures of each class in each part, int64 [parts, classes]; FREE groups count nowhere."""
    return np.stack([counts[dealt == part].sum(axis=0) for part in range(parts)])


def _greedy(counts: Integers, target: Floats, dealt: Integers, rng: np.random.Generator) -> Integers:
    result = dealt.copy()
    have = tally(counts, dealt, len(target)).astype(float)
    now = _cost(have, target)
    shuffled = rng.permutation(len(counts))
    for group in shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]:
        if dealt[group] == FREE:
            then = _cost(have + counts[group], target)
            part = int(np.argmin(then - now))
            result[group] = part
            have[part] += counts[group]
            now[part] = then[part]
    return result


def _improve(result: Integers, counts: Integers, target: Floats, free: npt.NDArray[np.bool_]) -> Integers:
    """Make the single move that gains most, again and again."""
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    groups = np.arange(len(counts))
    have = tally(counts, result, len(target)).astype(float)
    while True:
        now = _cost(have, target)
        gain_from = now - _cost(have - kinds[:, np.newaxis], target)  # [kinds, parts]
        loss_to = _cost(have + kinds[:, np.newaxis], target) - now
        gains = gain_from[kind, result][:, np.newaxis] - loss_to[kind]
        gains[groups, result] = 0
        gains[~free] = 0
        group, part = np.unravel_index(np.argmax(gains), gains.shape)
        if gains[group, part] < _GAIN:
            return result
        have[result[group]] -= counts[group]
        have[part] += counts[group]
        result[group] = part


def _cost(have: Floats, target: Floats) -> Floats:
    """Return what is wrong with each part, [..., parts], for pictures [..., parts, classes]."""
    total = target.sum(axis=0)
    wrong = (have - target) ** 2 / (target * total)
    return np.asarray((wrong + _EMPTY * (have < 1 / 2)).sum(axis=-1))
