"""From labelled pictures to a bundle: divide, train, quantize, calibrate, evaluate on the device's path, write."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import edge
from edge import runtime
from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.bundle import Bundle, Manifest
from edge.errors import BundleError
from training import backend
from training.data import dataset, saved_split
from training.recipe import IMAGENET

if TYPE_CHECKING:
    from training.auto import Trial
    from training.evaluation.leakage import Leakage
    from training.evaluation.result import Result
    from training.inputs import Divided, Inputs
    from training.int8.export import Exported
    from training.network.checkpoint import Run
    from training.network.model import Network
    from training.network.scores import Stage
    from training.options import Options
    from training.recipe import Recipe


def build(inputs: Inputs, options: Options) -> Bundle:
    """Train on the pictures and write the bundle; an interrupted build of the same goes on where it ended.

    The report's figures come from the test part alone. Raises DataError for a data set that cannot be divided or
    weights that do not fit, RuntimeUnavailableError without TensorFlow, BundleError if int8 costs too much recall
    or `out` cannot be written. Nothing is written to `out` unless all goes well.
    """
    backend.start(options.seed)
    from training.network.checkpoint import Run

    recipe, trials = _choose(inputs, options)
    divided = inputs.divide(recipe)
    run = Run(_run_key(divided, recipe, options))
    network, stages = _train(divided, recipe, options, run)
    manifest = _manifest(divided, recipe, options)
    exported = _export(network, divided, recipe, manifest, options)
    facts = {
        **_facts(inputs, divided, recipe, options),
        "training": [stage.summary() for stage in stages],
        "search": [trial.plain() for trial in trials],
        "quantization": exported.plain(),
    }
    judged = _Judged.of(divided, network, manifest, exported, recipe, options)
    written = _write(judged, inputs, divided, facts, options)
    run.finish()
    return written


def _choose(inputs: Inputs, options: Options) -> tuple[Recipe, list[Trial]]:
    if options.auto_ms is None:
        return options.recipe, []
    from training import auto

    return auto.choose(
        lambda recipe: inputs.divide(recipe).learnable,
        options.recipe,
        classes=len(inputs.labels),
        weights=str(options.weights),
        budget_ms=options.auto_ms,
        seed=options.seed,
    )


def _train(divided: Divided, recipe: Recipe, options: Options, run: Run) -> tuple[Network, list[Stage]]:
    from training.network import model
    from training.network.train import Trainer

    network = model.build(len(divided.data.labels), recipe, options.weights)
    trainer = Trainer(network, divided.parts, recipe, seed=options.seed, run=run, logs=options.logs)
    return network, trainer.from_scratch() if options.weights is None else trainer.on_features()


def _export(
    network: Network, divided: Divided, recipe: Recipe, manifest: Manifest, options: Options
) -> Exported:
    from training.int8 import export
    from training.network.pooled import predict

    pictures = dataset.joined(divided.parts.validation, divided.parts.calibration)
    held = export.Held(
        pictures=pictures,
        logits=predict(network, pictures.pixels, recipe),
        draft=partial(_draft, manifest),
        allow_drop=options.allow_drop,
    )
    return export.export(network, divided.parts.train, held, recipe, seed=options.seed)


def _draft(manifest: Manifest, model: bytes) -> Bundle:
    """Return the bundle as far as it is known, for the classifier to judge with before anything is written."""
    known = msgspec.structs.replace(manifest, files={bundles.MODEL: hashlib.sha256(model).hexdigest()})
    return Bundle(Path(manifest.name), known, "", {bundles.MODEL: model})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """The model as the bundle will hold it, and what it says of the test part."""

    manifest: Manifest
    classifier: Classifier
    result: Result
    warnings: tuple[str, ...]

    @classmethod
    def of(  # noqa: PLR0913 - everything comes together here
        cls,
        divided: Divided,
        network: Network,
        manifest: Manifest,
        exported: Exported,
        recipe: Recipe,
        options: Options,
    ) -> _Judged:
        """Fit temperature and thresholds to the calibration part, then judge the test part with them."""
        from training.evaluation import caveats, evaluate, fit
        from training.int8 import metadata
        from training.network.pooled import predict

        parts = divided.parts
        share = len(parts.calibration.sources) / len(divided.data.sources)
        fitted = fit.fit(_classifier(manifest, exported.model), parts.calibration, options.aim, share=share)
        manifest = msgspec.structs.replace(manifest, temperature=fitted.temperature, thresholds=fitted.thresholds)
        classifier = _classifier(manifest, metadata.add(exported.model, manifest))
        logits = predict(network, parts.test.pixels, recipe)
        result = evaluate.evaluate(classifier, logits, parts.test, rule=fitted.rule)
        return cls(
            manifest=msgspec.structs.replace(manifest, metrics=result.metrics),
            classifier=classifier,
            result=result,
            warnings=(*caveats.caveats(result), *exported.disagreements),
        )


def _write(judged: _Judged, inputs: Inputs, divided: Divided, facts: dict[str, Any], options: Options) -> Bundle:
    from training.evaluation import golden, report, report_json

    leak = _leakage(inputs, divided, options)
    warnings = [*judged.warnings, *([leak.text] if leak else [])]
    facts = {**facts, "leakage": leak and leak.plain()}
    test, result = divided.parts.test, judged.result
    split = saved_split.record(
        divided.parts, seed=options.seed, group_by=inputs.rule.text, own_test=divided.test is not None
    )
    page = report.html(judged.manifest.name, judged.classifier, test, result, facts, warnings=warnings)
    files = {
        bundles.MODEL: judged.classifier.bundle.model,
        saved_split.FILE: split.encode(),
        "report.json": report_json.encode(result, facts, warnings),
        "report.html": page,
        **golden.golden_files(judged.classifier, test),
    }
    try:
        return bundles.write(options.out, judged.manifest, files, signing_key=options.signing_key)
    except OSError as error:
        raise BundleError(f"{options.out} cannot be written ({error}); choose another --out") from error


def _leakage(inputs: Inputs, divided: Divided, options: Options) -> Leakage | None:
    from training.data.embedding import embed
    from training.evaluation import leakage

    vectors = embed(divided.data, options.weights, options.recipe.model.alpha)
    return leakage.find(divided.data, divided.groups if inputs.rule.kind != "none" else None, vectors, seed=options.seed)


def _classifier(manifest: Manifest, model: bytes) -> Classifier:
    with backend.quiet():
        return Classifier(_draft(manifest, model))


def _manifest(divided: Divided, recipe: Recipe, options: Options) -> Manifest:
    return Manifest(
        name=options.out.absolute().name.removesuffix(".zip"),
        created=datetime.now(UTC).replace(microsecond=0),
        code_version=edge.__version__,
        labels=divided.data.labels,
        preprocess=recipe.preprocess,
        pooling=recipe.pooling,
        dataset=bundles.Dataset(
            sha256=divided.data.sha256, pictures=len(divided.data.sources), seed=options.seed
        ),
        metrics={},
    )


def _run_key(divided: Divided, recipe: Recipe, options: Options) -> str:
    """Hash everything that a training run depends on: an equal one may go on where this one ends."""
    weights = options.weights
    if weights not in (None, IMAGENET):
        weights = hashlib.sha256(Path(str(weights)).read_bytes()).hexdigest()
    versions = [edge.__version__, *(version(name) for name in ("tensorflow", "keras"))]
    parts = [divided.parts.train.sha256, divided.parts.validation.sha256]
    content = [parts, recipe.plain(), options.seed, weights, versions]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _facts(inputs: Inputs, divided: Divided, recipe: Recipe, options: Options) -> dict[str, Any]:
    """Return how the model was made, as plain values."""
    weights = options.weights if options.weights in (None, IMAGENET) else Path(options.weights).name
    return {
        "data": {
            "sha256": divided.data.sha256,
            "pictures": len(divided.data.sources),
            "skipped": [*divided.data.skipped, *(divided.test.skipped if divided.test else ())],
            "group_by": inputs.rule.text,
            **{name: part.counts() for name, part in divided.parts._asdict().items()},
        },
        "seed": options.seed,
        "weights": weights or "none",
        "recipe": recipe.plain(),
        "versions": {
            "edge-inspect": edge.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("tensorflow", "keras", "numpy", "pillow")},
            "runtime": runtime.version("litert"),
        },
    }
