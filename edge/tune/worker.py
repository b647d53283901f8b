"""The process that measures one setting once: `python -P -m edge.tune.worker`, a task on stdin, a Round on stdout."""

from __future__ import annotations

import os
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.pictures import load_picture
from edge.contract.preprocess import Region
from edge.errors import RuntimeUnavailableError
from edge.golden import EXPECTED, GOLDEN
from edge.tune.choice import Round
from edge.tune.task import Task

if TYPE_CHECKING:
    from edge.contract.bundle import Bundle
    from edge.contract.preprocess import Pixels, Rotation

_SETTLING_SECONDS = 60.0
_WARMING = 3
_FEWEST = 5
"""Frames, however slow."""
_DRAWN = 4
"""Pictures to compare settings by, where the bundle has none."""


def main() -> int:
    """Measure, print it, and return 0; raises InspectError."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    answers = os.dup(1)
    os.dup2(2, 1)  # What a library prints is no answer.
    found = bundles.read(Path(task.bundle), trusted_keys=task.trusted_keys)
    classifier = Classifier(found, task.runtime, state_dir=Path(task.state))
    try:
        _settle(classifier)
        answer = _measured(classifier, task)
        _require_no_help(classifier)
    finally:
        classifier.close()
    with os.fdopen(answers, "wb") as stream:
        stream.write(msgspec.json.encode(answer))
    return 0


def pictures(bundle: Bundle) -> list[Pixels]:
    """Return what settings are compared by: the golden frames in the order of their names, or drawn ones."""
    if EXPECTED in bundle.files:
        names = sorted(msgspec.json.decode(bundle.files[EXPECTED], type=dict[str, dict[str, float]]))
        return [load_picture(BytesIO(bundle.files[GOLDEN + name])) for name in names]
    dice = np.random.default_rng(7)
    return [np.kron(dice.integers(0, 256, (30, 40, 3), np.uint8), np.ones((8, 8, 1), np.uint8)) for _ in range(_DRAWN)]


def _measured(classifier: Classifier, task: Task) -> Round:
    compared = pictures(classifier.bundle)
    scores = tuple(tuple(classifier.classify(each).scores.tolist()) for each in compared)
    frame = _filled(compared[0], *task.size)
    areas = [Region(*area) for area in task.areas]
    for _ in range(_WARMING):
        _timed(classifier, frame, areas, task.rotate)
    end = time.perf_counter() + task.seconds
    times: list[tuple[float, float]] = []
    while len(times) < _FEWEST or time.perf_counter() < end:
        times.append(_timed(classifier, frame, areas, task.rotate))
    whole, invokes = zip(*times, strict=True)
    return Round(frames=whole, invokes=invokes, scores=scores, memory_mib=_memory_mib())


def _timed(classifier: Classifier, frame: Pixels, areas: list[Region], rotate: Rotation) -> tuple[float, float]:
    """Judge a frame's regions; return how long that took, and the interpreter's part, in milliseconds."""
    began = time.perf_counter()
    invoked = sum(classifier.classify(frame, region=area, rotate=rotate).invoke_ms for area in areas)
    return (time.perf_counter() - began) * 1e3, invoked


def _filled(picture: Pixels, height: int, width: int) -> Pixels:
    """Return a frame of this size, with a picture repeated over it."""
    tall, wide = -(-height // picture.shape[0]), -(-width // picture.shape[1])
    whole: Pixels = np.ascontiguousarray(np.tile(picture, (tall, wide, 1))[:height, :width])
    return whole


def _settle(classifier: Classifier) -> None:
    """Wait for the accelerator, if one is asked for; raises RuntimeUnavailableError."""
    if classifier.accelerated is not None and (trouble := classifier.accelerated.settle(_SETTLING_SECONDS)):
        raise RuntimeUnavailableError(trouble)


def _require_no_help(classifier: Classifier) -> None:
    """Raise RuntimeUnavailableError where the CPU stood in: its times would be taken for the accelerator's."""
    if classifier.accelerated is not None and (failures := classifier.accelerated.health().failures):
        raise RuntimeUnavailableError(f"the Edge TPU failed {failures} times while it was measured; see its cable")


def _memory_mib() -> float:
    """Return the most memory that this program had (VmHWM of proc(5)): rusage counts what it was forked from too."""
    lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


if __name__ == "__main__":
    from edge.command import run_command

    sys.exit(run_command("edge.tune", main))
