"""A quantization-hostile layer in a network trained on NEU-DET: what the gate sees, and what retraining mends.

python tests/benchmarks/hostile_layer.py [SIDE]        (needs INSPECT_TEST_DATA; default 96 pixels)

The input of a depthwise layer is made 5,000 times smaller in all channels but one, and its weights larger in return.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from builds import DATA

from edge.config import Runtime
from edge.contract.preprocess import PreprocessSpec
from edge.runtime import open_interpreter
from training import backend
from training.data import dataset, split

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


def main() -> None:
    """Train once, then print the gate's table of each way to int8."""
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 96
    folder = DATA / "datasets" / "neu-det"
    labels = dataset.folder_labels(folder, [])
    sources = dataset.folder_sources(folder, labels)
    data = dataset.read(labels, sources, canvas=(side, side), spec=PreprocessSpec())
    parts = split.divide(data, None, seed=1)
    backend.start(1)
    from training.int8 import gate, qat, quantize
    from training.network import model, train
    from training.recipe import Model, Recipe

    recipe = Recipe(model=Model(alpha=0.35, height=side, width=side))
    network = model.build(len(labels), recipe, str(DATA / "weights" / "mobilenet_v2_0.35_224_no_top.weights.h5"))
    train.train(network, parts, pretrained=True, recipe=recipe, seed=1)
    held = parts.test

    def judge(title: str, found: bytes, seconds: float) -> None:
        before = network.whole(model.normalise(held.pixels), training=False)["logits"].numpy()
        after = int8_logits(found, held.pixels)
        result = gate.compare(held.truth, before, after, labels)
        right = [float(np.mean(one.argmax(axis=1) == held.truth)) for one in (before, after)]
        off = float(np.abs(after - before).mean())
        verdict = "passed" if result.passed else "refused"
        print(
            f"\n{title}: {verdict}, float {right[0]:.2%}, int8 {right[1]:.2%}, logits off by {off:.3f}, {seconds:.0f} s"
        )
        print("\n".join(result.table()), flush=True)

    for title, hostile in (("as trained", False), ("with a hostile layer", True)):
        if hostile:
            spoil(network)
        started = time.monotonic()
        judge(f"{title}, quantized", quantize.quantize(network, parts.train, seed=1), time.monotonic() - started)
        for pictures in (32, 1_500, qat.PICTURES):
            started = time.monotonic()
            found = qat.retrain(
                network,
                parts.train.pixels,
                parts.train.truth,
                augmentation=recipe.augmentation,
                seed=1,
                pictures=pictures,
            )
            judge(f"{title}, retrained on {pictures}", found, time.monotonic() - started)


if __name__ == "__main__":
    main()
