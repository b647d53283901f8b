"""`edge-train data`: what concerns the pictures before anything is trained on them."""

from __future__ import annotations

from typing import Any

from edge.command import add_command
from training.data import check_command, preview


def add_parser(subparsers: Any) -> None:
    """Add the command and its own commands to edge-train."""
    summary = "look at labelled pictures before training on them"
    parser = add_command(subparsers, "data", summary=summary)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (check_command, preview):
        command.add_parser(commands)
