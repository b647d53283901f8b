"""NEU-DET, 1,800 photographs of steel in 6 classes, 80/20: int8 and float accuracy for several seeds.

python tests/benchmarks/neu.py [--alpha 0.35] [SEED ...]        (needs INSPECT_TEST_DATA; default seeds 1 to 5)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import mean

from builds import NEU, build

LEAST = {0.35: 0.993, 1.0: 0.997}
"""What the mean of the seeds must reach at int8."""
MOST_LOST = 0.002
"""How far below float int8 may be on average."""


def main() -> int:
    """Print one line a seed, and the means beside what they must reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alpha", type=float, default=0.35)
    parser.add_argument("seeds", type=int, nargs="*", metavar="SEED")
    arguments = parser.parse_args()
    seeds = arguments.seeds or [1, 2, 3, 4, 5]
    print(f"MobileNetV2 {arguments.alpha}")
    print(f"{'seed':>4} {'int8':>8} {'float':>8} {'ece':>7} {'pictures':>8} {'wall s':>7} {'cpu s':>7} {'MiB':>6}")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in seeds:
            built = build(NEU, Path(scratch, f"neu-{seed}"), "--seed", seed, alpha=arguments.alpha)
            found = built.metrics
            rows.append((found["accuracy_int8"], found["accuracy_float"]))
            print(
                f"{seed:>4} {found['accuracy_int8']:>8.2%} {found['accuracy_float']:>8.2%} {found['ece']:>7.2%} "
                f"{found['test_pictures']:>8.0f} {built.wall_s:>7.0f} {built.cpu_s:>7.0f} {built.peak_mib:>6.0f}",
                flush=True,
            )
    int8, before = (mean(row[i] for row in rows) for i in (0, 1))
    print(
        f"mean {int8:>8.2%} {before:>8.2%}   int8 at least {LEAST[arguments.alpha]:.1%}, lost at most {MOST_LOST:.1%}"
    )
    met = int8 >= LEAST[arguments.alpha] and before - int8 <= MOST_LOST + 1e-9
    print("met" if met else "NOT MET", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
