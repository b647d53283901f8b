"""`edge-inspect tune`: measures, shows a table, and the lines for the configuration. It writes nothing."""

from __future__ import annotations

import os
import sys
import tempfile
from typing import TYPE_CHECKING

from edge import heat
from edge.command import INTERRUPTED, ended_as_interrupted, to_path, to_positive
from edge.contract import bundle as bundles
from edge.errors import RuntimeUnavailableError
from edge.tune.plan import Plan, settings
from edge.tune.result import Result, judged
from edge.tune.rounds import Rounds

if TYPE_CHECKING:
    import argparse

_SECONDS = 60.0
_BUSY = 0.5
"""Of a core: what a quiet device has to do stays below."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    parser.add_argument("--bundle", type=to_path, required=True, metavar="BUNDLE", help="a bundle folder or zip")
    parser.add_argument("--config", type=to_path, metavar="FILE", help="the device's TOML file: camera, regions, chip")
    parser.add_argument(
        "--seconds", type=to_positive("seconds"), default=_SECONDS, metavar="N", help="of measuring (%(default)g)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; returns 0, or 130 after Ctrl-C, with what was known until then.

    Raises BundleError, ConfigError, and RuntimeUnavailableError where no setting judges rightly.
    """
    config = None
    if arguments.config:
        from edge.config import load

        config = load(arguments.config)
    bundle = bundles.read(arguments.bundle, trusted_keys=config.trusted_keys if config else ())
    busy, interrupted = _busy(), False
    with tempfile.TemporaryDirectory(prefix="edge-inspect-tune-") as state:
        plan = Plan(bundle=arguments.bundle, config=config, state=state)
        measured = Rounds(settings(bundle, plan.base), plan.task, arguments.seconds)
        try:
            with ended_as_interrupted():
                measured.measure(lambda text: print(text, file=sys.stderr, flush=True))
        except KeyboardInterrupt:
            interrupted = True
    rows = tuple(measured.rows.values())
    notes = tuple(filter(None, (busy, heat.read().trouble, "interrupted: not all was measured" if interrupted else "")))
    result = Result(rows=rows, verdicts=judged(rows, bundle), base=plan.base, size=plan.size, notes=notes)
    print(result.as_json() if arguments.json else result.as_text(), flush=True)
    if interrupted:
        return INTERRUPTED
    if result.best is None:
        raise RuntimeUnavailableError("no setting judges this bundle rightly; see edge-inspect doctor")
    return 0


def _busy() -> str:
    """Say that the device has other work, if so."""
    load = os.getloadavg()[0]
    return f"the device was busy before (load {load:.1f}): stop other programs, the daemon too" if load > _BUSY else ""
