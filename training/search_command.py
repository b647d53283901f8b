"""`edge-train search`: the recipe that suits a data set, within a time and a latency budget."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from edge.command import add_command, to_path, to_positive
from edge.errors import ConfigError
from training import backend, cache, inputs, latency, options, recipe
from training.build_command import add_recipe_options, read_recipe

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from pathlib import Path

    from training.search import Found

_DESCRIPTION = """Try recipes on labelled pictures and write the best one, by validation, to a file.

Sizes, widths, feature levels, poolings, how much is tuned and how fast are varied; recipes that take longer than the
latency budget on this machine are left out. The test pictures are not looked at. A stopped search goes on when
the same command is given again; more time makes it longer.
"""
_EXAMPLES = """examples:
  edge-train search --data parts/ --pass intact --out parts.toml --time-budget 30m --latency-budget 10
  edge-train build --data parts/ --pass intact --out parts.bundle --recipe parts.toml

"""
_UNITS = {"s": 1, "m": 60, "h": 3600}
_SHOWN = 10
_MOST_TRIALS = 100_000


def add_parser(subparsers: Any) -> None:
    """Add the command to edge-train."""
    summary = "search the recipe that suits a data set"
    parser = add_command(subparsers, "search", summary=summary, description=_DESCRIPTION, examples=_EXAMPLES)
    inputs.add_options(parser)
    add_recipe_options(parser)
    add = parser.add_argument_group("search").add_argument
    add("--out", type=to_path, required=True, metavar="TOML", help="the recipe's file; an older recipe is replaced")
    add(
        "--time-budget", type=_seconds, default=1800.0, metavar="TIME",
        help="after which no recipe is begun, such as 90s, 30m or 2h (default 30m)",
    )  # fmt: skip
    add(
        "--latency-budget", type=to_positive("milliseconds"), default=latency.BUDGET_MS, metavar="MS",
        help=f"milliseconds of the model for a part, on this machine with one thread (default {latency.BUDGET_MS:g})",
    )  # fmt: skip
    add("--trials", type=_count, metavar="N", help="try so many more recipes at most, whatever time is left")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Search, print the best recipes, write the first of them."""
    _require_recipe_path(arguments.out)
    if arguments.weights == "none":
        raise ConfigError("--weights none: a search compares features of a pretrained network; name weights")
    options.require_weights(arguments.weights)
    options.require_seed(arguments.seed)
    given, base = inputs.read_options(arguments), read_recipe(arguments)
    backend.start(arguments.seed)
    from training.search import Limits, search

    found = search(
        given, base, weights=arguments.weights, seed=arguments.seed,
        limits=Limits(
            seconds=arguments.time_budget, milliseconds=arguments.latency_budget, trials=arguments.trials
        ),
    )  # fmt: skip
    _write(arguments.out, found)
    print("\n".join(_table(found[:_SHOWN])))
    print(f"{arguments.out}: the first of {len(found)} recipes; edge-train build --recipe {arguments.out} uses it")
    return 0


def _seconds(text: str) -> float:
    """Read 90s, 30m, 2h."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh])", text, re.ASCII)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 30m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:7]) <= _MOST_TRIALS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of recipes from 1 to {_MOST_TRIALS}")
    return int(text)


def _require_recipe_path(path: Path) -> None:
    """Refuse what cannot be written, and to replace anything but a recipe; raises ConfigError."""
    if path.is_symlink() or path.exists():
        try:
            recipe.read(path)
        except ConfigError as error:
            raise ConfigError(f"--out {path} is there and is no recipe ({error}); choose another name") from error
    elif not path.absolute().parent.is_dir():
        raise ConfigError(f"--out {path}: there is no folder {path.parent}; make it first")
    options.require_writable(path.absolute().parent, f"--out {path}", ConfigError)


def _write(path: Path, found: list[Found]) -> None:
    best = found[0]
    told = f"# Found by edge-train search among {len(found)} recipes: validation {best.balanced_accuracy:.2%}, "
    import tomli_w

    cache.write(path, f"{told}{best.milliseconds:.1f} ms a part.\n{tomli_w.dumps(best.recipe.plain())}".encode())


def _table(found: list[Found]) -> Iterator[str]:
    yield f"{'validation':>10} {'loss':>6} {'ms':>6}  recipe"
    for each in found:
        model = each.recipe.model
        pooling = type(each.recipe.pooling).__struct_config__.tag
        tiles = each.recipe.preprocess.tiles
        grid = f"{tiles.columns}x{tiles.rows} tiles of " if tiles.count > 1 else ""
        said = f"{grid}{model.width}x{model.height}, alpha {model.alpha:g}, {model.level}, {pooling}"
        yield f"{each.balanced_accuracy:>10.2%} {each.loss:>6.3f} {each.milliseconds:>6.1f}  {said}"
