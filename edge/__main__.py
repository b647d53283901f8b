"""The command `edge-inspect`: what runs on the device."""

from __future__ import annotations

import edge.early  # noqa: F401 - first, for what it does

# isort: split
import argparse
import gc
import logging
import os
import sys
import threading

from edge.command import add_command, make_parser, run_command, to_path

_EXAMPLES = """examples:
  edge-inspect demo                                   see it work, without camera or broker
  edge-inspect once --bundle my-bundle part.jpg       judge pictures on the command line
  edge-inspect check --config device.toml --live      is this device ready?
  edge-inspect baseline --config device.toml          learn what good parts look like here
  edge-inspect run --config device.toml               inspect until stopped
  edge-inspect ledger list --config device.toml       the last verdicts

"""


def main() -> int:
    """Parse the command line, run one command and return its exit code.

    Where a thread still hangs in a driver the process ends here and at once: when that comes back to an interpreter
    that is being taken down, it crashes, and a tidy end would be reported as a fault.
    """
    code = run_command("edge-inspect", _run)
    if any(thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _run() -> int:
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("paho").setLevel(logging.WARNING)
    return _dispatch(arguments)


def _dispatch(arguments: argparse.Namespace) -> int:
    """Run a command, importing only what that command needs."""
    if arguments.command == "run":
        gc.disable()  # A tenth of a start went into looking for garbage; the daemon enables it once its line is open.
        from edge import config, daemon

        return daemon.run(config.load(arguments.config))
    if arguments.command == "once":
        from edge import once

        return once.run(arguments.bundle, arguments.images)
    if arguments.command == "check":
        from edge import check

        return check.run(arguments.config, live=arguments.live)
    if arguments.command == "baseline":
        from edge.guard import command

        return command.run(arguments.config, arguments.frames, empty=arguments.empty)
    if arguments.command == "ledger":
        from edge import ledger_command

        return ledger_command.run(arguments)
    from edge import demo

    return demo.run(arguments)


def _parser() -> argparse.ArgumentParser:
    description = "Inspects parts on the device: camera frame, int8 model, verdict, MQTT."
    parser = make_parser("edge-inspect", description, _EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = add_command(commands, "run", summary="inspect until SIGTERM, Ctrl-C or the camera's last frame")
    run.add_argument("--config", type=to_path, required=True, metavar="FILE", help="the device's TOML file")
    once = add_command(commands, "once", summary="judge pictures and print one JSON object a line")
    once.add_argument("--bundle", type=to_path, required=True, metavar="BUNDLE", help="a bundle folder or zip")
    once.add_argument("images", type=to_path, nargs="+", metavar="IMAGE", help="a picture, or a folder of them")
    check = add_command(commands, "check", summary="validate configuration and bundle without starting")
    check.add_argument("--config", type=to_path, required=True, metavar="FILE", help="the device's TOML file")
    check.add_argument("--live", action="store_true", help="also take a frame and log in to the broker")
    baseline = add_command(commands, "baseline", summary="learn from the camera what frames of good parts look like")
    baseline.add_argument("--config", type=to_path, required=True, metavar="FILE", help="the device's TOML file")
    baseline.add_argument("--frames", type=_count, default=50, metavar="N", help="of good parts, changed meanwhile")
    baseline.add_argument("--empty", action="store_true", help="add the empty fixture, to tell it from other faults")
    ledger = add_command(commands, "ledger", summary="list, export or verify the verdicts on disk")
    if sys.argv[1:2] == ["ledger"]:  # A start of the daemon would pay for each of its parsers.
        from edge import ledger_command

        ledger_command.add_actions(ledger)
    demo = add_command(commands, "demo", summary="broker, daemon and a live table of verdicts, in one terminal")
    demo.add_argument("--frames", type=to_path, metavar="DIR", help="judge these pictures instead of rendered ones")
    demo.add_argument("--bundle", type=to_path, metavar="BUNDLE", help="instead of the built-in demo bundle")
    demo.add_argument("--count", type=_count, default=0, metavar="N", help="stop after N verdicts (0: never)")
    demo.add_argument("--picture", type=to_path, metavar="FILE", help="save the last table as an SVG picture")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
