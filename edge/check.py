"""`edge-inspect check`: is this device ready? Looks at each part without starting the line."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge import config as configs
from edge.camera import open_camera
from edge.camera.base import BadFrame
from edge.capture import HANG_SECONDS, Capture
from edge.classifier import Classifier
from edge.command import add_config
from edge.contract import bundle as bundles
from edge.contract.preprocess import Tiles
from edge.errors import CameraError, DamagedLedgerError, DataError, LedgerError, RuntimeUnavailableError
from edge.golden import EXPECTED, check_golden
from edge.mqtt.broker import address, check_broker, make_client
from edge.sections.cameras import FolderConfig
from edge.state import state_dir

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from edge.sections.cameras import CameraConfig

FRAME_SECONDS = 10.0
ACCELERATOR_SECONDS = 60.0
"""For three attempts to open it: one that hangs takes longer, and is reported as that."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    add_config(parser)
    parser.add_argument("--live", action="store_true", help="also take a frame and log in to the broker")


def run(arguments: argparse.Namespace) -> int:
    """Look at all parts; returns 0, or raises as `check`."""
    check(arguments.config, live=arguments.live)
    return 0


def check(path: Path, *, live: bool) -> None:
    """Print a line for each part that is in order; the first that is not is raised as its InspectError."""
    config = configs.load(path)
    make_client(config.mqtt, config.device.id)  # Reads the files that [mqtt] names.
    print(f"ok  configuration  {path}")
    if config.sparkplug.group_id:
        from edge.sparkplug.session import Topics

        print(f"ok  sparkplug      {Topics.by(config).of('+')}")
    bundle = bundles.read(config.bundle, trusted_keys=config.trusted_keys)
    print(f"ok  bundle         {bundle.manifest.name!r} {bundle.sha256[:12]}, {len(bundle.manifest.labels)} labels")
    folder = state_dir(config)
    print(f"ok  ledger         {ledger_state(folder)}")
    print(f"ok  baseline       {baseline_state(config, folder)}")
    classifier = Classifier(bundle, config.runtime, state_dir=folder)
    height, width = classifier.input_size
    tiles = bundle.manifest.preprocess.tiles
    across, down = reversed(classifier.canvas_size)
    shown = "" if tiles == Tiles() else f", {tiles.columns}x{tiles.rows} tiles of {across}x{down}"
    print(f"ok  runtime        {classifier.engine}, {width}x{height} pixels{shown}")
    if EXPECTED in bundle.files:
        print(f"ok  golden frames  {check_golden(classifier, bundle)} give the expected scores")
    _check_accelerator(classifier)
    if live:
        print(f"ok  camera         {one_frame(config.camera)}")
        _check_broker(config)


def _check_accelerator(classifier: Classifier) -> None:
    """Wait for the accelerator, if one is configured; raises RuntimeUnavailableError if it does not judge."""
    try:
        if classifier.accelerated is not None:
            if trouble := classifier.accelerated.settle(ACCELERATOR_SECONDS):
                raise RuntimeUnavailableError(trouble)
            print("ok  accelerator    the Edge TPU gives the golden frames' expected scores")
    finally:
        classifier.close()


def ledger_state(folder: Path) -> str:
    """Say what waits in a ledger, while its daemon runs too; raises LedgerError if it cannot be read."""
    from edge.ledger.ledger import FILE
    from edge.ledger.reading import opened

    if not (folder / FILE).exists():
        return f"none yet in {folder}"
    try:
        with opened(folder / FILE) as store:
            return f"verdicts up to {store.last}, {store.count_behind(store.marks.delivered)} wait for the broker"
    except DamagedLedgerError as error:
        raise LedgerError(f"{error}; the daemon's next start repairs it, and keeps the file beside it") from error


def baseline_state(config: configs.Config, folder: Path) -> str:
    """Say what the guard compares frames with; raises DataError if it can compare none."""
    from edge.guard.baseline_file import FILE, read

    baseline = read(folder / FILE)
    if baseline is None:
        return f"none yet in {folder}: edge-inspect baseline takes one"
    if reason := baseline.misfit(config.camera, config.guard.checks):
        raise DataError(reason)
    return f"{baseline.frames} frames of {baseline.width}x{baseline.height} pixels"


def one_frame(config: CameraConfig) -> str:
    """Say that a camera gives a frame; raises CameraError if it does not."""
    capture = Capture(partial(open_camera, config))
    try:
        capture.wait_until_open(HANG_SECONDS)
        frame = capture.take(FRAME_SECONDS)
    finally:
        capture.stop(FRAME_SECONDS)
    if frame is None and isinstance(config, FolderConfig) and config.watch:
        return f"{config.name} waits for pictures in {config.path}"
    if frame is None:
        raise CameraError(f"camera {config.name}: no frame within {FRAME_SECONDS:g} s; check its cable and settings")
    if isinstance(frame, BadFrame):
        raise CameraError(f"camera {config.name}: {frame.reason}")
    return f"{config.name} delivers frames"


def _check_broker(config: configs.Config) -> None:
    check_broker(config)
    print(f"ok  broker         {address(config.mqtt)}")
