"""Which runtimes an int8 model can be judged with on this machine, and whether they agree."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

import edge
from edge import runtime
from edge.classifier import softmax
from edge.contract import bundle as bundles
from edge.errors import BundleError, InspectError, RuntimeUnavailableError
from edge.sections.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.classifier import Floats

Engine: TypeAlias = Literal["litert", "tflite-runtime"]

_SOUND = Path(edge.__file__).parent / "demo_bundle"
"""A model that every sound runtime runs."""
_FEWEST = 2
"""Pictures that two runtimes must at least differ in to be worth a word."""
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Engines:
    """The runtimes that run a model here."""

    working: tuple[Engine, ...] = ("litert",)
    """LiteRT first: its judgement is what others are compared with."""
    left_out: tuple[str, ...] = ()
    """A sentence for each that is installed but does not."""


def find() -> Engines:
    """Run a model on each installed runtime, in a process of its own (a second each); call it before training.

    That a package is there, and even that it is imported, proves nothing: tflite-runtime beside numpy 2 fails when it
    is given its first model. Such a runtime is told of on stderr at once and left out. Raises RuntimeUnavailableError
    if LiteRT is missing or broken.
    """
    sound = bundles.read(_SOUND)
    try:
        _run("litert", sound)
    except BundleError as error:  # The bundle is sound, so that it is the runtime's fault.
        raise RuntimeUnavailableError(f"LiteRT runs no model ({_what(error)}); reinstall ai-edge-litert") from error
    if find_spec("tflite_runtime") is None:
        return Engines()
    try:
        _run("tflite-runtime", sound)
    except InspectError as error:
        told = f"tflite-runtime runs no model ({_what(error)}): int8 is judged without it; mend or uninstall it."
        print(told, file=sys.stderr)
        return Engines(left_out=(told,))
    return Engines(("litert", "tflite-runtime"))


def _run(engine: Engine, sound: bundles.Bundle) -> None:
    runtime.probe(sound.model, sound.manifest.files[bundles.MODEL], Runtime(engine=engine), None)


def _what(error: InspectError) -> str:
    """Leave out the remedy, which is one for a bundle."""
    return str(error).partition(";")[0]


def disagreements(by_engine: Mapping[Engine, Floats], *, allow_drop: float) -> list[str]:
    """Name each runtime that sees another class than the first one in more than `allow_drop` of the pictures.

    Runtimes round differently, so single pictures may differ; two at least must.
    """
    (first, expected), *others = by_engine.items()
    lines = []
    for engine, found in others:
        differing = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
        if differing >= _FEWEST and differing > allow_drop * len(found) + _EPSILON:
            furthest = float(np.abs(softmax(found) - softmax(expected)).max())
            lines.append(
                f"{engine} sees another class than {first} in {differing} of {len(found)} pictures "
                f"(scores differ by up to {furthest:.2f})"
            )
    return lines
