"""From a trained network to an int8 model that is trusted: quantize, compare, retrain if it lost too much.

Retraining takes one to three minutes on two cores. It must help where the gate refuses, for a gross loss or one that
chance does not explain. Where the gate cannot tell a smaller loss from chance it is tried too if it is not that small
(`Gate.suspect`), and kept only if it is better: the plain model is the one that was trained, and needs no reason to
stay. What either model is compared on is the gate's own pictures, so that the test part stays unseen.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from edge.classifier import Classifier
from edge.errors import InspectError, RuntimeUnavailableError
from edge.sections.runtime import Runtime
from training import backend
from training.evaluation.evaluate import int8_logits
from training.int8 import engines, flatbuffer, gate, qat, quantize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.classifier import Floats
    from edge.contract.bundle import Bundle
    from training.data.dataset import Dataset, Integers
    from training.int8.engines import Engine, Engines
    from training.int8.flatbuffer import Finding
    from training.int8.gate import Gate
    from training.network.model import Network
    from training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An int8 model, and what it cost on every runtime that runs here."""

    model: bytes
    gates: Mapping[Engine, Gate]
    """What int8 cost, on each runtime."""
    candidates: int = 1
    """From how many models these pictures chose."""
    before: Mapping[Engine, Gate] | None = None
    """What the first try had cost, where the model is the retrained one."""
    disagreements: tuple[str, ...] = ()
    """Which runtime sees other classes than LiteRT, and in how many pictures."""
    left_out: tuple[str, ...] = ()
    """Which runtime is installed but judged nothing, and why."""
    attempt: str | None = None
    """What came of retraining for a loss that may be chance; None: it was not tried for that."""
    edge_tpu: tuple[Finding, ...] = ()
    """What keeps layers of the model off the Edge TPU."""

    @property
    def passed(self) -> bool:
        """Whether every runtime's gate passed."""
        return all(found.passed for found in self.gates.values())

    @property
    def mean_recall(self) -> float:
        """See `Gate.mean_recall`, of the runtime that does worst."""
        return min(found.mean_recall for found in self.gates.values())

    @property
    def warnings(self) -> list[str]:
        """What whoever trusts the model should know: a sentence for each."""
        told = []
        if refused := [found.refused[0] for found in (self.before or {}).values() if found.refused]:
            worst = f"{refused[0].name}: {refused[0]}"
            told.append(f"At first int8 cost too much recall ({worst}); retrained with int8's rounding.")
        told += [*gate.doubts(self.gates), *([self.attempt] if self.attempt else [])]
        told += [*self.disagreements, *self.left_out]
        if self.edge_tpu:
            told.append(
                f"{len(self.edge_tpu)} places of the model would keep an Edge TPU from running it whole, the first: "
                f"{self.edge_tpu[0]}. Devices without one do not mind; edge-train compile tells more."
            )
        return told

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json."""
        return {
            "retrained": self.before is not None,
            "gates": {engine: found.plain() for engine, found in self.gates.items()},
            "before_retraining": {engine: found.plain() for engine, found in (self.before or {}).items()},
            "attempt": self.attempt,
            "disagreements": list(self.disagreements),
            "edge_tpu": [str(finding) for finding in self.edge_tpu],
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """What the two models are compared on: pictures that no training saw, and none of the test part."""

    pictures: Dataset
    logits: Floats
    """The float network's, pooled as the bundle says, [n, classes]."""
    draft: Callable[[bytes], Bundle]
    """Makes the bundle of a model, as far as it is known, for the device's classifier."""
    engines: Engines
    """The runtimes to compare on."""
    part: Integers | None = None
    """Which pictures show the same part, int64 [n]; None: each another one."""
    allow_drop: float = gate.ALLOWED_DROP


def export(network: Network, data: Dataset, held: Held, recipe: Recipe, *, seed: int) -> Exported:
    """Quantize with ranges measured on `data`; if a class of `held` lost too much, retrain on `data`, and say so.

    Where it may have lost much, the better of both. Raises BundleError, one line with the worst class and the
    remedies, if what lost too much is not mended by that, and what `quantize` and `qat.retrain` raise.
    """

    def retrained() -> Exported:
        """Retrain with int8's rounding, and judge what comes of it."""
        model = qat.retrain(
            network,
            quantize.one_tile_each(data.pixels, network, recipe.preprocess.tiles, seed),
            # A picture's class is no tile's class, and the mean of the map is not what another pooling looks at.
            data.truth if recipe.is_whole else None,
            augmentation=recipe.augmentation,
            seed=seed,
        )
        return replace(_judge(model, held), before=first.gates)

    first = _judge(quantize.quantize(network, data, seed=seed, tiles=recipe.preprocess.tiles), held)
    if not first.passed:
        return _mended(first, retrained)
    return _better(first, retrained) if any(found.suspect for found in first.gates.values()) else first


def _mended(first: Exported, retrained: Callable[[], Exported]) -> Exported:
    """Return the retrained model, which must pass where the first one was refused."""
    _tell(first, "int8 costs too much")
    try:
        qat.require()
    except RuntimeUnavailableError as error:
        gate.require(first.gates, also=f" (not retrained: {error})")
    second = retrained()
    gate.require(second.gates, also=", retrained for it too,")
    return replace(second, candidates=2)


def _better(first: Exported, retrained: Callable[[], Exported]) -> Exported:
    """Return the retrained model if it passes with more recall, and otherwise the first, saying what came of it."""
    _tell(first, "int8 may cost much")
    try:
        second = retrained()
    except (InspectError, MemoryError) as error:  # What passed is good enough to go without.
        reason = str(error) if isinstance(error, InspectError) else f"not enough memory ({error})"
        return replace(first, attempt=f"It was not retrained for that: {reason}.")
    before, after = f"{first.mean_recall:.1%}", f"{second.mean_recall:.1%}"
    if second.passed and second.mean_recall > first.mean_recall:
        told, better = f"Retrained with int8's rounding: mean recall {after}, {before} before.", second
    else:
        told, better = f"Retraining with int8's rounding did not help: mean recall {after} after {before}.", first
    return replace(better, candidates=2, attempt=told)


def _tell(found: Exported, what: str) -> None:
    """Show what every class lost on the runtime that is worst off, before minutes go by."""
    worst = min(found.gates.values(), key=lambda one: (one.passed, one.mean_recall))
    print(f"{what}: retraining with int8's rounding", *worst.table(), sep="\n", file=sys.stderr)


def _judge(model: bytes, held: Held) -> Exported:
    bundle, pictures = held.draft(model), held.pictures
    found = {engine: _logits(bundle, pictures, engine) for engine in held.engines.working}
    compare = partial(gate.compare, labels=pictures.labels, part=held.part, allow_drop=held.allow_drop)
    gates = {engine: compare(pictures.truth, held.logits, logits) for engine, logits in found.items()}
    others = tuple(engines.disagreements(found, allow_drop=held.allow_drop))
    off = tuple(finding for finding in flatbuffer.inspect(model) if finding.severity == "edge-tpu")
    return Exported(model=model, gates=gates, disagreements=others, left_out=held.engines.left_out, edge_tpu=off)


def _logits(bundle: Bundle, pictures: Dataset, engine: Engine) -> Floats:
    with backend.quiet():
        classifier = Classifier(bundle, Runtime(engine=engine))
    return int8_logits(classifier, pictures, f"judging with {engine}")
