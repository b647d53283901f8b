"""The command edge-train; each command is a module with `add_parser`, which sets `run`."""

from __future__ import annotations

import edge.early  # noqa: F401 - first, for what it does

# isort: split
import sys

from edge.command import ended_as_interrupted, make_parser, run_command


def main() -> int:
    """Parse the command line and run the command; returns its exit code."""
    return run_command("edge-train", _run)


def _run() -> int:
    # Here Ctrl-C ends their loading as it ends them.
    from training import build_command, compile_command, data_command, keygen, search_command, synthetic

    description = "Make model bundles for edge-inspect. `edge-train COMMAND --help` tells of each."
    parser = make_parser("edge-train", description)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (data_command, build_command, search_command, compile_command, keygen, synthetic):
        command.add_parser(subparsers)
    arguments = parser.parse_args()
    with ended_as_interrupted():
        return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
