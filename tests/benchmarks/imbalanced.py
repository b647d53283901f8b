"""NEU-DET with one class cut to 5%, 15 of its 300 pictures: how many of that class are still found.

python tests/benchmarks/imbalanced.py [--all | --classes NAME ...] [--seeds 1]     (needs INSPECT_TEST_DATA)

The other classes keep their 240 pictures to learn from; all 60 held-out pictures of each class are judged, at int8 on
the device's path. By default three of the six classes are cut, one after the other.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import limits
import sets
from builds import build
from limits import Line

CLASSES = ("inclusion", "pitted_surface", "scratches")
LEFT = 15
LEAST_RECALL = 0.90
ALPHA = 0.35


def main() -> int:
    """Print the recall of each class that was cut, and the mean of them."""
    parser = limits.parser(__doc__)
    limits.seeds(parser, 1)
    parser.add_argument("--classes", nargs="+", default=CLASSES, metavar="NAME", help="to cut, one after the other")
    parser.add_argument("--all", action="store_true", help="cut each class once")
    arguments = parser.parse_args()
    pool, judged = sets.held_out()
    names = sorted(pool) if arguments.all else arguments.classes
    lines, recalls = [], []
    for name in names:
        for seed in range(1, arguments.seeds + 1):
            few = sets.drawn(pool, LEFT, seed)[name]
            recall, balanced = cut(name, {**pool, name: few}, judged, seed)
            recalls.append(recall)
            lines.append(Line(f"{name}, seed {seed}: its recall", f"{recall:.1%}", f"of all classes {balanced:.1%}"))
    mean = sum(recalls) / len(recalls)
    lines.append(Line("mean recall of the class cut", f"{mean:.1%}", f">= {LEAST_RECALL:.0%}", mean >= LEAST_RECALL))
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
