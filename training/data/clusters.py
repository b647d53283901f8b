"""Joins rows that belong together, directly or through others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from training.data.dataset import Integers


def linked(count: int, pairs: Integers) -> Integers:
    """Return the cluster, from 0, of each of `count` rows that `pairs` int64 [pairs, 2] link: int64 [count]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def united(*relations: Sequence[Hashable]) -> Integers:
    """Return the cluster, from 0, of each row: those that share a key in any relation, which has one a row."""
    pairs = []
    for keys in relations:
        first: dict[Hashable, int] = {}
        pairs += [(first.setdefault(key, row), row) for row, key in enumerate(keys)]
    return linked(len(relations[0]), np.array(pairs, np.int64).reshape(-1, 2))
