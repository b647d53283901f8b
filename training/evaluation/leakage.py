"""What a split that tears pictures of the same part apart would have made of the report's figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from training.data.check import LEAKING
from training.data.label_errors import probabilities

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.classifier import Floats
    from training.data.dataset import Integers

_FEWEST = 5
"""Groups of the smallest class: the probe has as many folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """How much a random split flatters: the same probe, cross-validated over both kinds of split."""

    share: float
    """Of the pictures that have a sibling, 0-1."""
    torn: float
    """Of the test pictures that have a sibling in another part, 0-1."""
    kept_together: bool
    """Whether no two siblings lie in two parts of this build, test pictures of their own among them."""
    by_group: float | None
    """Accuracy of the probe where siblings stay together, 0-1; None: a class has too few groups for it."""
    at_random: float | None
    """Its accuracy where they do not, 0-1; None likewise."""

    @property
    def text(self) -> str:
        """What a reader of the report should know."""
        figures = f"{self.share:.1%} of the pictures have a sibling: one of the same group, or one nearly alike."
        if self.by_group is not None and self.at_random is not None:
            figures += (
                f" A probe on the same features gets {self.by_group:.1%} right where siblings stay together and "
                f"{self.at_random:.1%} where a random split tears them apart."
            )
        if self.kept_together:
            return f"{figures} Here all of these stayed together, so that they do not flatter the figures."
        return (
            f"{figures} Here some were torn apart, and {self.torn:.1%} of the test pictures have a sibling in another "
            "part: the figures may be flattered; build again with a --group-by that keeps them together, and without "
            "--split-of."
        )

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json."""
        return asdict(self)


def find(
    truth: Integers, part: Integers, siblings: Integers, embed: Callable[[], Floats], *, seed: int
) -> Leakage | None:
    """Compare both kinds of split, and look where siblings lie; None where less than LEAKING of them has one.

    Of all pictures that were divided and the test pictures, `truth` is int64 [n], the class of each, `part` int64 [n]
    the part of each, the highest being the test part, and `siblings` int64 [n], the cluster of each, from 0: of one
    group by the rule, or nearly alike. `embed` gives vectors float32 [n, d] of them if they are needed.
    """
    elsewhere = _elsewhere(siblings, part)
    share, torn = float((np.bincount(siblings)[siblings] > 1).mean()), float(elsewhere[part == part.max()].mean())
    if max(share, torn) < LEAKING:
        return None
    by_group = at_random = None
    if _fewest_groups(truth, siblings) >= _FEWEST:
        alone, vectors = np.arange(len(siblings)), embed()
        by_group, at_random = (_accuracy(truth, vectors, each, seed) for each in (siblings, alone))
    return Leakage(share=share, torn=torn, kept_together=not elsewhere.any(), by_group=by_group, at_random=at_random)


def _elsewhere(cluster: Integers, part: Integers) -> npt.NDArray[np.bool_]:
    """Say of each picture whether a sibling lies in another part."""
    places = np.zeros((cluster.max() + 1, part.max() + 1), np.bool_)
    places[cluster, part] = True
    return np.asarray(places.sum(axis=1)[cluster] > 1)


def _fewest_groups(truth: Integers, cluster: Integers) -> int:
    return min(len(np.unique(cluster[truth == label])) for label in np.unique(truth))


def _accuracy(truth: Integers, vectors: Floats, group: Integers, seed: int) -> float:
    said = probabilities(vectors, truth, group, seed=seed)
    return float((said.argmax(axis=1) == truth).mean())
