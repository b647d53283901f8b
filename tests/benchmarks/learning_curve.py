"""NEU-DET with few pictures a class: edge-train build (int8 on the device's path) against the textbook recipe (float).

python tests/benchmarks/learning_curve.py [--seeds 3] [--counts 5 10 20 50]     (needs INSPECT_TEST_DATA)

Each seed draws other pictures; both learn from the same ones and are judged by 60 others a class, always the same. The
textbook recipe learns from all of them, the build from those that it does not keep for validation and calibration.
Ten epochs of few pictures are few steps: the recipe learns once more, as many epochs as come to 200 steps a stage, and
the better of both means is the limit.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

import limits
import sets
import textbook
from builds import build, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS = (5, 10, 20, 50)
ALPHA = 0.35
STEPS = 200
"""A stage of the textbook's, at least, where it is given the time."""


class Point(NamedTuple):
    """Accuracies of one seed, 0-1."""

    ours: float
    tutorial: float
    """After 10 + 10 epochs."""
    long: float
    """After STEPS a stage."""


def main() -> int:
    """Print what each number of pictures a class comes to."""
    parser = limits.parser(__doc__)
    limits.seeds(parser, 3)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, metavar="N", help="pictures a class")
    arguments = parser.parse_args()
    lines = [line for count in arguments.counts for line in compare(count, range(1, arguments.seeds + 1))]
    return limits.show(f"NEU-DET, few pictures, MobileNetV2 {ALPHA}, {arguments.seeds} seeds", lines)


def compare(count: int, seeds: Sequence[int]) -> list[limits.Line]:
    """Compare the ways on as many pictures of each class."""
    points = [_point(count, seed) for seed in seeds]
    ours, tutorial, long = zip(*points, strict=True)
    best = max(mean(tutorial), mean(long))
    return [
        limits.Line(f"{count} pictures a class", limits.spread(ours), f"above {best:.2%}", mean(ours) > best),
        limits.Line("  textbook, 10 + 10 epochs", limits.spread(tutorial)),
        limits.Line(f"  textbook, {STEPS} + {STEPS} steps or more", limits.spread(long)),
    ]


def _point(count: int, seed: int) -> Point:
    pool, judged = sets.held_out()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        train, test = sets.link(place / "train", sets.drawn(pool, count, seed)), sets.link(place / "test", judged)
        tutorial, long = (
            textbook.apart(train, test, weights(ALPHA), alpha=ALPHA, seed=seed, steps=steps).accuracy
            for steps in (0, STEPS)
        )
        built = build(train, place / "bundle", "--test-data", test, "--seed", seed, alpha=ALPHA, cache=place / "cache")
    ours = built.metrics["accuracy_int8"]
    print(f"{count} a class, seed {seed}: {ours:.2%}, textbook {tutorial:.2%}, with time {long:.2%}", flush=True)
    return Point(ours, tutorial, long)


if __name__ == "__main__":
    sys.exit(main())
