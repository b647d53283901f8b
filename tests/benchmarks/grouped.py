"""Parts that were each photographed six times: what a split that tears them apart makes of the report's figures.

python tests/benchmarks/grouped.py [--parts 100] [--fresh 300] [--seeds 3]  (needs INSPECT_TEST_DATA for the weights)

Rendered parts of the renderer's five classes, as many of each. A part lies in its nest under one lamp; each photograph
has its own focus, exposure, white balance and noise, and the part has moved by up to a pixel. Built with --group-by and
without it; the truth is what both bundles' classifiers say of fresh parts that neither has seen, photographed once.
"""

from __future__ import annotations

import re
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import limits
import msgspec
import numpy as np
import sets
from builds import build
from limits import Line

from edge.classifier import Classifier
from edge.contract.pictures import list_pictures, load_picture
from edge.decision import decide
from edge.synthetic import LABELS, MIN_AREA, Part
from edge.synthetic.damage import draw_wound, inflict
from edge.synthetic.dice import Dice
from edge.synthetic.optics import BLUR, BLUR_SIDE, defocus, lamp, read_out
from edge.synthetic.shapes import draw_grid, draw_outline
from edge.synthetic.surface import draw_scene
from training.data.saved_split import FILE, read_split

if TYPE_CHECKING:
    from builds import Built

    from edge.synthetic import Label

WIDTH, HEIGHT = 160, 128
SHOTS = 6
PATTERN = r"part-([0-9]+)"
TRAIN_SEED, FRESH_SEED = 81, 82
ALPHA = 0.35
ALLOW_DROP = 0.9
"""Of the random split: its gate takes each of six siblings that flip together for another part, and is set off."""
_SCENE, _OPTICS, _SHOT = 1, 2, 64
"""Streams of random numbers: the renderer's own for what stays the same, and from 64 on one for each photograph."""
_MOVED, _TURNED = 0.5, 0.005
"""Pixels and radians that the part moves at most, each way."""


def main() -> int:
    """Build both ways for each seed and print the table."""
    parser = limits.parser(__doc__)
    limits.seeds(parser, 3)
    parser.add_argument("--parts", type=int, default=100, metavar="N", help="to learn from (default 100)")
    parser.add_argument("--fresh", type=int, default=300, metavar="N", help="parts for the truth (default 300)")
    arguments = parser.parse_args()
    train = sets.rendered("grouped-train", SHOTS * arguments.parts, partial(draw, TRAIN_SEED, SHOTS))
    fresh = sets.rendered("grouped-fresh", arguments.fresh, partial(draw, FRESH_SEED, 1))
    pairs = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(1, arguments.seeds + 1):
            common = ("--pass", "intact", "--seed", seed)
            rules = {"random": ("--allow-drop", ALLOW_DROP), "grouped": ("--group-by", f"regex:{PATTERN}")}
            pairs.append(
                tuple(
                    build(train, Path(scratch, f"{name}-{seed}"), *common, *rule, alpha=ALPHA, cache=Path(scratch))
                    for name, rule in rules.items()
                )
            )
    lines = [
        *table("random split", [pair[0] for pair in pairs], fresh, grouped=False),
        *table("--group-by", [pair[1] for pair in pairs], fresh, grouped=True),
    ]
    title = f"{arguments.parts} rendered parts, {SHOTS} photographs of each, {arguments.seeds} seeds"
    return limits.show(title, lines)


def draw(seed: int, shots: int, index: int) -> tuple[str, Part]:
    """Render picture `index` of a set with so many photographs of each part."""
    number, shot = divmod(index, shots)
    return f"part-{number:04d}-{shot}", photograph(seed, number, shot)


def label_of(number: int) -> Label:
    """Return the class of a part: each of them in turn, the first is intact."""
    return LABELS[number % len(LABELS)]


def photograph(seed: int, number: int, shot: int) -> Part:
    """Render one photograph of a part; of the same `number` all show the same part."""
    label, dice, own = label_of(number), Dice(seed, number, _SCENE), Dice(seed, number, _SHOT + shot)
    outline = draw_outline(dice)
    grid = draw_grid(dice, outline, HEIGHT, WIDTH)
    step = 2 * _MOVED / min(HEIGHT, WIDTH)
    grid = msgspec.structs.replace(
        grid,
        turn=grid.turn + own.uniform(-_TURNED, _TURNED),
        centre=(grid.centre[0] + own.uniform(-step, step), grid.centre[1] + own.uniform(-step, step)),
    )
    scene = draw_scene(dice, grid, outline)
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    if label != "intact":
        wound = draw_wound(scene, label, seed, number, MIN_AREA)
        mask = wound.mask
        inflict(scene, wound)
    lit = scene.albedo * lamp(scene, Dice(seed, number, _OPTICS))
    blurred = defocus(lit, own.uniform(*BLUR) * (min(HEIGHT, WIDTH) / BLUR_SIDE) ** 2)
    return Part(read_out(blurred, own), mask, label, outline.shape)


def table(name: str, built: list[Built], fresh: Path, *, grouped: bool) -> list[Line]:
    """Say what the reports say, whether that is true, and whether they warn."""
    torn = mean(torn_apart(one) for one in built)
    said, true = [one.metrics["accuracy_int8"] for one in built], [accuracy(one, fresh) for one in built]
    leaks = [one.report["leakage"] for one in built]
    found = [mean(one[way] for one in leaks if one) for way in ("by_group", "at_random")] if any(leaks) else []
    warned = sum(any("sibling" in text for text in one.report["warnings"]) for one in built)
    limit, met = ("0", not torn) if grouped else ("", None)
    return [
        Line(f"{name}: parts torn apart by the split", f"{torn:.0f}", limit, met),
        Line(f"{name}: accuracy in the report", limits.spread(said)),
        Line(f"{name}: accuracy on fresh parts", limits.spread(true)),
        Line(f"{name}: the report flatters by", f"{100 * (mean(said) - mean(true)):.1f} points"),
        Line(
            f"{name}: the report's probe, siblings together and torn apart",
            ", ".join(f"{share:.1%}" for share in found) or "neither figure",
            "both figures in each report",
            all(leaks),
        ),
        Line(f"{name}: reports that warn", f"{warned} of {len(built)}", "all", warned == len(built)),
    ]


def torn_apart(built: Built) -> int:
    """Count the parts whose photographs lie in more than one part of the split."""
    places: dict[str, set[str]] = {}
    for part, names in read_split(built.bundle.files[FILE]).parts.items():
        for name in names:
            places.setdefault(re.search(PATTERN, name)[1], set()).add(part)
    return sum(len(found) > 1 for found in places.values())


def accuracy(built: Built, folder: Path) -> float:
    """Return how many of a folder's pictures the bundle's own classifier names rightly, 0-1."""
    classifier, manifest = Classifier(built.bundle), built.bundle.manifest
    right = [
        decide(classifier.classify(load_picture(path)).scores.tolist(), manifest.labels, manifest.thresholds).label
        == path.parent.name
        for path in list_pictures(folder)
    ]
    return mean(right)


if __name__ == "__main__":
    sys.exit(main())
