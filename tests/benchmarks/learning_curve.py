"""NEU-DET with few pictures a class: edge-train build (int8 on the device's path) against the textbook recipe (float).

python tests/benchmarks/learning_curve.py [--seeds 3] [--counts 5 10 20 50]     (needs INSPECT_TEST_DATA)

Each seed draws other pictures; both learn from the same ones and are judged by 60
others a class, always the same. The
textbook recipe learns from all of them, the build from those that it does not keep for validation and calibration.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import limits
import sets
import textbook
from builds import build, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS = (5, 10, 20, 50)
ALPHA = 0.35


def main() -> int:
    """Print a line for each number of pictures a class."""
    parser = limits.parser(__doc__)
    limits.seeds(parser, 3)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, metavar="N", help="pictures a class")
    arguments = parser.parse_args()
    lines = [point(count, range(1, arguments.seeds + 1)) for count in arguments.counts]
    return limits.show(f"NEU-DET, few pictures, MobileNetV2 {ALPHA}, {arguments.seeds} seeds", lines)


def point(count: int, seeds: Sequence[int]) -> limits.Line:
    """Compare both ways on as many pictures of each class."""
    pairs = [_both(count, seed) for seed in seeds]
    ours, theirs = ([pair[way] for pair in pairs] for way in (0, 1))
    limit = f"above the textbook's {limits.spread(theirs)}"
    return limits.Line(f"{count} pictures a class", limits.spread(ours), limit, sum(ours) > sum(theirs))


def _both(count: int, seed: int) -> tuple[float, float]:
    pool, judged = sets.held_out()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        train, test = sets.link(place / "train", sets.drawn(pool, count, seed)), sets.link(place / "test", judged)
        theirs = textbook.apart(train, test, weights(ALPHA), alpha=ALPHA, seed=seed)
        built = build(train, place / "bundle", "--test-data", test, "--seed", seed, alpha=ALPHA, cache=place / "cache")
    ours = built.metrics["accuracy_int8"]
    print(f"{count} a class, seed {seed}: {ours:.2%}, textbook {theirs.accuracy:.2%}", flush=True)
    return ours, theirs.accuracy


if __name__ == "__main__":
    sys.exit(main())
