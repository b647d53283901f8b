"""What a split that tears pictures of the same part apart would have made of the report's figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.check import relations
from training.data.clusters import united
from training.data.label_errors import probabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.classifier import Floats
    from training.data.dataset import Dataset, Integers

_LEAKING = 0.02
"""Share of the pictures with a sibling from which on it is worth a word."""
_FEWEST = 5
"""Groups of the smallest class: the probe has as many folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """How much a random split flatters: the same probe, cross-validated over both kinds of split."""

    share: float
    """Of the pictures that have a sibling, 0-1."""
    by_group: float
    """Accuracy of the probe where siblings stay together, 0-1."""
    at_random: float
    """Its accuracy where they do not, 0-1."""
    kept_together: bool
    """Whether this build kept siblings together."""

    @property
    def text(self) -> str:
        """What a reader of the report should know."""
        figures = (
            f"{self.share:.0%} of the pictures have a sibling of the same part. A probe on the same features gets "
            f"{self.by_group:.1%} right where siblings stay together and {self.at_random:.1%} where a random split "
            "tears them apart"
        )
        if self.kept_together:
            return f"{figures}: here they stayed together, so that the figures are not flattered."
        return f"{figures}: the figures here may be flattered; build again with --group-by."

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json."""
        return asdict(self)


def find(data: Dataset, groups: Sequence[str] | None, embed: Callable[[], Floats], *, seed: int) -> Leakage | None:
    """Compare both kinds of split on vectors float32 [n, d]; None where next to no picture has a sibling.

    Siblings are the pictures of one of `groups`, or without groups near duplicates. None too if a class has too
    few groups to be cross-validated. `embed` gives the vectors if they are needed.
    """
    related = relations(data)
    cluster = related.near if groups is None else united(related.equal.tolist(), list(groups))
    share = float((np.bincount(cluster)[cluster] > 1).mean())
    if share < _LEAKING or _fewest_groups(data, cluster) < _FEWEST:
        return None
    alone, vectors = np.arange(len(cluster)), embed()
    by_group, at_random = (_accuracy(data, vectors, each, seed) for each in (cluster, alone))
    return Leakage(share=share, by_group=by_group, at_random=at_random, kept_together=groups is not None)


def _fewest_groups(data: Dataset, cluster: Integers) -> int:
    return min(len(np.unique(cluster[data.truth == label])) for label in range(len(data.labels)))


def _accuracy(data: Dataset, vectors: Floats, group: Integers, seed: int) -> float:
    said = probabilities(vectors, data.truth, group, seed=seed)
    return float((said.argmax(axis=1) == data.truth).mean())
