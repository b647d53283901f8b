"""`edge-inspect check`: is this device ready? Looks at each part without starting the line."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING

from edge import config as configs
from edge.camera import open_camera
from edge.capture import Capture
from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.daemon import state_dir
from edge.errors import BundleError, CameraError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.config import CameraConfig
    from edge.contract.bundle import Bundle

FRAME_SECONDS = 10.0
GOLDEN = "golden/"
EXPECTED = "golden/expected.json"


def run(path: Path, *, live: bool) -> int:
    """Print a line for each part that is in order; the first that is not is raised as its InspectError."""
    config = configs.load(path)
    print(f"ok  configuration  {path}")
    bundle = bundles.read(config.bundle, trusted_keys=config.trusted_keys)
    print(f"ok  bundle         {bundle.manifest.name} {bundle.sha256[:12]}, {len(bundle.manifest.labels)} labels")
    classifier = Classifier(bundle, config.runtime, state_dir=state_dir(config))
    height, width = classifier.input_size
    print(f"ok  runtime        {classifier.engine}, {width}x{height} pixels")
    if EXPECTED in bundle.files:
        print(f"ok  golden frames  {check_golden(classifier, bundle)} give the expected scores")
    if live:
        print(f"ok  camera         {_one_frame(config.camera)}")
        _check_broker(config)
    return 0


def check_golden(classifier: Classifier, bundle: Bundle) -> int:
    """Judge the bundle's golden frames on this device's runtime and return how many there are.

    Raises BundleError if a score is further from the expected one than the manifest's tolerance.
    """
    from edge.contract.pictures import load_picture

    expected: dict[str, dict[str, float]] = json.loads(bundle.files[EXPECTED])
    tolerance = bundle.manifest.golden_tolerance
    for name, scores in expected.items():
        found = classifier.classify(load_picture(BytesIO(bundle.files[GOLDEN + name]))).scores
        worst = max(abs(float(f) - e) for f, e in zip(found, scores.values(), strict=True))
        if worst > tolerance:
            raise BundleError(
                f"golden frame {name}: a score is {worst:.3f} off, more than {tolerance:g}; "
                "this runtime computes the model wrongly: install another one"
            )
    return len(expected)


def _one_frame(config: CameraConfig) -> str:
    capture = Capture(open_camera(config))
    try:
        frame = capture.take(FRAME_SECONDS)
    finally:
        capture.stop(FRAME_SECONDS)
    if frame is None:
        raise CameraError(f"camera {config.name}: no frame within {FRAME_SECONDS:g} s; check its cable and settings")
    return f"{config.name} delivers frames"


def _check_broker(config: configs.Config) -> None:
    from edge.broker import address, check_broker

    check_broker(config)
    print(f"ok  broker         {address(config.mqtt)}")
