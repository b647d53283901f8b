"""A quantization-hostile layer in a network trained on NEU-DET: what the gate sees, and what retraining mends.

python tests/benchmarks/hostile_layer.py [--side 96] [--retrain 32 1500 4096]        (needs INSPECT_TEST_DATA)

The input of a depthwise layer is made 5,000 times smaller in all channels but one, and its weights larger in return.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import limits
import numpy as np
from builds import NEU, weights
from limits import Line

from edge.runtime import open_interpreter
from edge.sections.runtime import Runtime
from training import backend
from training.data import dataset, split
from training.keys import identity_of, key_of
from training.recipe import Model, Recipe

LAYER = "block_4"
SHRUNK = 2e-4


def spoil(network: Any) -> None:
    """Make the layer hostile; float predictions hardly change."""
    norm, depth = (network.trunk.get_layer(f"{LAYER}_{what}") for what in ("expand_BN", "depthwise"))
    factor = np.full(norm.gamma.shape[0], SHRUNK, np.float32)
    factor[int(np.argmin(np.abs(depth.kernel.numpy()).sum(axis=(0, 1, 3))))] = 1
    norm.gamma.assign(norm.gamma * factor)
    norm.beta.assign(norm.beta * factor)
    depth.kernel.assign(depth.kernel / factor[:, np.newaxis])


def int8_logits(model: bytes, pixels: Any) -> Any:
    """Run an int8 model on pictures."""
    interpreter = open_interpreter(model, Runtime()).interpreter
    out, given = interpreter.get_output_details()[-1], interpreter.get_input_details()[0]["index"]
    scale, zero = out["quantization"]
    found = []
    for picture in pixels:
        interpreter.set_tensor(given, (picture ^ np.uint8(128)).view(np.int8)[np.newaxis])
        interpreter.invoke()
        found.append(scale * (interpreter.get_tensor(out["index"])[0].astype(np.float32) - zero))
    return np.array(found, np.float32)


def main() -> int:
    """Train once, then print the gate's table of each way to int8."""
    parser = limits.parser(__doc__)
    parser.add_argument("--side", type=int, default=96, help="pixels of the model's input (default 96)")
    parser.add_argument("--retrain", type=int, nargs="*", metavar="N", help="pictures that retraining for int8 sees")
    arguments = parser.parse_args()
    backend.start(1)
    from training.int8 import qat

    judge = _trained(arguments.side)
    counts = (32, 1_500, qat.PICTURES) if arguments.retrain is None else arguments.retrain
    lines = []
    for title in ("as trained", "with a hostile layer"):
        hostile = title == "with a hostile layer"
        if hostile:
            spoil(judge.network)
        found, passed = judge.quantized()
        # What the gate says of the network as it is depends on how small it was made, and is for comparison.
        limit, met = ("refused", not passed) if hostile else ("", None)
        lines.append(Line(f"{title}: quantized", found, limit, met))
        lines += [Line(f"{title}: retrained on {count} pictures", judge.retrained(count)[0]) for count in counts]
    return limits.show(f"The gate and a hostile {LAYER}, {arguments.side}x{arguments.side} pixels", lines)


def _trained(side: int) -> _Judge:
    from training.network import model
    from training.network.checkpoint import Run
    from training.network.train import Trainer

    recipe = Recipe(model=Model(alpha=0.35, height=side, width=side))
    labels = dataset.folder_labels(NEU, [])
    sources = dataset.folder_sources(NEU, labels)
    data = dataset.read(labels, sources, canvas=recipe.canvas, spec=recipe.preprocess)
    parts = split.divide(data, None, seed=1)
    network = model.build(len(labels), recipe, str(weights(0.35)))
    run = Run(key_of(parts.train.sha256, parts.validation.sha256, recipe.plain(), 1, identity_of(str(weights(0.35)))))
    Trainer(network, parts, recipe, seed=1, run=run).on_features()
    run.finish()
    return _Judge(network, parts, recipe)


class _Judge:
    """Makes int8 models of a network and lets the gate compare them with it."""

    def __init__(self, network: Any, parts: split.Parts, recipe: Recipe) -> None:
        self.network, self._parts, self._recipe = network, parts, recipe

    def quantized(self) -> tuple[str, bool]:
        """Quantize; returns what the gate says in words, and whether it passed."""
        from training.int8 import quantize

        started = time.monotonic()
        return self._judge(quantize.quantize(self.network, self._parts.train, seed=1), started)

    def retrained(self, pictures: int) -> tuple[str, bool]:
        """Retrain with int8's rounding on so many pictures."""
        from training.int8 import qat

        train, started = self._parts.train, time.monotonic()
        augmentation = self._recipe.augmentation
        found = qat.retrain(
            self.network, train.pixels, train.truth, augmentation=augmentation, seed=1, pictures=pictures
        )
        return self._judge(found, started)

    def _judge(self, found: bytes, started: float) -> tuple[str, bool]:
        from training.int8 import gate
        from training.network import model

        seconds, held = time.monotonic() - started, self._parts.test
        before = self.network.whole(model.normalise(held.pixels), training=False)["logits"].numpy()
        after = int8_logits(found, held.pixels)
        result = gate.compare(held.truth, before, after, held.labels)
        print("\n".join(result.table()), flush=True)
        right = [float(np.mean(one.argmax(axis=1) == held.truth)) for one in (before, after)]
        verdict = "passed" if result.passed else "refused"
        off = float(np.abs(after - before).mean())
        return (
            f"{verdict}, float {right[0]:.2%}, int8 {right[1]:.2%}, logits off by {off:.3f}, {seconds:.0f} s",
            result.passed,
        )


if __name__ == "__main__":
    sys.exit(main())
