"""`edge-inspect run`: the daemon."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from edge.command import add_config

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Inspect as the configuration says; returns and raises as `edge.daemon.run`."""
    gc.disable()  # A tenth of a start went into looking for garbage; the daemon enables it once its line is open.
    from edge import config, daemon

    return daemon.run(config.load(arguments.config))
