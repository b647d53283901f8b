"""From a trained network to an int8 model that is trusted: quantize, compare, retrain if it lost too much."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.errors import RuntimeUnavailableError
from training.int8 import gate, qat, quantize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.classifier import Floats
    from edge.contract.bundle import Bundle
    from training.data.dataset import Dataset
    from training.int8.gate import Engine, Gate
    from training.network.model import Network
    from training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An int8 model that passed the gate on every runtime here."""

    model: bytes
    gates: Mapping[Engine, Gate]
    """What int8 cost, on each runtime."""
    refused: Mapping[Engine, Gate] | None
    """Where the first try was refused: what that had cost; the model is then the retrained one."""
    disagreements: tuple[str, ...]
    """Which runtime sees other classes than LiteRT, and in how many pictures."""

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json."""
        return {
            "retrained": self.refused is not None,
            "gates": {engine: found.plain() for engine, found in self.gates.items()},
            "before_retraining": {engine: found.plain() for engine, found in (self.refused or {}).items()},
            "disagreements": list(self.disagreements),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """What the two models are compared on: pictures that no training saw, and none of the test part."""

    pictures: Dataset
    logits: Floats
    """The float network's, pooled as the bundle says, [n, classes]."""
    draft: Callable[[bytes], Bundle]
    """Makes the bundle of a model, as far as it is known, for the device's classifier."""
    allow_drop: float = gate.ALLOWED_DROP


def export(network: Network, data: Dataset, held: Held, recipe: Recipe, *, seed: int) -> Exported:
    """Quantize with ranges measured on `data`; if a class of `held` lost too much, retrain on `data`, and say so.

    Raises BundleError, one line with the worst class and the remedies, if that does not help either, and
    what `quantize` and `qat.retrain` raise.
    """
    model = quantize.quantize(network, data, seed=seed, tiles=recipe.preprocess.tiles)
    first = _judge(model, held)
    if all(found.passed for found in first.gates.values()):
        return first
    worst = next(found.refused[0] for found in first.gates.values() if found.refused)
    print(f"int8 costs {worst.name} too much ({worst}): retraining with int8's rounding", file=sys.stderr)
    try:
        qat.require()
    except RuntimeUnavailableError as error:
        gate.require(first.gates, also=f" (not retrained: {error})")
    model = qat.retrain(
        network,
        quantize.one_tile_each(data.pixels, network, recipe.preprocess.tiles, seed),
        # A picture's class is no tile's class, and the mean of the map is not what another pooling looks at.
        data.truth if recipe.is_whole else None,
        augmentation=recipe.augmentation,
        seed=seed,
    )
    second = _judge(model, held)
    gate.require(second.gates, also=", retrained for it too,")
    return Exported(model=model, gates=second.gates, refused=first.gates, disagreements=second.disagreements)


def _judge(model: bytes, held: Held) -> Exported:
    bundle, pictures = held.draft(model), held.pictures
    found = {engine: gate.int8_logits(bundle, pictures.pixels, engine) for engine in gate.engines()}
    gates = {
        engine: gate.compare(pictures.truth, held.logits, logits, pictures.labels, allow_drop=held.allow_drop)
        for engine, logits in found.items()
    }
    others = tuple(gate.disagreements(found, allow_drop=held.allow_drop))
    return Exported(model=model, gates=gates, refused=None, disagreements=others)
