"""What a training costs on NEU-DET, alpha 0.35, 224 pixels: the textbook recipe against edge-train build.

python tests/benchmarks/retraining.py [--rounds 3] [--pictures 240]     (needs INSPECT_TEST_DATA)

A round is the textbook recipe, a build with nothing in the cache, and one with another seed after it: what a
retraining costs. Training is compared with training: from pictures in memory to the float network, with everything
that lies between the stages; the whole command stands beside it. The second half of the table shows how near each
stage comes to what limits it. The last one, of the whole network, runs only where validation had mistakes left.
"""

from __future__ import annotations

import multiprocessing
import re
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import limits
import sets
import textbook
from builds import build, weights
from limits import Line
from throughput import Limits, measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builds import Built
    from textbook import Taught

ALPHA = 0.35
LEAST_FASTER, MOST_MIB = 5.0, 2560.0
_DONE = re.compile(r"^(computing .*|training .*): done in ([0-9.]+) s$", re.MULTILINE)
"""Of a build's log: the stages that make the trained float network, and all from its loading to its last score."""


@dataclass(frozen=True, slots=True)
class Round:
    """The three ways, one after the other; `values` are what the first build left in its cache."""

    textbook: Taught
    cold: Built
    again: Built
    values: float


def main() -> int:
    """Print the table."""
    parser = limits.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of all three ways (default 3)")
    parser.add_argument("--pictures", type=int, default=240, metavar="N", help="to learn from, a class (default 240)")
    arguments = parser.parse_args()
    rounds = [_round(seed, arguments.pictures) for seed in range(1, arguments.rounds + 1)]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(measure, sets.held_out()[1], weights(ALPHA), ALPHA).result()
    lines = [*compare(rounds), *memory(rounds), *throughput(rounds, found)]
    title = f"NEU-DET, {arguments.pictures} pictures a class, alpha {ALPHA}, {textbook.cores()} cores"
    return limits.show(f"{title}, {arguments.rounds} rounds", lines)


def _round(number: int, pictures: int) -> Round:
    pool, judged = sets.held_out()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        train = sets.link(place / "train", sets.drawn(pool, pictures, number))
        test = sets.link(place / "test", judged)
        theirs = textbook.apart(train, test, weights(ALPHA), alpha=ALPHA, seed=number)
        options, cache = ("--test-data", test, "--seed"), place / "cache"
        cold = build(train, place / "cold", *options, number, alpha=ALPHA, cache=cache)
        values = sum(path.stat().st_size for path in cache.rglob("*.f16")) / 2
        again = build(train, place / "again", *options, number + 100, alpha=ALPHA, cache=cache)
    for name, wall, accuracy in (
        ("textbook", theirs.wall_s, theirs.accuracy),
        ("cold", _training(cold), cold.metrics["accuracy_int8"]),
        ("retraining", _training(again), again.metrics["accuracy_int8"]),
    ):
        print(f"round {number}, {name}: {wall:.1f} s, {accuracy:.2%}", flush=True)
    return Round(theirs, cold, again, values)


def _stages(built: Built) -> dict[str, float]:
    """Return the seconds of each stage up to the trained float network."""
    return {name: float(seconds) for name, seconds in _DONE.findall(built.log)}


def _training(built: Built) -> float:
    return _stages(built)["training in all"]


def compare(rounds: Sequence[Round]) -> list[Line]:
    """Time and accuracy of the three ways."""
    theirs = mean(one.textbook.wall_s for one in rounds)
    reference = mean(one.textbook.accuracy for one in rounds)
    lines = [
        Line("textbook: training", f"{theirs:.0f} s, processor {mean(one.textbook.cpu_s for one in rounds):.0f} s"),
        Line("textbook: accuracy, float", limits.spread([one.textbook.accuracy for one in rounds])),
    ]
    for name, built in (
        ("build, empty cache", [one.cold for one in rounds]),
        ("retraining, full cache", [one.again for one in rounds]),
    ):
        ours, right = mean(map(_training, built)), [one.metrics["accuracy_int8"] for one in built]
        faster = theirs / ours
        whole = f"{mean(one.wall_s for one in built):.0f} s, processor {mean(one.cpu_s for one in built):.0f} s"
        lines += [
            Line(f"{name}: training", f"{ours:.1f} s"),
            Line(f"{name}: times faster", f"{faster:.1f}", f">= {LEAST_FASTER:g}", faster >= LEAST_FASTER),
            Line(f"{name}: accuracy, int8", limits.spread(right), f">= {reference:.2%}", mean(right) >= reference),
            Line(f"{name}: whole command", whole),
        ]
    return lines


def memory(rounds: Sequence[Round]) -> list[Line]:
    """Return the most that any process had resident."""
    ours = max(built.peak_mib for one in rounds for built in (one.cold, one.again))
    return [
        Line("textbook: peak memory", f"{max(one.textbook.peak_mib for one in rounds):.0f} MiB"),
        Line("build: peak memory", f"{ours:.0f} MiB", f"<= {MOST_MIB:.0f} MiB", ours <= MOST_MIB),
    ]


def throughput(rounds: Sequence[Round], found: Limits) -> list[Line]:
    """Compare the stages of the builds with an empty cache with what limits each."""
    rates: dict[str, list[float]] = {"features, augmented": []}
    for one in rounds:
        seconds, report = _stages(one.cold), one.cold.report
        taught = sum(report["data"]["train"].values())
        computing = sum(taken for name, taken in seconds.items() if name.startswith("computing"))
        rates["features, augmented"].append(one.values / found.values / computing)
        for stage in report["training"]:
            rate = taught * len(stage["loss"]) / seconds[f"training {stage['name']}"]
            rates.setdefault(stage["name"], []).append(rate)
    bounds = {"features, augmented": found.forward, "head": found.head, "top blocks": found.top, "all": found.whole}
    lines = [Line("augmentation alone, two threads", f"{found.augment:.0f} pictures/s")]
    for name, values in rates.items():
        # A stage that came later than this file has no limit here, and is told nevertheless.
        share = f"{mean(values) / bounds[name]:.0%} of {bounds[name]:.0f} pictures/s" if name in bounds else ""
        lines.append(Line(f"{name}, in {len(values)} of {len(rounds)} rounds", f"{mean(values):.0f} pictures/s", share))
    return lines


if __name__ == "__main__":
    sys.exit(main())
