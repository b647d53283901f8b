"""What a device says of itself and of its model, once at each start."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

from edge import __version__, clock, runtime
from edge.contract.messages import Info, Model

if TYPE_CHECKING:
    from edge.classifier import Classifier
    from edge.config import Config
    from edge.contract.bundle import Bundle


def info(config: Config, classifier: Classifier, boot_id: str) -> Info:
    """Return what this device is."""
    return Info(
        version=__version__,
        python=platform.python_version(),
        platform=f"{sys.platform} {platform.machine()}",
        runtime=runtime.version(classifier.engine),
        camera=config.camera.name,
        boot_id=boot_id,
        time=clock.now(),
    )


def model(bundle: Bundle, boot_id: str) -> Model:
    """Return what it judges with."""
    manifest = bundle.manifest
    return Model(
        name=manifest.name,
        sha256=bundle.model_sha256,
        bundle_sha256=bundle.sha256,
        labels={label.name: label.verdict for label in manifest.labels},
        created=manifest.created,
        code_version=manifest.code_version,
        metrics=manifest.metrics,
        boot_id=boot_id,
        time=clock.now(),
    )
