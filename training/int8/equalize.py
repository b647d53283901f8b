"""Evens out the channels' ranges between two convolutions, which leaves the float network as it was.

One step for all channels of an activation is what int8 has: a channel that spans a thousandth of another's range
is lost in it. Between two convolutions a channel can be made larger by s and the weights that read it smaller by s
(Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1), here with
ranges measured on pictures, so that ReLU6 allows it too as long as nothing new reaches 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.classifier import Floats
    from training.int8.plan import Arrays, Node, Plan

_CONVOLUTIONS = ("conv", "depthwise")
_SIX = 6.0
_MOST = 1e6
"""Beyond this factor a channel is as good as silent, and is left alone."""


def equalize(plan: Plan, arrays: Arrays, ranges: Mapping[str, Floats]) -> Arrays:
    """Return weights under which every channel uses as much of its activation's range as the next layer can bear.

    `ranges` gives each node's largest absolute value by channel, float32 [c], on typical pictures.
    """
    result = dict(arrays)
    for before, after in _pairs(plan):
        factors = _factors(before, after, result[f"{after.name}/kernel"], ranges[before.name])
        kernel = result[f"{before.name}/kernel"]
        result[f"{before.name}/kernel"] = kernel * (factors[:, np.newaxis] if before.kind == "depthwise" else factors)
        result[f"{before.name}/bias"] = result[f"{before.name}/bias"] * factors
        result[f"{after.name}/kernel"] = result[f"{after.name}/kernel"] / factors[:, np.newaxis]
    return result


def _pairs(plan: Plan) -> Iterator[tuple[Node, Node]]:
    """Yield convolutions whose result only one other convolution reads, in the plan's order."""
    for node in plan.nodes:
        if node.kind not in _CONVOLUTIONS:
            continue
        reader, outputs = node, set(plan.outputs.values())
        while reader is node or reader.kind == "pad":
            readers = plan.consumers(reader.name)
            if len(readers) != 1 or reader.name in outputs:
                break
            reader = readers[0]
        if reader is not node and reader.kind in _CONVOLUTIONS:
            yield node, reader


def _factors(before: Node, after: Node, kernel: Floats, found: Floats) -> Floats:
    """Return what to multiply each channel by: at least 1, at most until it spans what the widest one does."""
    widest = max(float(found.max()), 1e-12)
    room = widest / np.maximum(found, widest / _MOST)
    if after.kind == "depthwise":
        # Its weights have a step for each channel: they do not mind at all.
        wanted = room
    else:
        # As large beside the widest channel as its weights are: then both sides' rounding counts the same.
        weight = np.maximum(np.abs(kernel).max(axis=(0, 1, 3)), 1e-12)
        share = np.sqrt(weight / np.maximum(found, widest / _MOST))
        wanted = np.clip(share / share[found.argmax()], 1, room)
    silent = found < widest / _MOST
    if before.activation == "relu6":
        silent = silent | (found >= _SIX * (1 - 1e-4))
    return np.where(silent, 1, wanted).astype(np.float32)
