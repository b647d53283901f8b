"""The model that speed is measured with: MobileNetV2 1.0 at 224 pixels, int8, random weights.

Speed does not depend on what the weights are, so none from outside are needed. `python bundles.py OUT` builds it
(TensorFlow stays in that process); `mobilenet` keeps it in the user's cache until training's code changes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.contract.bundle import Label

PROJECT = Path(__file__).resolve().parent.parent.parent
MADE_BY = (
    "training/network/model.py",
    "training/network/backbones.py",
    "training/int8/quantize.py",
    "tests/benchmarks/bundles.py",
)
SIZE = 224
LABELS = ("good", "crack", "chip", "wear", "scratch", "dent")
CALIBRATION_PICTURES = 12


def mobilenet() -> Path:
    """Return the bundle's folder, building it if this code has not made it before."""
    digest = hashlib.sha256(b"".join((PROJECT / name).read_bytes() for name in MADE_BY)).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    bundle = cache / "edge-inspect" / f"mobilenet-{digest[:12]}"
    if not bundle.is_dir():
        print("building the model to measure with, once ...", file=sys.stderr)
        subprocess.run([sys.executable, __file__, str(bundle)], cwd=PROJECT, check=True)
    return bundle


def build(out: Path) -> None:
    """Build the network, convert it as training does, and write a bundle."""
    from edge.contract.bundle import MODEL, Dataset, Label, Manifest, write

    labels = tuple(Label(name=name, verdict="PASS" if name == "good" else "DEFECT") for name in LABELS)
    manifest = Manifest(
        name="speed of MobileNetV2 1.0-224",
        created=datetime.now(UTC),
        code_version="benchmark",
        labels=labels,
        dataset=Dataset(sha256=64 * "0", pictures=CALIBRATION_PICTURES, seed=0),
        metrics={},
    )
    write(out, manifest, {MODEL: _convert(labels)})


def _convert(labels: tuple[Label, ...]) -> bytes:
    from training import backend

    backend.start(seed=0)
    import numpy as np

    from training.data import dataset
    from training.int8 import quantize
    from training.network import model
    from training.recipe import Model, Recipe

    pixels = np.random.default_rng(0).integers(0, 256, (CALIBRATION_PICTURES, SIZE, SIZE, 3), np.uint8)
    sources = tuple(
        dataset.Source(str(n), n % len(LABELS), load=lambda: pixels[0]) for n in range(CALIBRATION_PICTURES)
    )
    pictures = dataset.Dataset(labels, sources, pixels, digests=tuple(map(str, range(CALIBRATION_PICTURES))))
    network = model.build(len(LABELS), Recipe(model=Model(height=SIZE, width=SIZE, alpha=1.0)), weights=None)
    return quantize.quantize(network, pictures, seed=0)


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    build(Path(sys.argv[1]))
