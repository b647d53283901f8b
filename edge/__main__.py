"""The command `edge-inspect`: what runs on the device."""

from __future__ import annotations

import edge.early  # noqa: F401 - first, for what it does

# isort: split
import logging
import os
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from edge import logs
from edge.command import add_command, make_parser, run_command

if TYPE_CHECKING:
    import argparse

_EXAMPLES = """examples:
  edge-inspect demo                                   see it work, without camera or broker
  edge-inspect once --bundle my-bundle part.jpg       judge pictures on the command line
  edge-inspect cameras                                which cameras are there, and how are they configured?
  edge-inspect check --config device.toml --live      is this device ready?
  edge-inspect doctor --config device.toml            what is wrong here, and what mends it?
  edge-inspect tune --bundle my-bundle                which runtime, with how many threads?
  edge-inspect preview --config device.toml           set the camera up: focus, light, regions
  edge-inspect baseline --config device.toml          learn what good parts look like here
  edge-inspect run --config device.toml               inspect until stopped
  edge-inspect top --config device.toml               how does it fare?
  edge-inspect ledger list --config device.toml       the last verdicts

"""


class _Command(NamedTuple):
    summary: str
    module: str
    """It has `add_arguments(parser)` and `run(arguments)`, which returns the exit code."""


_COMMANDS = {
    "run": _Command("inspect until SIGTERM, Ctrl-C or the camera's last frame", "edge.run"),
    "once": _Command("judge pictures and print one JSON object a line", "edge.once"),
    "cameras": _Command("list the cameras of this device, their modes and controls", "edge.cameras"),
    "check": _Command("validate configuration and bundle without starting", "edge.check"),
    "doctor": _Command("examine all that the device stands on; each finding has its remedy", "edge.doctor.command"),
    "tune": _Command("find the runtime and the number of threads that judge a bundle fastest", "edge.tune.command"),
    "baseline": _Command("learn from the camera what frames of good parts look like", "edge.guard.command"),
    "preview": _Command("show the live picture on a local page, to set a camera up", "edge.preview.command"),
    "model": _Command("show which model judges, go back to the other one, or retry the new one", "edge.slots.command"),
    "safe": _Command("leave the output pins at their safe levels, as after an end of the daemon", "edge.safe"),
    "ledger": _Command("list, export or verify the verdicts on disk", "edge.ledger_command"),
    "top": _Command("how the daemon on this device fares, live", "edge.live.top"),
    "demo": _Command("broker, daemon and a live table of verdicts, in one terminal", "edge.demo"),
}


def main() -> int:
    """Parse the command line, run one command and return its exit code.

    Where a thread still hangs in a driver the process ends here and at once: when that comes back to an interpreter
    that is being taken down, it crashes, and a tidy end would be reported as a fault.
    """
    code = run_command("edge-inspect", _run)
    logging.shutdown()  # What repeated itself is told before the end.
    if any(thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _run() -> int:
    arguments = _parser(sys.argv[1:2]).parse_args()
    logs.set_up()
    try:
        code: int = import_module(_COMMANDS[arguments.command].module).run(arguments)
    finally:
        logs.wind_up()
    return code


def _parser(chosen: list[str]) -> argparse.ArgumentParser:
    """Return the parser of the chosen command, or of all where none of them is: no start pays for the others."""
    description = "Inspects parts on the device: camera frame, int8 model, verdict, MQTT."
    parser = make_parser("edge-inspect", description, _EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in _COMMANDS.keys() & chosen or _COMMANDS:
        added = add_command(commands, name, summary=_COMMANDS[name].summary)
        if name in chosen:
            import_module(_COMMANDS[name].module).add_arguments(added)
    return parser


if __name__ == "__main__":
    sys.exit(main())
