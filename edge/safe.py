"""`edge-inspect safe`: the pins at their safe levels, once the daemon is gone however it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.command import add_config
from edge.errors import InspectError

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Leave each output pin at its safe level; then raises InspectError for what cannot be used, or is in use.

    Raspberry Pi's kernels leave a pin as it was when the process ends that drove it, also one that was killed amid a
    pulse (https://github.com/raspberrypi/linux/pull/6150). Where dtparam=strict_gpiod or another kernel makes an input
    of it instead, a resistor has to hold the safe level.
    """
    from edge import config
    from edge.outputs import Outputs

    problems: list[InspectError] = []
    for output in config.load(arguments.config).outputs:  # One by one: one that cannot be used keeps no other from it.
        try:
            Outputs([output]).close()
        except InspectError as error:
            problems.append(error)
    if problems:
        raise type(problems[0])("; ".join(map(str, problems)))
    return 0
