"""`edge-inspect check`: is this device ready? Looks at each part without starting the line."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import msgspec

from edge import config as configs
from edge.camera import open_camera
from edge.camera.base import BadFrame
from edge.capture import Capture
from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.json import NOT_JSON
from edge.contract.preprocess import Tiles
from edge.errors import BundleError, CameraError, DamagedLedgerError, DataError, LedgerError
from edge.mqtt.broker import address, check_broker, make_client
from edge.state import state_dir

if TYPE_CHECKING:
    from pathlib import Path

    from edge.contract.bundle import Bundle
    from edge.sections.cameras import CameraConfig

FRAME_SECONDS = 10.0
GOLDEN = "golden/"
EXPECTED = "golden/expected.json"


def run(path: Path, *, live: bool) -> int:
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
    print(f"ok  ledger         {_ledger(folder)}")
    print(f"ok  baseline       {_baseline(config, folder)}")
    classifier = Classifier(bundle, config.runtime, state_dir=folder)
    height, width = classifier.input_size
    tiles = bundle.manifest.preprocess.tiles
    across, down = reversed(classifier.canvas_size)
    shown = "" if tiles == Tiles() else f", {tiles.columns}x{tiles.rows} tiles of {across}x{down}"
    print(f"ok  runtime        {classifier.engine}, {width}x{height} pixels{shown}")
    if EXPECTED in bundle.files:
        print(f"ok  golden frames  {check_golden(classifier, bundle)} give the expected scores")
    if live:
        print(f"ok  camera         {_one_frame(config.camera)}")
        _check_broker(config)
    return 0


def check_golden(classifier: Classifier, bundle: Bundle) -> int:
    """Judge the bundle's golden frames on this device's runtime and return how many there are.

    Raises BundleError if the frames are damaged, or a score is further off than the manifest's tolerance.
    """
    from edge.contract.pictures import load_picture

    try:
        expected = msgspec.json.decode(bundle.files[EXPECTED], type=dict[str, dict[str, float]])
        frames = {name: load_picture(BytesIO(bundle.files[GOLDEN + name])) for name in expected}
    except (*NOT_JSON, KeyError, DataError) as error:
        raise BundleError(f"{EXPECTED}: golden frames that cannot be used ({error}); rebuild the bundle") from error
    labels = [label.name for label in bundle.manifest.labels]
    tolerance = bundle.manifest.golden_tolerance
    for name, scores in expected.items():
        if sorted(scores) != sorted(labels):
            raise BundleError(f"{EXPECTED}: {name} does not have a score for each label; rebuild the bundle")
        found = dict(zip(labels, classifier.classify(frames[name]).scores.tolist(), strict=True))
        worst = max(abs(found[label] - scores[label]) for label in labels)
        if not worst <= tolerance:  # Not `>`: a score that is not a number must fail too.
            raise BundleError(
                f"golden frame {name}: a score is {worst:.3g} off, more than {tolerance:g}; "
                "this runtime computes the model wrongly: install another one"
            )
    return len(expected)


def _ledger(folder: Path) -> str:
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


def _baseline(config: configs.Config, folder: Path) -> str:
    """Say what the guard compares frames with; raises DataError if it can compare none."""
    from edge.guard.baseline_file import FILE, read

    baseline = read(folder / FILE)
    if baseline is None:
        return f"none yet in {folder}: edge-inspect baseline takes one"
    if reason := baseline.misfit(config.camera, config.guard.checks):
        raise DataError(reason)
    return f"{baseline.frames} frames of {baseline.width}x{baseline.height} pixels"


def _one_frame(config: CameraConfig) -> str:
    capture = Capture(partial(open_camera, config))
    try:
        capture.wait_until_open()
        frame = capture.take(FRAME_SECONDS)
    finally:
        capture.stop(FRAME_SECONDS)
    if frame is None:
        raise CameraError(f"camera {config.name}: no frame within {FRAME_SECONDS:g} s; check its cable and settings")
    if isinstance(frame, BadFrame):
        raise CameraError(f"camera {config.name}: {frame.reason}")
    return f"{config.name} delivers frames"


def _check_broker(config: configs.Config) -> None:
    check_broker(config)
    print(f"ok  broker         {address(config.mqtt)}")
