"""70 microscope photographs of cutting inserts, two classes by the share of the edge that is worn: k-fold accuracy.

python tests/benchmarks/insert_photos.py [FOLDS]     (needs INSPECT_TEST_DATA; default 5)

Each fold is built with the other folds as --data and itself as --test-data: every photograph is judged once, by
a model that has not seen it, through the device's classifier.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from builds import DATA, build

PHOTOS = DATA / "datasets" / "toolwear-inserts"
WORN_FROM = 0.01
"""Share of the edge's area that is worn."""
CLASSES = ("sharp", "worn")


def main() -> None:
    """Print accuracy fold by fold and of all photographs together, beside always naming the larger class."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with (PHOTOS / "wear_fraction.csv").open() as file:
        worn = {row["file"]: float(row["worn_area_fraction_of_mask"]) >= WORN_FROM for row in csv.DictReader(file)}
    folds = _folds(worn, count)
    judged: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, fold in enumerate(folds):
            place = Path(scratch, str(number))
            _link(place / "data", worn, [name for other in folds if other is not fold for name in other])
            _link(place / "test", worn, fold)
            built = build(place / "data", place / "bundle", "--test-data", place / "test", "--pass", CLASSES[0])
            rows = json.loads(built.bundle.files["report.json"])["test"]
            judged += rows
            found = built.bundle.manifest.metrics
            print(
                f"fold {number + 1}: int8 {found['accuracy_int8']:.1%}, float {found['accuracy_float']:.1%} "
                f"of {len(rows)}, {built.wall_s:.0f} s",
                flush=True,
            )
    _print_total(judged)


def _folds(worn: dict[str, bool], count: int) -> list[list[str]]:
    """Deal each class's photographs over the folds, shuffled once."""
    rng = np.random.default_rng(1)
    mixed = [name for kind in (False, True) for name in rng.permutation(sorted(n for n in worn if worn[n] is kind))]
    return [mixed[start::count] for start in range(count)]


def _link(folder: Path, worn: dict[str, bool], names: list[str]) -> None:
    for name in names:
        link = folder / CLASSES[worn[name]] / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(PHOTOS / "images" / name)


def _print_total(judged: list[dict[str, str]]) -> None:
    right = [row["label"] == row["truth"] for row in judged]
    largest = max(sum(row["truth"] == name for row in judged) for name in CLASSES)
    for name in CLASSES:
        of_class = [hit for hit, row in zip(right, judged, strict=True) if row["truth"] == name]
        print(f"{name}: {sum(of_class)} of {len(of_class)} right")
    print(f"int8, cross-validated: {sum(right)} of {len(right)} right, {sum(right) / len(right):.1%}")
    print(f"always the larger class: {largest / len(right):.1%}")


if __name__ == "__main__":
    main()
