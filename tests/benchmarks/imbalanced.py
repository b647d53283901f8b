"""NEU-DET with one class cut to 5%, 15 of its 300 pictures: how many of that class are still found.

python tests/benchmarks/imbalanced.py [--classes NAME ...] [--seeds 1]     (needs INSPECT_TEST_DATA)

The other classes keep their 240 pictures to learn from; all 60 held-out pictures of each class are judged, at int8 on
the device's path. One class after the other is cut, and each must be found: a mean would hide one that is not.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import mean

import limits
import sets
from builds import build
from limits import Line

LEFT = 15
LEAST_RECALL = 0.90
ALPHA = 0.35


def main() -> int:
    """Print the recall of each class where that one was cut."""
    parser = limits.parser(__doc__)
    limits.seeds(parser, 1)
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="to cut, one after the other (default: each)")
    arguments = parser.parse_args()
    pool, judged = sets.held_out()
    lines = []
    for name in arguments.classes or sorted(pool):
        found = [
            cut(name, {**pool, name: sets.drawn(pool, LEFT, seed)[name]}, judged, seed)
            for seed in range(1, arguments.seeds + 1)
        ]
        recalls, balanced = zip(*found, strict=True)
        met = mean(recalls) >= LEAST_RECALL
        lines += [
            Line(f"{name}: its recall", limits.spread(recalls), f">= {LEAST_RECALL:.0%}", met),
            Line("  mean of all classes", limits.spread(balanced)),
        ]
    return limits.show(f"NEU-DET, one class cut to {LEFT} pictures, MobileNetV2 {ALPHA}", lines)


def cut(name: str, chosen: sets.Chosen, judged: sets.Chosen, seed: int) -> tuple[float, float]:
    """Build with few pictures of a class; returns its recall and the balanced accuracy, 0-1."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        train, test = sets.link(place / "train", chosen), sets.link(place / "test", judged)
        options = ("--test-data", test, "--seed", seed)
        built = build(train, place / "bundle", *options, alpha=ALPHA, cache=place / "cache")
    recall: float = built.report["per_class"][name]["recall"]
    print(f"{name} cut, seed {seed}: recall {recall:.1%}, {built.wall_s:.0f} s", flush=True)
    return recall, built.metrics["balanced_accuracy"]


if __name__ == "__main__":
    sys.exit(main())
