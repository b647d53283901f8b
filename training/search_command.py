"""`edge-train search`: the recipe that suits a data set, within a time and a latency budget."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from edge.command import add_command, to_path
from edge.errors import ConfigError

if TYPE_CHECKING:
    from argparse import Namespace
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
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_SHOWN = 10


def add_parser(subparsers: Any) -> None:
    """Add the command to edge-train."""
    from training.build_command import add_data_options

    summary = "search the recipe that suits a data set"
    parser = add_command(subparsers, "search", summary=summary, description=_DESCRIPTION, examples=_EXAMPLES)
    add_data_options(parser)
    add = parser.add_argument
    add("--out", type=to_path, required=True, metavar="TOML", help="the recipe's file; an older recipe is replaced")
    add("--time-budget", type=_seconds, default=1800, metavar="TIME", help="such as 90s, 30m, 2h (default 30m)")
    add(
        "--latency-budget", type=float, default=20.0, metavar="MS",
        help="milliseconds of the model for a part, on this machine with one thread (default 20)",
    )  # fmt: skip
    add("--trials", type=int, metavar="N", help="end after so many, whatever time is left")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Search, print the best recipes, write the first of them."""
    from training.build_command import read_recipe, reader

    from training import backend
    from training.search import Limits, search

    _require_recipe_path(arguments.out)
    read, key = reader(arguments)
    backend.start(arguments.seed)
    limits = Limits(
        seconds=arguments.time_budget, milliseconds=arguments.latency_budget, trials=arguments.trials
    )
    found = search(
        read, read_recipe(arguments), weights=arguments.weights, any_alpha=arguments.weights == "imagenet",
        limits=limits, seed=arguments.seed, key=key,
    )  # fmt: skip
    _write(arguments.out, found)
    print(_table(found[:_SHOWN]))
    print(f"{arguments.out}: the first of {len(found)} recipes; edge-train build --recipe {arguments.out} uses it")
    return 0
