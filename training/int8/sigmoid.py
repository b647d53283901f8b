"""A probability of a class from its logit alone: what a tool that knows no softmax can apply.

The same sigmoid for all classes: it keeps their order, so the class with the highest logit stays first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge.classifier import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Sigmoid:
    """P(class) = 1 / (1 + exp(-(slope * logit + offset))); the slope is not below 0."""

    slope: float
    offset: float


def fit(logits: Floats, truth: npt.NDArray[np.int64]) -> Sigmoid:
    """Fit one sigmoid to "is it this class?" over all classes of logits [n, classes], truth [n], n > 0.

    Maximum likelihood with Platt's softened targets (Probabilistic outputs for support vector machines, 1999,
    section 2.2), without which separable pictures would ask for an infinite slope. The pictures must not be those
    that the model learned from.
    """
    from scipy.optimize import minimize

    is_class = np.arange(logits.shape[1]) == truth[:, np.newaxis]
    yes, no = int(is_class.sum()), int((~is_class).sum())
    target = np.where(is_class, (yes + 1) / (yes + 2), 1 / (no + 2))
    values = logits.astype(np.float64)

    def loss(parameters: npt.NDArray[np.float64]) -> float:
        z = parameters[0] * values + parameters[1]
        return float(np.mean(np.logaddexp(0, z) - target * z))

    found = minimize(loss, np.array([1.0, np.log(yes / no)]), bounds=[(0, None), (None, None)], method="L-BFGS-B")
    return Sigmoid(slope=float(found.x[0]), offset=float(found.x[1]))
