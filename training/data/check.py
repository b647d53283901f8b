"""Looks through a labelled set for what would spoil a model, or flatter its report. Pure: pictures in, findings out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.data.clusters import linked, united
from training.data.duplicates import near_pairs
from training.data.findings import Finding, Item, counted, in_order
from training.data.label_errors import FOLDS, NEIGHBOURS, Suspects, confident_errors, odd_neighbours, probabilities
from training.data.split import SHARES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.data.dataset import Dataset, Integers
    from training.data.findings import Level
    from training.data.label_errors import Floats

_FEW = 20
"""Pictures of a class below which figures about it mean little: one of four in the test part is 25%."""
_IMBALANCE = 5
"""Times that the largest class has the pictures of the smallest; from there on recall of the small one suffers."""
_WEAK = 0.6
"""Balanced accuracy of the probe below which its suspicions are not worth much."""
_GOOD = 0.9
"""Likewise, from which on most suspicions are right: at 94% 98% were, at 81% only 39%."""
LEAKING = 0.02
"""Share of the pictures with a sibling from which on a random split flatters noticeably."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relations:
    """Which rows belong together: each int64 [n], the number of the row's cluster."""

    equal: Integers
    near: Integers
    """Equal or nearly so."""
    siblings: Integers
    """Nearly equal, or of one group by --group-by."""


def relations(data: Dataset, groups: Sequence[str] | None = None) -> Relations:
    """Find out which pictures belong together; `groups` has a key for each row."""
    equal = united(data.digests)
    near = united(equal.tolist(), linked(len(equal), near_pairs(data.pixels)).tolist())
    return Relations(equal=equal, near=near, siblings=near if groups is None else united(near.tolist(), list(groups)))


def check(data: Dataset, related: Relations, vectors: Floats, *, group_by: str = "none") -> list[Finding]:
    """Return all findings about pictures that could be read, except those about their files.

    `vectors` are float32 [n, d], in which alike pictures are near.
    """
    return in_order(
        [
            *_copies(data, related),
            *_leaks(data, related, group_by),
            *_labels(data, related, vectors),
            *_classes(data, related),
        ]
    )


def suspects_of(
    data: Dataset, related: Relations, vectors: Floats, *, seed: int = 0
) -> tuple[Suspects, Suspects, float]:
    """Return suspected label errors, pictures among other neighbours, and the probe's balanced accuracy, 0-1.

    Classes of fewer groups than the probe has folds are left out: it learns too little of them.
    """
    truth = data.truth
    counts = np.zeros((related.siblings.max() + 1, len(data.labels)), np.int64)
    np.add.at(counts, (related.siblings, truth), 1)
    usable = np.flatnonzero((counts > 0).sum(axis=0) >= FOLDS)
    rows = np.flatnonzero(np.isin(truth, usable))
    none = Suspects(np.empty(0, np.int64), np.empty(0, np.int64))
    if len(usable) < 2:  # noqa: PLR2004 - a choice
        return none, none, 0.0
    mine = np.searchsorted(usable, truth[rows])
    group = np.unique(related.siblings[rows], return_inverse=True)[1].reshape(-1)
    said = probabilities(vectors[rows], mine, group, seed=seed)
    recall = [float((said[mine == label].argmax(axis=1) == label).mean()) for label in range(len(usable))]
    errors, odd = confident_errors(said, mine), odd_neighbours(vectors[rows], mine, group)
    errors, odd = (Suspects(rows[found.rows], usable[found.suggested]) for found in (errors, odd))
    return errors, odd, float(np.mean(recall))


def typical(data: Dataset, vectors: Floats, count: int) -> dict[str, tuple[str, ...]]:
    """Name the pictures of each class that are nearest to its mean."""
    found = {}
    for index, label in enumerate(data.labels):
        rows = np.flatnonzero(data.truth == index)
        distance = np.linalg.norm(vectors[rows] - vectors[rows].mean(axis=0), axis=1)
        found[label.name] = _names(data, rows[np.argsort(distance, kind="stable")[:count]])
    return found


def _names(data: Dataset, rows: Integers) -> tuple[str, ...]:
    return tuple(data.sources[row].name for row in rows)


def _clusters(cluster: Integers) -> Iterator[Integers]:
    """Yield the rows of each cluster of more than one, the largest first."""
    order = np.argsort(cluster, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1)
    yield from sorted((rows for rows in runs if len(rows) > 1), key=len, reverse=True)


_COPIES: dict[tuple[bool, bool], tuple[Level, str, str, str]] = {
    (True, True): (
        "error",
        "two-labels",
        "the same pixels under two labels",
        "keep each picture in the class that it belongs to; build refuses them",
    ),
    (False, True): (
        "warning",
        "near-two-labels",
        "nearly the same picture under two labels",
        "look at them: the same part before and after its damage is right, anything else is a wrong label",
    ),
    (False, False): (
        "note",
        "near-copies",
        "nearly the same picture: one exposure saved again, or a burst",
        "build with --group-by near-duplicate, so that they stay in one part of the split",
    ),
    (True, False): ("note", "copies", "exact copies", "build keeps them together; they add nothing, so remove them"),
}


def _copies(data: Dataset, related: Relations) -> Iterator[Finding]:
    """Report equal and nearly equal pictures, those under two labels apart."""
    groups: dict[tuple[bool, bool], list[Item]] = defaultdict(list)
    for equal, cluster in ((True, related.equal), (False, related.near)):
        for rows in _clusters(cluster):
            if equal or len(set(related.equal[rows].tolist())) > 1:
                groups[equal, len(set(data.truth[rows].tolist())) > 1].append(Item(_names(data, rows)))
    for which, (level, kind, what, remedy) in _COPIES.items():
        if items := groups[which]:
            count = sum(len(item.names) for item in items)
            text = f"{count} pictures in {counted(len(items), 'group')}: {what}"
            yield Finding(level=level, kind=kind, text=text, remedy=remedy, items=tuple(items))


def _classes(data: Dataset, related: Relations) -> Iterator[Finding]:
    counts = data.counts()
    groups = {name: len(set(related.siblings[data.truth == index].tolist())) for index, name in enumerate(counts)}
    if short := {name: have for name, have in groups.items() if have < len(SHARES)}:
        listed = ", ".join(f"{name} ({have})" for name, have in short.items())
        yield Finding(
            level="error",
            kind="too-few",
            text=f"too few distinct parts to divide ({len(SHARES)} are needed): {listed}",
            remedy="photograph more parts of them; build refuses a class that is not in every part of the split",
        )
    if few := {name: have for name, have in counts.items() if have < _FEW and name not in short}:
        listed = ", ".join(f"{name} ({have})" for name, have in few.items())
        yield Finding(
            level="warning",
            kind="few",
            text=f"fewer than {_FEW} pictures: {listed}",
            remedy="photograph more: the test part holds a fifth, and a figure from three pictures says little",
        )
    small, large = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[large] >= _IMBALANCE * counts[small]:
        yield Finding(
            level="warning",
            kind="imbalance",
            text=f"{large} has {counts[large] / counts[small]:.0f} times the pictures of {small}",
            remedy="training weighs rare classes more (loss.class_balance of the recipe); more pictures help more",
        )


def _labels(data: Dataset, related: Relations, vectors: Floats) -> Iterator[Finding]:
    errors, odd, recall = suspects_of(data, related, vectors)
    odd = odd.without(errors.rows)
    if recall < _WEAK:
        weak = f"a linear probe on these features is right on only {recall:.0%} of a class on average"
        few = f"it takes two classes of at least {FOLDS} distinct parts each"
        yield Finding(
            level="note",
            kind="labels-unchecked",
            text=f"labels could not be checked: {weak if recall else few}",
            remedy="compare by the pretrained network (--weights imagenet or a file), or add pictures",
        )
        return
    doubt = f"; the probe is right on {recall:.0%} only: many of these labels may be right" if recall < _GOOD else ""
    for suspects, kind, thing, why in (
        (errors, "label-errors", "suspected wrong label", ": a probe that never saw the picture says otherwise"),
        (
            odd,
            "odd-neighbours",
            "picture",
            f" unlike the rest of the class: most of the {NEIGHBOURS} nearest are of one other",
        ),
    ):
        if len(suspects.rows):
            pairs = zip(_names(data, suspects.rows), suspects.suggested, strict=True)
            yield Finding(
                level="warning",
                kind=kind,
                text=f"{counted(len(suspects.rows), thing)}{why}{doubt}",
                remedy="look at them (--out), and move what is wrong to its class",
                items=tuple(Item((name,), data.labels[other].name) for name, other in pairs),
            )


def _leaks(data: Dataset, related: Relations, group_by: str) -> Iterator[Finding]:
    """Say whether a split that knows of no groups would test on what was learnt."""
    different = [rows for rows in _clusters(related.siblings) if len(set(related.equal[rows].tolist())) > 1]
    share = sum(map(len, different)) / len(data.sources)
    if share >= LEAKING:
        rule = group_by if group_by != "none" else "near-duplicate"
        yield Finding(
            level="warning",
            kind="leak",
            text=f"a random split would leak: {share:.0%} of the pictures have a sibling that it may put elsewhere",
            remedy=f"build with --group-by {rule}, or the report will promise too much",
        )
