"""The command edge-train; each command is a module with `add_parser`, which sets `run`."""

from __future__ import annotations

import sys

from edge.command import make_parser, run_command
from training import build_command, keygen, synthetic

COMMANDS = (build_command, keygen, synthetic)


def main() -> int:
    """Parse the command line and run the command; returns its exit code."""
    description = "Make model bundles for edge-inspect. `edge-train COMMAND --help` tells of each."
    parser = make_parser("edge-train", description)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subparsers)
    arguments = parser.parse_args()
    return run_command("edge-train", lambda: int(arguments.run(arguments)))


if __name__ == "__main__":
    sys.exit(main())
