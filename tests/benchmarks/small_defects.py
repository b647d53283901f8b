"""Rendered inserts whose damage covers 0.1% to 0.5% of the picture: build --auto against squashing to 224 pixels.

python tests/benchmarks/small_defects.py [--train 600] [--test 300] [--seeds 1 2 3]     (needs INSPECT_TEST_DATA)

640 x 480 pixels; half of the parts are intact, the others show the renderer's four kinds of damage evenly. The first
build has the default recipe: the picture squashed to 224 x 224, mean pooling. Balanced accuracy is the mean recall of
the five classes, at int8 on the device's path, of parts rendered for the test alone. Rendered once, then kept in the
user's cache.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from itertools import count
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import limits
import sets
from builds import build
from limits import Line

from edge.synthetic import LABELS, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builds import Built

    from edge.synthetic import Label, Part

WIDTH, HEIGHT = 640, 480
SMALLEST, LARGEST = 0.001, 0.005
"""Shares of the picture that damage covers."""
LEAST_AHEAD = 0.10
TRAIN_SEED, TEST_SEED = 71, 72
ALPHA = 0.35
_DRAFT = 4
"""A part is first rendered so many times smaller, to see whether its damage is of the right size."""
_TRIES = 10_000


def main() -> int:
    """Build both ways and print the table."""
    parser = limits.parser(__doc__)
    parser.add_argument("--train", type=int, default=600, metavar="N", help="parts to learn from (default 600)")
    parser.add_argument("--test", type=int, default=300, metavar="N", help="fresh parts to judge (default 300)")
    parser.add_argument("--budget", type=float, default=20.0, metavar="MS", help="--latency-budget (default 20)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="SEED", help="default 1 2 3")
    arguments = parser.parse_args()
    train = sets.rendered("small-train", arguments.train, partial(draw, TRAIN_SEED))
    test = sets.rendered("small-test", arguments.test, partial(draw, TEST_SEED))
    options = ("--test-data", test, "--pass", "intact")
    # A baseline that the gate refused would leave nothing to compare with; --auto must pass it, as it does for users.
    ungated = ("--allow-drop", 0.99)
    auto = ("--auto", "--latency-budget", arguments.budget)
    pairs = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for seed in arguments.seeds:
            common, cache = (*options, "--seed", seed), place / "cache"
            plain, chosen = (
                build(train, place / f"{name}-{seed}", *common, *way, alpha=ALPHA, cache=cache)
                for name, way in (("plain", ungated), ("auto", auto))
            )
            pairs.append((plain, chosen))
            print(
                f"seed {seed}: {plain.metrics['balanced_accuracy']:.1%}, --auto "
                f"{chosen.metrics['balanced_accuracy']:.1%}",
                flush=True,
            )
    title = f"Damage of {SMALLEST:.1%} to {LARGEST:.1%} of {WIDTH}x{HEIGHT} pixels, {arguments.train} parts"
    return limits.show(f"{title}, {arguments.test} fresh ones, {len(pairs)} seeds", table(pairs))


def draw(seed: int, index: int) -> tuple[str, Part]:
    """Render part `index`: intact if it is even, else of a kind of damage in turn, and of the right size."""
    if index % 2 == 0:
        return f"{index:05d}", render(seed, index * _TRIES, height=HEIGHT, width=WIDTH, label="intact")
    label = LABELS[1 + index // 2 % (len(LABELS) - 1)]
    small = (
        number
        for number in count(index * _TRIES)
        if _covers(_render(seed, number, label, _DRAFT), 0.8 * SMALLEST, 1.1 * LARGEST)
    )
    parts = (_render(seed, number, label, 1) for number in small)
    return f"{index:05d}", next(part for part in parts if _covers(part, SMALLEST, LARGEST))


def _render(seed: int, number: int, label: Label, smaller: int) -> Part:
    return render(seed, number, height=HEIGHT // smaller, width=WIDTH // smaller, label=label, min_area=SMALLEST)


def _covers(part: Part, least: float, most: float) -> bool:
    return least <= part.mask.mean() <= most


def table(pairs: Sequence[tuple[Built, Built]]) -> list[Line]:
    """Compare accuracy and latency, and say what was chosen and what was tried."""
    ways = {"squash to 224, mean": [plain for plain, _ in pairs], "--auto": [chosen for _, chosen in pairs]}
    found = {name: [built.metrics["balanced_accuracy"] for built in way] for name, way in ways.items()}
    before, after = map(mean, found.values())
    lines = [
        Line(f"{name}: balanced accuracy", limits.spread(found[name]), _recalls(way)) for name, way in ways.items()
    ]
    ahead = Line("--auto ahead", f"{100 * (after - before):.1f} points", ">= 10 points", after - before >= LEAST_AHEAD)
    lines.append(ahead)
    for name, way in ways.items():
        lines += [
            Line(f"{name}: latency, median", ", ".join(f"{built.metrics['latency_ms']:.1f} ms" for built in way)),
            Line(f"{name}: whole command", ", ".join(f"{built.wall_s:.0f} s" for built in way)),
            Line(f"{name}: peak memory", ", ".join(f"{built.peak_mib:.0f} MiB" for built in way)),
        ]
    for built in ways["--auto"]:
        recipe = built.report["recipe"]
        chosen = describe({**recipe["model"], **recipe["preprocess"], "pooling": recipe["pooling"]})
        lines.append(Line("--auto chose", chosen))
    for trial in ways["--auto"][0].report["search"]:
        score = trial["score"]
        reached = f"{score['balanced_accuracy']:.1%} on validation" if score else "over the budget"
        lines.append(Line(f"  tried {describe(trial)}", reached, f"{trial['latency_ms']:.1f} ms"))
    return lines


def describe(recipe: dict[str, Any]) -> str:
    """Name a recipe's geometry, level and pooling."""
    tiles, pooling = recipe.get("tiles") or {}, recipe["pooling"]
    grid = f"{tiles.get('rows', 1)}x{tiles.get('columns', 1)} tiles of {recipe['width']}x{recipe['height']}"
    return f"{grid}, {recipe['level']}, {pooling['kind']}"


def _recalls(way: Sequence[Built]) -> str:
    tables = [built.report["per_class"] for built in way]
    return "recall " + ", ".join(f"{name} {mean(rows[name]['recall'] for rows in tables):.0%}" for name in tables[0])


if __name__ == "__main__":
    sys.exit(main())
