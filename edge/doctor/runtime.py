"""The interpreters, the bundle, and whether one computes the other rightly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.doctor.finding import blame, ok, problem, skipped, warning
from edge.doctor.machine import pages_hint
from edge.errors import BundleError, RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.contract.bundle import Bundle
    from edge.doctor.finding import Finding, Patient


def numpy(_: Patient) -> Iterator[Finding]:
    """Whether numpy loads: all else stands on it."""
    try:
        import numpy as np
    except ImportError as error:
        yield blame("numpy", error, f"pip install --force-reinstall the numpy of requirements-device.txt{pages_hint()}")
        return
    yield ok("numpy", np.__version__)


def litert(patient: Patient) -> Iterator[Finding]:
    """Whether LiteRT loads."""
    yield from _engine(patient, "litert")


def tflite_runtime(patient: Patient) -> Iterator[Finding]:
    """Whether tflite-runtime loads."""
    yield from _engine(patient, "tflite-runtime")


def _engine(patient: Patient, name: str) -> Iterator[Finding]:
    import numpy as np

    from edge.runtime import find_engine, installed, version

    there = installed()
    wanted = patient.config.runtime.engine if patient.config else "auto"
    if name not in there:
        yield judge_absence(name, wanted, there)
        return
    yield from judge_pairing(name, np.__version__)

    try:
        find_engine(name)
    except RuntimeUnavailableError as error:
        yield blame(name, error, f"reinstall it{pages_hint()}")
    else:
        yield ok(name, version(name))


def judge_absence(name: str, wanted: str, there: Sequence[str]) -> Finding:
    """Judge an engine that is not installed, by what the configuration wants and what else there is."""
    if name == wanted or (wanted == "auto" and not there):
        return problem(name, f"it is not installed, and runtime.engine is {wanted}", f"pip install {_PIP[name]}")
    return skipped(name, "not installed, and not needed")


_PIP = {"litert": "ai-edge-litert", "tflite-runtime": "'edge-inspect[tflite-runtime]' (Python 3.11 only)"}


def judge_pairing(name: str, numpy_version: str) -> Iterator[Finding]:
    """Judge an engine's numpy: tflite-runtime is built for numpy 1."""
    if name == "tflite-runtime" and numpy_version.partition(".")[0] != "1":
        says = f"tflite-runtime is built for numpy 1, and this is {numpy_version}"
        yield warning(name, says, "pip install 'numpy<2', or use LiteRT (runtime.engine)")


def bundle(patient: Patient) -> Iterator[Finding]:
    """Whether the configured bundle is whole, signed as it must be, and for this version."""
    found = _bundle(patient)
    yield ok("bundle", f"{found.manifest.name!r} {found.sha256[:12]}, {len(found.manifest.labels)} labels")


def model(patient: Patient) -> Iterator[Finding]:
    """Whether the processor gives the golden frames' scores, of the built-in bundle where no other is named."""
    from edge.classifier import Classifier
    from edge.golden import EXPECTED, check_golden
    from edge.sections.runtime import Runtime

    settings = patient.config.runtime if patient.config else Runtime()
    found = _bundle(patient)
    classifier = Classifier(found, msgspec.structs.replace(settings, accelerator="none"))
    if EXPECTED not in found.files:
        says = f"{classifier.engine} runs the model; the bundle has no golden frames to compare"
        yield warning("model", says, "rebuild it with edge-train build: a runtime that computes wrongly stays unseen")
        return
    yield ok("model", f"{classifier.engine}: {check_golden(classifier, found)} golden frames give the expected scores")


def _bundle(patient: Patient) -> Bundle:
    from edge.contract import bundle as bundles

    if patient.config:
        return bundles.read(patient.config.bundle, trusted_keys=patient.config.trusted_keys)
    try:
        return bundles.read(Path(__file__).parent.parent / "demo_bundle")
    except BundleError as error:
        raise BundleError(f"the built-in bundle is damaged ({error}); reinstall edge-inspect") from error
