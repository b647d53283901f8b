"""What the accelerator's process costs: time a frame beside the same model in this process, and memory.

python tests/benchmarks/accelerator.py        (needs a C compiler: a stand-in takes the Edge TPU's place)

The stand-in passes the pixels on and LiteRT computes the rest in both, so that the
difference is the way there and back.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))

from accelerators import Standin, bundle, children, compile_standin, engine, line

from edge.classifier import Classifier
from edge.contract.preprocess import PreprocessSpec

SIDES = (224, 640, 1024)
"""Pixels a side of a canvas: 0.15, 1.2 and 3.1 MB."""
FRAMES = 200


def resident(pid: int) -> float:
    """Return a process's resident memory in MiB, what it shares with others (libraries) by its part (PSS) apart."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    return next(int(text.split()[1]) / 1024 for text in lines if text.startswith("Pss:"))


def middle(classifier: Classifier, canvas: np.ndarray) -> float:
    """Return the median of `invoke_ms`."""
    return median(classifier.classify(canvas).invoke_ms for _ in range(FRAMES))


def main() -> None:
    """Print a line for each size of canvas."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STANDIN_EDGETPU"] = str(Path(folder, "behaves"))
        standin = Standin(compile_standin(Path(folder)), Path(folder, "behaves"))
        for side in SIDES:
            parts = bundle(side, PreprocessSpec())
            canvas = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
            alone = middle(Classifier(parts), canvas)
            began = time.monotonic()
            judging = line(parts, standin.settings())
            assert not engine(judging).settle(60)
            opened = time.monotonic() - began
            beside = middle(judging, canvas)
            (pid,) = children()
            memory = f"PSS {resident(pid):.1f} MiB beside {resident(os.getpid()):.1f}"
            times = f"{alone:.3f} ms here, {beside:.3f} there (+{beside - alone:.3f})"
            print(f"{side}x{side}: {times}; {memory}; open after {opened:.1f} s")
            judging.close()


if __name__ == "__main__":
    main()
