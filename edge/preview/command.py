"""`edge-inspect preview`: a page with the live picture, to set a camera up by."""

from __future__ import annotations

import argparse
import logging
import os
import socket
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from edge import config as configs
from edge.camera import open_camera
from edge.capture import Capture
from edge.command import add_config, ended_as_interrupted
from edge.errors import CameraError, ClaimedLedgerError, ConfigError, LedgerError
from edge.guard.baseline_file import FILE as BASELINE
from edge.guard.guard import guard_for
from edge.preview.board import Board
from edge.preview.opinions import judging
from edge.preview.server import serving
from edge.preview.watch import RATE, watch
from edge.sections.cameras import SyntheticConfig
from edge.settings import FILE as SETTINGS
from edge.settings import Settings
from edge.state import OF_THE_SERVICE, find_state

if TYPE_CHECKING:
    from pathlib import Path

    from edge.config import Config
    from edge.sections.cameras import CameraConfig

log = logging.getLogger(__name__)

PORT = 8765
_LAST_PORT = 65535
_RECORDED_RATE = 5.0
"""Pictures per second of files that are otherwise shown as fast as they are judged."""
_STOP_SECONDS = 1.0
"""For the camera to close: picamera2 takes about 0.4 s."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    add_config(parser)
    help_ = f"of the page, on this device only (default {PORT}; 0: a free one)"
    parser.add_argument("--port", type=_to_port, default=PORT, metavar="N", help=help_)


def run(arguments: argparse.Namespace) -> int:
    """Show until Ctrl-C; returns never, raises as `preview`."""
    with ended_as_interrupted():
        preview(configs.load(arguments.config), arguments.port)
    return 0


def preview(config: Config, port: int) -> None:
    """Serve the page until KeyboardInterrupt.

    Raises CameraError for a camera that fails for good or that the daemon has, ConfigError for a port that is in use.
    """
    settings = Settings(config, _folder_of(config, SETTINGS))
    if settings.trouble:
        log.warning("%s", settings.trouble)
    config = msgspec.structs.replace(settings.config, camera=_endless(config.camera))
    board = Board(config)
    with ExitStack() as stack:
        port = stack.enter_context(serving(board, port))
        capture = Capture(partial(open_camera, config.camera), reopens=config.camera.is_live)
        stack.callback(_close, capture, config)
        capture.wait_until_open()
        if capture.trouble and _daemon_runs(config):
            remedy = "the daemon runs and may have it: stop that first, systemctl stop edge-inspect"
            raise CameraError(f"{capture.trouble}; {remedy}")
        folder = _folder_of(config, BASELINE)
        stack.enter_context(judging(config, guard_for(config, folder), board))
        print(_invitation(port), flush=True)
        watch(capture, guard_for(config, folder), board)


def _endless(camera: CameraConfig) -> CameraConfig:
    """Return a camera that shows its files again and again, at a pace for the eye."""
    if camera.is_live:
        return camera
    rate = min(camera.rate or _RECORDED_RATE, RATE)
    if isinstance(camera, SyntheticConfig):
        return msgspec.structs.replace(camera, rate=rate, frames=0)
    return msgspec.structs.replace(camera, rate=rate, loop=True)


def _folder_of(config: Config, name: str) -> Path:
    """Return the folder with the daemon's file of this name, or one without it; no folder is made."""
    try:
        return find_state(config, name).parent
    except ConfigError:  # It is nowhere that this user may see.
        return config.state_dir or OF_THE_SERVICE


def _daemon_runs(config: Config) -> bool:
    """Say whether a daemon with this configuration's state is known to run."""
    from edge.ledger.claim import Claim
    from edge.ledger.ledger import FILE as LEDGER

    try:
        Claim(_folder_of(config, LEDGER)).close()
    except ClaimedLedgerError:
        return True
    except LedgerError:  # There is none, or it is not for this user to look at.
        return False
    return False


def _close(capture: Capture, config: Config) -> None:
    if not capture.stop(_STOP_SECONDS):
        log.error("camera %s did not close within %g s", config.camera.name, _STOP_SECONDS)


def _invitation(port: int) -> str:
    user = os.environ.get("SUDO_USER") or os.environ.get("USER") or "user"
    return (
        f"the page is at http://localhost:{port}, for this device only; Ctrl-C ends it\n"
        f"from your desk: ssh -L {port}:localhost:{port} {user}@{socket.gethostname()}, and open that address there"
    )


def _to_port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text[:6]) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; name one up to {_LAST_PORT}, such as {PORT}")
    return int(text)
