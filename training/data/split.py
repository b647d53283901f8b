"""Divides a data set into what trains, what chooses and what judges, so that nothing leaks between them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.data.dataset import Dataset

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2


class Parts(NamedTuple):
    """`train` teaches, `validation` chooses between models, `test` is seen by nobody until the report."""

    train: Dataset
    validation: Dataset
    test: Dataset


def divide(data: Dataset, test: Dataset | None, *, seed: int) -> Parts:
    """Split each class by the shares above, or only off a validation part if there is a `test` set already.

    Equal pictures stay together. Raises DataError for a picture under two labels, a picture in both sets,
    or a class with fewer distinct pictures than there are parts.
    """
    groups = _groups(data)
    if test is not None:
        _groups(test)
        _refuse_shared(data, test)
    shares = [VALIDATION_SHARE] if test is not None else [TEST_SHARE, VALIDATION_SHARE]
    rng = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in range(len(shares) + 1)]
    for label, name in enumerate(data.counts()):
        mine = [rows for rows in groups.values() if data.sources[rows[0]].label == label]
        _require_enough(mine, name, len(parts))
        order = [mine[i] for i in rng.permutation(len(mine))]
        for part, rows in zip(parts, _deal(order, shares), strict=True):
            part.extend(rows)
    held, *rest = [data.take(np.array(sorted(part))) for part in parts]
    return Parts(rest[0], held, test) if test is not None else Parts(rest[1], rest[0], held)


def _deal(groups: Sequence[list[int]], shares: Sequence[float]) -> list[list[int]]:
    """Deal shuffled groups: a hand for each share, at least one group each, then the rest, never empty."""
    total = sum(len(rows) for rows in groups)
    hands: list[list[int]] = []
    left = list(groups)
    for waiting, share in zip(range(len(shares), 0, -1), shares, strict=True):
        hand = list(left.pop())
        while len(left) > waiting and len(hand) + len(left[-1]) <= round(share * total):
            hand += left.pop()
        hands.append(hand)
    return [*hands, [row for rows in left for row in rows]]


def _groups(data: Dataset) -> Mapping[str, list[int]]:
    """Return the rows of each distinct picture by digest; raises DataError for one under two labels."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(data.digests):
        groups[digest].append(row)
    for rows in groups.values():
        first = data.sources[rows[0]]
        other = next((data.sources[row] for row in rows if data.sources[row].label != first.label), None)
        if other is not None:
            raise DataError(f"{first.name} and {other.name} are the same picture under two labels; remove one")
    return groups


def _refuse_shared(data: Dataset, test: Dataset) -> None:
    names = {digest: source.name for source, digest in zip(data.sources, data.digests, strict=True)}
    shared = [(names[d], s.name) for s, d in zip(test.sources, test.digests, strict=True) if d in names]
    if shared:
        mine, theirs = shared[0]
        raise DataError(
            f"{len(shared)} test pictures are also in --data, the first {theirs} as {mine}: "
            "a test on pictures that were learnt proves nothing; remove them from one"
        )


def _require_enough(groups: Sequence[list[int]], name: str, parts: int) -> None:
    if len(groups) < parts:
        use = "train, validate and test" if parts == 3 else "train and validate"  # noqa: PLR2004
        raise DataError(f"class {name} has {len(groups)} distinct pictures; it takes at least {parts} to {use}")
