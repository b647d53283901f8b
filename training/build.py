"""From labelled pictures to a bundle: split, train, quantize, evaluate on the device's path, write."""

from __future__ import annotations

import hashlib
import platform
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import edge
from edge import runtime
from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.bundle import Bundle, Manifest
from edge.errors import BundleError, ConfigError, DataError
from training import backend
from training.data.split import Parts, divide
from training.recipe import IMAGENET, Recipe

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from training.data.dataset import Dataset

_HIGHEST_SEED = 2**32 - 1
"""What NumPy's and TensorFlow's generators take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What one build is asked for."""

    out: Path
    """The bundle's folder, or its zip by the ending .zip; an older bundle there is replaced."""
    weights: str | None = IMAGENET
    """To start from: "imagenet" (downloaded), a .h5 file, or None: train from scratch."""
    seed: int = 1
    recipe: Recipe = field(default_factory=Recipe)
    signing_key: Ed25519PrivateKey | None = None

    def __post_init__(self) -> None:
        """Refuse what would fail only after the training: raises BundleError, ConfigError or DataError."""
        bundles.refuse_overwrite(self.out)
        place = next(parent for parent in self.out.absolute().parents if parent.exists())
        try:
            tempfile.TemporaryDirectory(dir=place, prefix=".edge-train-").cleanup()
        except OSError as error:
            remedy = "choose a folder that you may write to"
            raise BundleError(f"--out {self.out}: {place} cannot be written to ({error.strerror}); {remedy}") from error
        if not 0 <= self.seed <= _HIGHEST_SEED:
            raise ConfigError(f"seed {self.seed} is not a number from 0 to {_HIGHEST_SEED}")
        if self.weights not in (None, IMAGENET) and not Path(str(self.weights)).is_file():
            raise DataError(
                f"--weights {self.weights}: no such file; or say {IMAGENET} to download, none to train from scratch"
            )


def build(data: Dataset, test: Dataset | None, options: Options) -> Bundle:
    """Train on `data` (read as the recipe's canvases) and write the bundle.

    The report's figures come from `test`, or without it from a fifth of `data` that is held out.
    Raises DataError for a data set that cannot be split or weights that do not fit, RuntimeUnavailableError
    without TensorFlow, BundleError if `out` cannot be written. Nothing is written unless all goes well.
    """
    parts = divide(data, test, seed=options.seed)
    backend.start(options.seed)
    from training.evaluation import caveats, evaluate, golden, report, report_json
    from training.int8 import quantize
    from training.network import features, model, train

    network = model.build(len(data.labels), options.recipe, options.weights)
    pretrained = options.weights is not None
    stages = train.train(network, parts, pretrained=pretrained, recipe=options.recipe, seed=options.seed)
    tflite = quantize.quantize(network, parts.train, seed=options.seed)
    manifest = _manifest(data, options)
    with backend.quiet():
        classifier = Classifier(_draft(manifest, tflite, options.out))
    float_logits = features.inference(network.whole, options.recipe.batch)(model.normalise(parts.test.pixels))
    result = evaluate.evaluate(classifier, float_logits, parts.test)
    warnings = caveats.caveats(result)
    facts = _facts(data, parts, options, classifier.engine) | {"training": [stage.summary() for stage in stages]}
    files = {
        bundles.MODEL: tflite,
        "report.json": report_json.encode(result, facts, warnings),
        "report.html": report.html(manifest.name, classifier, parts.test, result, facts, warnings=warnings),
        **golden.golden_files(classifier, parts.test),
    }
    return _write(msgspec.structs.replace(manifest, metrics=result.metrics), files, options)


def _manifest(data: Dataset, options: Options) -> Manifest:
    return Manifest(
        name=options.out.absolute().name.removesuffix(".zip"),
        created=datetime.now(UTC).replace(microsecond=0),
        code_version=edge.__version__,
        labels=data.labels,
        preprocess=options.recipe.preprocess,
        pooling=options.recipe.pooling,
        dataset=bundles.Dataset(sha256=data.sha256, pictures=len(data.sources), seed=options.seed),
        metrics={},
    )


def _draft(manifest: Manifest, tflite: bytes, path: Path) -> Bundle:
    """Return the bundle as far as it is known, for the classifier to judge with before anything is written."""
    digest = hashlib.sha256(tflite).hexdigest()
    return Bundle(path, msgspec.structs.replace(manifest, files={bundles.MODEL: digest}), "", {bundles.MODEL: tflite})


def _facts(data: Dataset, parts: Parts, options: Options, engine: str) -> dict[str, Any]:
    """Return how the model was made, as plain values."""
    weights = options.weights if options.weights in (None, IMAGENET) else Path(options.weights).name
    return {
        "data": {
            "sha256": data.sha256,
            "pictures": len(data.sources),
            "skipped": [*data.skipped, *parts.test.skipped],
            **{name: part.counts() for name, part in parts._asdict().items()},
        },
        "seed": options.seed,
        "weights": weights or "none",
        "recipe": options.recipe.plain(),
        "versions": {
            "edge-inspect": edge.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("tensorflow", "keras", "numpy", "pillow")},
            "runtime": runtime.version(engine),
        },
    }


def _write(manifest: Manifest, files: dict[str, bytes], options: Options) -> Bundle:
    try:
        return bundles.write(options.out, manifest, files, signing_key=options.signing_key)
    except OSError as error:
        raise BundleError(f"{options.out} cannot be written ({error}); choose another --out") from error
