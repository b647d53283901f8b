"""Rendered inserts whose damage covers 0.1% to 0.5% of the picture: build --auto against squashing to 224 pixels.

python tests/benchmarks/small_defects.py [--train 600] [--test 300]     (needs INSPECT_TEST_DATA for the weights)

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
from typing import TYPE_CHECKING, Any

import limits
import sets
from builds import build
from limits import Line

from edge.synthetic import LABELS, render

if TYPE_CHECKING:
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
    parser.add_argument("--allow-drop", type=float, default=0.01, metavar="SHARE", help="as build's (default 0.01)")
    arguments = parser.parse_args()
    train = sets.rendered("small-train", arguments.train, partial(draw, TRAIN_SEED))
    test = sets.rendered("small-test", arguments.test, partial(draw, TEST_SEED))
    options = ("--test-data", test, "--pass", "intact", "--allow-drop", arguments.allow_drop)
    auto = ("--auto", "--latency-budget", arguments.budget)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        plain = build(train, place / "plain", *options, alpha=ALPHA, cache=place / "cache")
        chosen = build(train, place / "auto", *options, *auto, alpha=ALPHA, cache=place / "cache")
    title = f"Damage of {SMALLEST:.1%} to {LARGEST:.1%} of {WIDTH}x{HEIGHT} pixels, {arguments.train} parts"
    return limits.show(f"{title}, {arguments.test} fresh ones", table(plain, chosen))


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


def table(plain: Built, chosen: Built) -> list[Line]:
    """Compare accuracy and latency, and say what was chosen and what was tried."""
    before, after = (built.metrics["balanced_accuracy"] for built in (plain, chosen))
    trials, recipe = chosen.report["search"], chosen.report["recipe"]
    lines = [
        Line("squash to 224, mean: balanced accuracy", f"{before:.1%}", _recalls(plain)),
        Line("--auto: balanced accuracy", f"{after:.1%}", _recalls(chosen)),
        Line("--auto ahead", f"{100 * (after - before):.1f} points", ">= 10 points", after - before >= LEAST_AHEAD),
        Line("squash to 224, mean: latency, median", f"{plain.metrics['latency_ms']:.1f} ms"),
        Line("--auto: latency, median", f"{chosen.metrics['latency_ms']:.1f} ms"),
        Line("--auto chose", describe({**recipe["model"], **recipe["preprocess"], "pooling": recipe["pooling"]})),
        Line("whole command", f"{plain.wall_s:.0f} s, --auto {chosen.wall_s:.0f} s"),
    ]
    for trial in trials:
        score = trial["score"]
        found = f"{score['balanced_accuracy']:.1%} on validation" if score else "over the budget"
        lines.append(Line(f"  tried {describe(trial)}", found, f"{trial['latency_ms']:.1f} ms"))
    return lines


def describe(recipe: dict[str, Any]) -> str:
    """Name a recipe's geometry, level and pooling."""
    tiles, pooling = recipe.get("tiles") or {}, recipe["pooling"]
    grid = f"{tiles.get('rows', 1)}x{tiles.get('columns', 1)} tiles of {recipe['width']}x{recipe['height']}"
    return f"{grid}, {recipe['level']}, {pooling['kind']}"


def _recalls(built: Built) -> str:
    rows = built.report["per_class"]
    return "recall " + ", ".join(f"{name} {row['recall']:.0%}" for name, row in rows.items())


if __name__ == "__main__":
    sys.exit(main())
