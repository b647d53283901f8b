"""`edge-train data preview`: a sheet to look at what training will see of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge.command import add_command, to_path
from edge.errors import ConfigError
from training import recipe
from training.data import dataset

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
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_MARK = "edge-train data preview"
"""Written into every sheet: only a sheet is replaced by another."""
_MARK_WITHIN = 4096
"""Bytes of a file's beginning, where both formats have it."""
_QUALITY, _COMPRESSION = 92, 3
"""Of JPEG and of PNG: 6, the usual, takes twice as long for a tenth less."""
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
    _require_room_for_sheet(arguments.out, arguments.data)
    for name, value, least in (("count", arguments.count, 1), ("seed", arguments.seed, 0)):
        if value < least:
            raise ConfigError(f"--{name} {value} is below {least}")
    chosen_recipe = recipe.read(arguments.recipe) if arguments.recipe else recipe.Recipe()
    data = _read(arguments.data, chosen_recipe, count=arguments.count, seed=arguments.seed)
    _save(_draw(data, chosen_recipe, arguments.seed, arguments.data.resolve().name), arguments.out)
    skipped = f"; left out {len(data.skipped)} unreadable: {', '.join(data.skipped)}" if data.skipped else ""
    print(f"{arguments.out}: {len(data.sources)} pictures of {len(data.labels)} classes{skipped}")
    return 0


def _require_room_for_sheet(out: Path, data: Path) -> None:
    """Raise ConfigError unless `out` is a picture's name, in a folder, where nothing but an earlier sheet lies."""
    if out.suffix.lower() not in _FORMATS:
        raise ConfigError(f"--out {out}: a sheet is a picture; let its name end in {' or '.join(_FORMATS)}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: {out.parent} is no folder; make it or name another")
    if out.resolve().is_relative_to(data.resolve()):
        raise ConfigError(f"--out {out} lies inside {data}, where every picture teaches; choose a place outside")
    if (out.exists() or out.is_symlink()) and not _is_sheet(out):
        raise ConfigError(f"--out {out} is there and is no sheet of this command; choose another name")


def _is_sheet(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(_MARK_WITHIN)
    except OSError as error:
        raise ConfigError(f"--out {path}: {error.strerror}; choose another name") from error
    return start.startswith((b"\x89PNG", b"\xff\xd8")) and _MARK.encode() in start


def _read(folder: Path, recipe: Recipe, *, count: int, seed: int) -> Dataset:
    """Read `count` pictures of each class, or as many as it has, as training reads them."""
    from training.data import sheet

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
    from training.data import sheet
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
    corners = tiles.corners(model.height, model.width) if tiles.rows * tiles.columns > 1 else []
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


def _save(image: Image, out: Path) -> None:
    """Write the sheet under a name of its own first: an earlier one stays until this one is whole."""
    from PIL.PngImagePlugin import PngInfo

    marks: dict[str, Any] = {
        "PNG": {"pnginfo": PngInfo(), "compress_level": _COMPRESSION},
        "JPEG": {"comment": _MARK, "quality": _QUALITY},
    }
    marks["PNG"]["pnginfo"].add_text("Software", _MARK)
    file_format = _FORMATS[out.suffix.lower()]
    unfinished = out.with_name(f".{out.name}")
    try:
        try:
            image.save(unfinished, file_format, **marks[file_format])
            unfinished.replace(out)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--out {out}: {error.strerror or error}; make room or choose a folder you may write to"
        ) from error
