"""From labelled pictures to a bundle: divide, train, quantize, calibrate, evaluate on the device's path, write."""

from __future__ import annotations

import hashlib
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
from training import backend, progress
from training.data import saved_split
from training.data.split import group_rows
from training.keys import identity_of, key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.data.dataset import Dataset, Integers
    from training.data.divided import Divided
    from training.data.split import Parts
    from training.evaluation.leakage import Leakage
    from training.evaluation.result import Result
    from training.inputs import Inputs
    from training.int8.engines import Engines
    from training.int8.export import Exported
    from training.network.checkpoint import Run
    from training.network.model import Network
    from training.network.scores import Stage
    from training.options import Options
    from training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One build: what was asked for, and with which recipe and pictures it is done."""

    inputs: Inputs
    options: Options
    recipe: Recipe
    divided: Divided
    siblings: Integers
    """The cluster of each picture of `divided.sources`, looked for before the hours in which pictures may go away."""

    @property
    def parts(self) -> Parts:
        return self.divided.parts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """The model as the bundle will hold it, and what it says of the test part."""

    manifest: Manifest
    classifier: Classifier
    result: Result
    warnings: list[str]


def build(inputs: Inputs, options: Options) -> Bundle:
    """Train on the pictures and write the bundle; an interrupted build of the same goes on where it ended.

    The report's figures come from the test part alone. Raises DataError for a data set that cannot be divided or
    weights that do not fit, RuntimeUnavailableError without TensorFlow or LiteRT, BundleError if int8 costs too much
    recall or `out` cannot be written. Nothing is written to `out` unless all goes well.
    """
    from training.int8 import engines

    found = engines.find()  # Here, so that nothing is trained in vain.
    recipe, trials, choice = _choose(inputs, options)
    divided = inputs.divide(recipe)
    siblings = inputs.siblings(divided, recipe)
    job = _Job(inputs=inputs, options=options, recipe=recipe, divided=divided, siblings=siblings)
    backend.start(options.seed)  # Here, so that what is wrong with the pictures is said at once.
    from training.network.checkpoint import Run

    taught = [job.parts.train.sha256, job.parts.validation.sha256]
    run = Run(key_of(taught, recipe.plain(), options.seed, identity_of(options.weights)))
    network, stages = _train(job, run)
    exported = _export(job, network, found)
    judged = _judge(job, network, exported)
    made = {
        "training": [stage.summary() for stage in stages],
        "search": trials,
        "quantization": exported.plain(),
    }
    written = _write(job, judged, {**_facts(job), **made})
    for done in filter(None, (run, choice)):
        done.finish()
    return written


def _choose(inputs: Inputs, options: Options) -> tuple[Recipe, list[dict[str, Any]], Run | None]:
    """Return the recipe to build with, what was tried, and where that is kept until the bundle is written."""
    if options.auto_ms is None:
        return options.recipe, [], None
    from training import auto

    # What is wrong with the pictures is said at once.
    some, groups = inputs.divide(options.recipe).learnable(auto.MOST_PICTURES, seed=options.seed)
    backend.start(options.seed)
    from training.network.checkpoint import Run

    run = Run(_choice_key(some, groups, options))
    choice = auto.kept(run.folder) or auto.keep(
        run.folder,
        auto.choose(
            lambda recipe: (inputs.again(some, recipe), groups),
            options.recipe,
            shape=inputs.shape(),
            classes=len(inputs.labels),
            weights=str(options.weights),
            budget_ms=options.auto_ms,
            seed=options.seed,
        ),
    )
    return choice.recipe, choice.trials, run


def _choice_key(some: Dataset, groups: Sequence[str], options: Options) -> str:
    """Name what a choice depends on: what is tried, on which pictures, and which of these must stay together."""
    from training import auto

    tried = [recipe.plain() for recipe in auto.styled(options.recipe)]
    together = group_rows(some, groups).tolist()
    return f"auto-{key_of(some.sha256, together, tried, options.auto_ms, options.seed, identity_of(options.weights))}"


def _train(job: _Job, run: Run) -> tuple[Network, list[Stage]]:
    from training.network import model
    from training.network.train import Trainer

    options = job.options
    with backend.several(), progress.timed("training in all"):
        network = model.build(len(job.inputs.labels), job.recipe, options.weights)
        trainer = Trainer(network, job.parts, job.recipe, seed=options.seed, run=run, logs=options.logs)
        return network, trainer.from_scratch() if options.weights is None else trainer.on_features()


def _export(job: _Job, network: Network, found: Engines) -> Exported:
    from training.int8 import export
    from training.network.pooled import predict

    pictures = job.parts.validation.joined(job.parts.calibration)
    held = export.Held(
        pictures=pictures,
        logits=predict(network, pictures.pixels, job.recipe),
        draft=partial(_draft, _manifest(job)),
        engines=found,
        part=_shown_parts(job, pictures),
        allow_drop=job.options.allow_drop,
    )
    return export.export(network, job.parts.train, held, job.recipe, seed=job.options.seed)


def _judge(job: _Job, network: Network, exported: Exported) -> _Judged:
    """Fit temperature and thresholds to the calibration part, then judge the test part with them."""
    from training.evaluation import caveats, evaluate, fit
    from training.evaluation.promise import Evidence
    from training.int8 import metadata, sigmoid
    from training.network.pooled import predict

    parts = job.parts
    manifest, aim = _manifest(job), job.options.aim
    evidence = Evidence(
        share=len(parts.calibration.sources) / job.divided.count,
        models=exported.candidates,
        part=_shown_parts(job, parts.calibration),
    )
    fitted = fit.fit(_classifier(manifest, exported.model), parts.calibration, aim, evidence)
    manifest = msgspec.structs.replace(manifest, temperature=fitted.temperature, thresholds=fitted.thresholds)
    # Other tools see the graph's own logits alone.
    calibration = sigmoid.fit(fitted.logits, parts.calibration.truth) if job.recipe.is_whole else None
    classifier = _classifier(manifest, metadata.add(exported.model, manifest, sigmoid=calibration))
    logits = predict(network, parts.test.pixels, job.recipe)
    result = evaluate.evaluate(classifier, logits, parts.test, rule=fitted.rule, part=_shown_parts(job, parts.test))
    return _Judged(
        manifest=msgspec.structs.replace(manifest, metrics=result.metrics),
        classifier=classifier,
        result=result,
        warnings=[*caveats.caveats(result), *exported.warnings],
    )


def _shown_parts(job: _Job, data: Dataset) -> Integers:
    """Return which pictures show the same part, by the rule that divided them; none may be mixed in for training."""
    divided = job.divided
    return group_rows(data, [divided.keys[source] for source in data.sources])


def _write(job: _Job, judged: _Judged, facts: dict[str, Any]) -> Bundle:
    from training.evaluation import golden, report, report_json

    leak = _leakage(job)
    warnings = [*judged.warnings, *([leak.text] if leak else [])]
    facts = {**facts, "leakage": leak and leak.plain()}
    options, test, result = job.options, job.parts.test, judged.result
    split = saved_split.record(
        job.divided.dealt, seed=options.seed, group_by=job.inputs.rule.text, own_test=job.divided.own_test
    )
    files = {
        bundles.MODEL: judged.classifier.bundle.model,
        saved_split.FILE: split.encode(),
        "report.json": report_json.encode(result, facts, warnings),
        "report.html": report.html(judged.manifest.name, judged.classifier, test, result, facts, warnings=warnings),
        **golden.golden_files(judged.classifier, test),
    }
    try:
        return bundles.write(options.out, judged.manifest, files, signing_key=options.signing_key)
    except OSError as error:
        raise BundleError(f"{options.out} cannot be written ({error}); choose another --out") from error


def _leakage(job: _Job) -> Leakage | None:
    from training.data.embedding import embed
    from training.evaluation import leakage

    divided, weights = job.divided, job.options.weights
    return leakage.find(
        divided.truth,
        divided.part,
        job.siblings,
        lambda: embed(divided.whole(), weights=weights, recipe=job.recipe),
        seed=job.options.seed,
    )


def _classifier(manifest: Manifest, model: bytes) -> Classifier:
    with backend.quiet():
        return Classifier(_draft(manifest, model))


def _draft(manifest: Manifest, model: bytes) -> Bundle:
    """Return the bundle as far as it is known, for the classifier to judge with before anything is written."""
    known = msgspec.structs.replace(manifest, files={bundles.MODEL: hashlib.sha256(model).hexdigest()})
    return Bundle(Path(manifest.name), known, "", {bundles.MODEL: model})


def _manifest(job: _Job) -> Manifest:
    divided, options = job.divided, job.options
    return Manifest(
        name=options.out.absolute().name.removesuffix(".zip"),
        created=datetime.now(UTC).replace(microsecond=0),
        code_version=edge.__version__,
        labels=job.inputs.labels,
        preprocess=job.recipe.preprocess,
        pooling=job.recipe.pooling,
        dataset=bundles.Dataset(sha256=divided.sha256, pictures=divided.count, seed=options.seed),
        metrics={},
    )


def _facts(job: _Job) -> dict[str, Any]:
    """Return how the model was made, as plain values."""
    weights = job.options.weights
    return {
        "data": {
            "sha256": job.divided.sha256,
            "pictures": job.divided.count,
            "skipped": list(job.divided.skipped),
            "group_by": job.inputs.rule.text,
            "fold": job.inputs.fold and str(job.inputs.fold),
            **{name: part.counts() for name, part in job.parts._asdict().items()},
        },
        "seed": job.options.seed,
        "weights": "none" if weights is None else Path(weights).name,
        "recipe": job.recipe.plain(),
        "versions": {
            "edge-inspect": edge.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("tensorflow", "keras", "numpy", "pillow")},
            "runtime": runtime.version("litert"),
        },
    }
