"""The command-line options of the decision rule."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from edge.errors import ConfigError
from training.evaluation.thresholds import Aim, Costs

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,12})?|\.\d{1,12})(%?)", re.ASCII)


def add_options(parser: ArgumentParser) -> None:
    """Add --cost-miss, --cost-false-alarm, --cost-unknown and --max-miss."""
    costs = Costs()
    group = parser.add_argument_group(
        "decision rule", "what errors cost, in any unit, on the mix of parts in the pictures; needs --pass"
    )
    add = group.add_argument
    add(
        "--cost-miss", type=float, default=costs.miss, metavar="X",
        help=f"of a damaged part judged PASS (default {costs.miss:g})",
    )  # fmt: skip
    add(
        "--cost-false-alarm", type=float, default=costs.false_alarm, metavar="X",
        help=f"of an intact part judged DEFECT (default {costs.false_alarm:g})",
    )  # fmt: skip
    add(
        "--cost-unknown", type=float, default=costs.unknown, metavar="X",
        help=f"of any part left for somebody to look at (default {costs.unknown:g})",
    )  # fmt: skip
    add(
        "--max-miss", type=parse_share, metavar="SHARE",
        help="promise, with 95%% confidence, that no more of the damaged parts pass unseen, such as 0.5%% or 0.005",
    )  # fmt: skip


def read_options(arguments: Namespace) -> Aim:
    """Return what was asked for.

    Raises ConfigError for a cost that is not above 0, or a promise where no class means an intact part.
    """
    if arguments.max_miss is not None and not arguments.passing:
        raise ConfigError("--max-miss needs --pass: without a class of intact parts every part is a defect")
    costs = Costs(miss=arguments.cost_miss, false_alarm=arguments.cost_false_alarm, unknown=arguments.cost_unknown)
    return Aim(costs=costs, max_miss=arguments.max_miss)


def parse_share(text: str) -> float:
    """Read "0.5%" or "0.005", above 0 and below 100%; raises ArgumentTypeError."""
    found = _SHARE.fullmatch(text.strip())
    share = float(found[1]) / (100 if found[2] else 1) if found else 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and below 100%, such as 0.5% or 0.005")
    return share
