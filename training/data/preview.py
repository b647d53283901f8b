"""`edge-train data preview`: a sheet to look at what training will see of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge.command import add_command, to_path
from edge.errors import ConfigError
from training import recipe
from training.data import dataset, sheet_file

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from PIL.Image import Image

    from training.data.dataset import Dataset, Source
    from training.recipe import Recipe

_DESCRIPTION = """Draw a sheet of pictures from a data set: each as it is, then as training will see it.

The pictures lie in a folder per class: DIR/crack/1.png, DIR/intact/2.jpg, ... If the damage can no longer be seen in
a varied picture, the recipe's [augmentation] is too strong for it; tiles are drawn as thin lines.
"""
_EXAMPLES = """examples:
  edge-train data preview parts/ --out sheet.png
      two pictures of each class under the default recipe
  edge-train data preview parts/ --out sheet.jpg --recipe recipe.toml --count 5 --seed 2
      five other ones of each class, varied as recipe.toml says

"""
_MOST_PIXELS = 80_000_000
"""Of a sheet: picture viewers, Pillow among them, are wary of more."""


def add_parser(subparsers: Any) -> None:
    """Add the command to edge-train data."""
    summary = "draw a sheet of pictures as training will see them"
    parser = add_command(subparsers, "preview", summary=summary, description=_DESCRIPTION, examples=_EXAMPLES)
    add = parser.add_argument
    add("data", type=to_path, metavar="DIR", help="labelled pictures, a folder per class")
    add("--out", type=to_path, required=True, metavar="FILE", help="the sheet, .png or .jpg; replaces an earlier one")
    add("--recipe", type=to_path, metavar="FILE", help="a recipe in TOML (default: the default recipe)")
    add("--count", type=int, default=2, metavar="N", help="pictures of each class (default 2)")
    add("--seed", type=int, default=1, help="another seed, other pictures and views (default 1)")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Check everything cheap first, then read, vary and draw; prints what the sheet shows."""
    sheet_file.require_room(arguments.out, arguments.data)
    for name, value, least in (("count", arguments.count, 1), ("seed", arguments.seed, 0)):
        if value < least:
            raise ConfigError(f"--{name} {value} is below {least}")
    chosen_recipe = recipe.read(arguments.recipe) if arguments.recipe else recipe.Recipe()
    data = _read(arguments.data, chosen_recipe, count=arguments.count, seed=arguments.seed)
    sheet_file.save(_draw(data, chosen_recipe, arguments.seed, arguments.data.resolve().name), arguments.out)
    skipped = f"; left out {len(data.skipped)} unreadable: {', '.join(data.skipped)}" if data.skipped else ""
    print(f"{arguments.out}: {len(data.sources)} pictures of {len(data.labels)} classes{skipped}")
    return 0


def _read(folder: Path, recipe: Recipe, *, count: int, seed: int) -> Dataset:
    """Read `count` pictures of each class, or as many as it has, as training reads them."""
    from training.data import preview_sheet as sheet

    labels = dataset.folder_labels(folder, [])
    sources = dataset.folder_sources(folder, labels)
    chosen = [
        source
        for label in range(len(labels))
        for source in _choose(sources, label, count, np.random.default_rng([seed, label]))
    ]
    width, height = sheet.size(len(chosen), *recipe.canvas, notes=2)
    if width * height > _MOST_PIXELS:
        raise ConfigError(f"--count {count}: {len(chosen)} rows make a sheet of {width}x{height} pixels; ask for fewer")
    return dataset.read(
        labels, chosen, canvas=recipe.canvas, spec=recipe.preprocess, skip_bad=True, title=f"reading {folder}"
    )


def _choose(sources: list[Source], label: int, count: int, rng: np.random.Generator) -> list[Source]:
    own = [source for source in sources if source.label == label]
    return [own[row] for row in sorted(rng.permutation(len(own))[:count])]


def _draw(data: Dataset, recipe: Recipe, seed: int, name: str) -> Image:
    from training.data import preview_sheet as sheet
    from training.data.augment import rng_of, vary

    height, width = recipe.canvas
    views = sheet.columns(width) - 1
    rows = [
        sheet.Row(
            data.labels[source.label].name,
            source.name.partition("/")[2],
            [pixels, *(vary(pixels, recipe.augmentation, rng_of(seed, view, digest)) for view in range(1, views + 1))],
        )
        for source, pixels, digest in zip(data.sources, data.pixels, data.digests, strict=True)
    ]
    model, tiles = recipe.model, recipe.preprocess.tiles
    corners = tiles.corners(model.height, model.width) if tiles.count > 1 else []
    shown = f"{width} x {height} pixels, shown at {sheet.scale(height, width):.0%}"
    cut = f", cut into {tiles.rows} x {tiles.columns} tiles of {model.width} x {model.height}" if corners else ""
    counts = ", ".join(f"{name} {count}" for name, count in data.counts().items())
    about = sheet.Sheet(
        title=f"{name}: what training sees",
        notes=[f"{shown}{cut}; seed {seed}", f"rows: {counts}"],
        headings=("as it is", "varied by the recipe"),
        boxes=[(left, top, left + model.width, top + model.height) for top, left in corners],
    )
    return sheet.draw(about, rows)
