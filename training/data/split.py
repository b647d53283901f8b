"""Divides a data set into what trains, what chooses, what calibrates and what judges: nothing leaks between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge.errors import DataError
from training.data.clusters import united
from training.data.deal import deal, tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from training.data.dataset import Dataset, Integers

SHARES = {"train": 0.6, "validation": 0.1, "calibration": 0.1, "test": 0.2}
"""Of each class's pictures; with test pictures of their own, `train` gets the share of `test` too."""


class Parts(NamedTuple):
    """`train` teaches, `validation` chooses epochs and models, `calibration` fits temperature and thresholds.

    `test` is seen by nobody until the report.
    """

    train: Dataset
    validation: Dataset
    calibration: Dataset
    test: Dataset


def divide(
    data: Dataset,
    test: Dataset | None = None,
    *,
    seed: int,
    groups: Sequence[str] | None = None,
    test_groups: Sequence[str] | None = None,
) -> Parts:
    """Split each class by SHARES, or into all but a test part if there is a `test` set already.

    `groups` has one key for each row of `data`, `test_groups` for each of `test`: pictures of one key go to the
    same part, whatever their classes, as do equal pictures. The same seed gives the same parts in any order of rows.
    Raises DataError for a picture under two labels, a picture or a group in both sets, or a class
    with too few groups to be in each part.
    """
    require_sound(data, test, groups, test_groups)
    names = [name for name in SHARES if test is None or name != "test"]
    parts = dict(zip(names, _cut(data, shares_of(names), group_rows(data, groups), names, seed), strict=True))
    return Parts(**parts) if test is None else Parts(**parts, test=test)


def fold(data: Dataset, number: int, count: int, *, seed: int, groups: Sequence[str] | None = None) -> Parts:
    """Return split `number`, from 1, of `count` >= 2 whose test parts together are the whole set.

    A test part is 1 / `count` of every class; what it leaves is divided as `divide` does with test pictures of their
    own. Raises DataError as `divide` does.
    """
    require_sound(data)
    united_rows = group_rows(data, groups)
    names = [f"fold {each}" for each in range(1, count + 1)]
    dealt = _deal_rows(data, [1 / count] * count, united_rows, names, seed) + 1
    rest, test = np.flatnonzero(dealt != number), np.flatnonzero(dealt == number)
    return divide(data.take(rest), data.take(test), seed=seed, groups=[str(each) for each in united_rows[rest]])


def hold_out(data: Dataset, share: float, *, seed: int, groups: Sequence[str] | None = None) -> npt.NDArray[np.bool_]:
    """Return which rows to hold out, bool [n]: that share of each class, by group.

    Raises DataError as `divide` does.
    """
    names = ["what is learnt from", "what is held out"]
    held: npt.NDArray[np.bool_] = _deal_rows(data, [1 - share, share], group_rows(data, groups), names, seed) == 1
    return held


def sample(truth: Integers, most: int, *, seed: int) -> Integers:
    """Return at most so many rows of int64 [n], in order, of each class about as many."""
    order = np.random.default_rng(seed).permutation(len(truth))
    place = np.empty(len(order), np.int64)
    for label in np.unique(truth):
        mine = np.flatnonzero(truth[order] == label)
        place[mine] = np.arange(len(mine))
    return np.sort(order[np.argsort(place, kind="stable")[:most]])


def shares_of(names: Sequence[str]) -> list[float]:
    """Return the share of each of these parts; `train` has what the others leave."""
    others = sum(SHARES[name] for name in names if name != "train")
    return [1 - others if name == "train" else SHARES[name] for name in names]


def group_rows(data: Dataset, groups: Sequence[str] | None) -> Integers:
    """Return the group of each row, int64 [n]: one for rows that share a key or show equal pictures."""
    if groups is not None and len(groups) != len(data.sources):
        raise ValueError(f"{len(groups)} group keys for {len(data.sources)} pictures")
    return united(data.digests) if groups is None else united(data.digests, groups)


def in_order(data: Dataset, group: Integers) -> tuple[Integers, Integers]:
    """Put groups in the order of their first names, so that the order of rows says nothing.

    Returns the group of each row, int64 [n], and the pictures of each class in each group, int64 [groups, classes].
    """
    names = [source.name for source in data.sources]
    first: dict[int, int] = {}
    for row in sorted(range(len(names)), key=names.__getitem__):
        first.setdefault(int(group[row]), len(first))
    ordered = np.array([first[int(number)] for number in group], np.int64)
    counts = np.zeros((len(first), len(data.labels)), np.int64)
    np.add.at(counts, (ordered, data.truth), 1)
    return ordered, counts


def require_sound(
    data: Dataset,
    test: Dataset | None = None,
    groups: Sequence[str] | None = None,
    test_groups: Sequence[str] | None = None,
) -> None:
    """Raise DataError for a picture under two labels, and for a picture or a group that is in both sets."""
    _refuse_two_labels(data)
    if test is not None:
        _refuse_two_labels(test)
        _refuse_shared("pictures are", (data, data.digests), (test, test.digests))
        if groups is not None and test_groups is not None:
            _refuse_shared("pictures show parts that are", (data, groups), (test, test_groups))


def require_all(data: Dataset, counts: Integers, have: Integers, parts: Sequence[str]) -> None:
    """Raise DataError, naming the class and the remedy, unless every part has pictures of every class.

    `counts` is int64 [groups, classes]; `have` [parts, classes].
    """
    for part, index in np.argwhere(have == 0):
        name, groups = data.labels[index].name, int((counts[:, index] > 0).sum())
        remedy = "photograph more parts of it, or group by less"
        if groups < len(parts):
            raise DataError(
                f"class {name} has {groups} distinct pictures or groups of them; it takes at least {len(parts)}, "
                f"one each for {_listed(parts)}: {remedy}"
            )
        raise DataError(
            f"class {name} is missing from {parts[part]}: its {groups} groups cannot be dealt to "
            f"{_listed(parts)} together with the other classes that they hold: {remedy}"
        )


def _cut(data: Dataset, shares: Sequence[float], group: Integers, names: Sequence[str], seed: int) -> list[Dataset]:
    dealt = _deal_rows(data, shares, group, names, seed)
    return [data.take(np.flatnonzero(dealt == part)) for part in range(len(shares))]


def _deal_rows(data: Dataset, shares: Sequence[float], group: Integers, names: Sequence[str], seed: int) -> Integers:
    """Return the part of each row."""
    ordered, counts = in_order(data, group)
    dealt = deal(counts, shares, rng=np.random.default_rng(seed))
    require_all(data, counts, tally(counts, dealt, len(shares)), names)
    return dealt[ordered]


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _refuse_two_labels(data: Dataset) -> None:
    first: dict[str, int] = {}
    for row, digest in enumerate(data.digests):
        one, other = data.sources[first.setdefault(digest, row)], data.sources[row]
        if one.label != other.label:
            raise DataError(f"{one.name} and {other.name} are the same picture under two labels; remove one")


def _refuse_shared(what: str, mine: tuple[Dataset, Sequence[str]], theirs: tuple[Dataset, Sequence[str]]) -> None:
    """Compare two sets by a key of each row."""
    names = {key: source.name for source, key in zip(mine[0].sources, mine[1], strict=True)}
    shared = [(names[key], s.name) for s, key in zip(theirs[0].sources, theirs[1], strict=True) if key in names]
    if shared:
        raise DataError(
            f"{len(shared)} test {what} also in --data, the first {shared[0][1]} as {shared[0][0]}: "
            "a test on what was learnt proves nothing; remove them from one"
        )
