"""Judges pictures through the device's own classifier and decision."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge import runtime
from edge.classifier import softmax
from edge.decision import decide
from training import progress
from training.evaluation.result import Judgement, Result, Speed

if TYPE_CHECKING:
    from edge.classifier import Classifier, Floats, Prediction
    from training.data.dataset import Dataset, Integers
    from training.evaluation.statistics import Doubles
    from training.evaluation.thresholds import Rule

_DIGITS = 3


def int8_logits(classifier: Classifier, data: Dataset, title: str = "calibrating") -> Floats:
    """Return the device's logits of every picture, float32 [n, classes], from the canvases of `data`.

    A canvas is what preprocessing makes of the original, and preprocessing leaves it as it is.
    """
    logits = np.empty((len(data.pixels), len(data.labels)), np.float32)
    with progress.stage(title, len(logits)) as advance:
        for row, canvas in enumerate(data.pixels):
            logits[row] = classifier.classify(canvas).logits
            advance()
    return logits


def evaluate(
    classifier: Classifier,
    float_logits: Floats,
    test: Dataset,
    *,
    rule: Rule | None = None,
    part: Integers | None = None,
) -> Result:
    """Classify every original of `test` as the daemon does, and measure how long that takes.

    `float_logits` float32 [n, classes]: what the model said of these pictures before it was quantized. `rule` is
    why the bundle's thresholds are what they are, `part` int64 [n] which pictures show the same part (None: each
    another one). The classifier has one thread, as on a device.
    """
    manifest = classifier.bundle.manifest
    names = [label.name for label in test.labels]
    judged, predictions = [], []
    with progress.stage("evaluating", len(test.sources)) as advance:
        before = softmax(float_logits / np.float32(manifest.temperature))
        for source, float_scores in zip(test.sources, before, strict=True):
            prediction = classifier.classify(source.load())
            scores = prediction.scores.tolist()
            decision = decide(scores, manifest.labels, manifest.thresholds)
            judged.append(
                Judgement(
                    file=source.name,
                    truth=names[source.label],
                    verdict=str(decision.verdict),
                    label=str(decision.label),
                    score=float(decision.score or 0),
                    scores=dict(zip(names, scores, strict=True)),
                    float_label=str(decide(float_scores.tolist(), manifest.labels, manifest.thresholds).label),
                )
            )
            predictions.append(prediction)
            advance()
    return Result(
        labels=test.labels,
        judged=judged,
        temperature=manifest.temperature,
        thresholds=manifest.thresholds,
        rule=rule,
        part=part,
        speed=_speed(predictions, runtime.version(classifier.engine)),
    )


def _speed(predictions: list[Prediction], engine: str) -> Speed:
    preprocess = np.array([one.preprocess_ms for one in predictions])
    invoke = np.array([one.invoke_ms for one in predictions])
    return Speed(
        machine=processor(),
        runtime=engine,
        threads=1,
        preprocess=_typical(preprocess),
        invoke=_typical(invoke),
        total=_typical(preprocess + invoke),
    )


def _typical(milliseconds: Doubles) -> tuple[float, float]:
    median, high = np.percentile(milliseconds, [50, 95])
    return round(float(median), _DIGITS), round(float(high), _DIGITS)


def processor() -> str:
    """Name this machine's processor as far as it tells, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:  # Only Linux has it.
        lines = []
    # x86 has a model name for each core, a Raspberry Pi one Model of the whole board.
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(filter(None, named), "") or platform.processor() or platform.machine()
