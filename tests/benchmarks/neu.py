"""NEU-DET, 1,800 photographs of steel in 6 classes, 80/20: int8 and float accuracy for several seeds.

python tests/benchmarks/neu.py [SEED ...]        (needs INSPECT_TEST_DATA; default seeds 1 to 5)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from builds import DATA, build


def main() -> None:
    """Print one line a seed."""
    seeds = [int(text) for text in sys.argv[1:]] or [1, 2, 3, 4, 5]
    print(f"{'seed':>4} {'int8':>8} {'float':>8} {'pictures':>8} {'wall s':>7} {'cpu s':>7}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for seed in seeds:
            built = build(DATA / "datasets" / "neu-det", Path(scratch, f"neu-{seed}"), "--seed", seed)
            found = built.bundle.manifest.metrics
            print(
                f"{seed:>4} {found['accuracy_int8']:>8.2%} {found['accuracy_float']:>8.2%} "
                f"{found['test_pictures']:>8.0f} {built.wall_s:>7.0f} {built.cpu_s:>7.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
