"""Temperature scaling: one number that makes a model's scores mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edge.classifier import Floats
    from training.data.dataset import Integers
    from training.evaluation.statistics import Doubles

RANGE = (0.01, 100.0)
"""What a manifest's temperature may be."""


def temperature(logits: Floats, truth: Integers) -> float:
    """Return the temperature, within RANGE, under which softmax(logits / temperature) fits `truth` best.

    `logits` float32 [n, classes], of the int8 model on pictures that taught it nothing; `truth` int64 [n], class
    indices. It minimises the mean negative log-likelihood (Guo et al., On calibration of modern neural networks,
    2017), which is convex in 1 / temperature.

    Where a model makes no mistake, the likelihood alone would drive the temperature to 0 and every score to 1.
    So, as Platt (Probabilistic outputs for support vector machines, 1999) does, the truth counts (n + 1) / (n + 2),
    Laplace's rule of succession: the mistake not yet seen, 1 / (n + 2), is one with the likeliest other class. All
    n pictures are evidence for the one number, so n is not the class's own. Raises ValueError without pictures or
    for logits that are not finite.
    """
    if not len(logits) or not np.isfinite(logits).all():
        raise ValueError(f"{len(logits)} pictures' logits: there must be some, all finite, to fit a temperature to")
    from scipy.optimize import minimize_scalar

    margins = _margins(logits, truth)
    low, high = np.log(RANGE)
    found = minimize_scalar(lambda x: _loss(margins, float(np.exp(x))), bounds=(low, high), method="bounded")
    best = float(f"{np.exp(found.x):.6g}")  # People read it in the manifest.
    # Equal logits fit as well under any temperature: then none is needed.
    return best if _loss(margins, best) < _loss(margins, 1.0) else 1.0


def _margins(logits: Floats, truth: Integers) -> tuple[Doubles, Doubles]:
    """Return each logit minus the true class's, [n, classes], and the likeliest other class's among them, [n]."""
    rows = np.arange(len(truth))
    wide = logits.astype(np.float64)
    margins = wide - wide[rows, truth][:, np.newaxis]
    others = margins.copy()
    others[rows, truth] = -np.inf
    return margins, others.max(axis=1)


def _loss(margins: tuple[Doubles, Doubles], temperature: float) -> float:
    """Return the smoothed mean negative log-likelihood in nats."""
    every, rival = margins
    highest = every.max(axis=1)
    partition = highest / temperature + np.log(np.exp((every - highest[:, np.newaxis]) / temperature).sum(axis=1))
    unseen = 1 / (len(every) + 2)
    return float((partition - unseen * rival / temperature).mean())
