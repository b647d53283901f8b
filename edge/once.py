"""`edge-inspect once`: judges pictures from the command line, one JSON object a line."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from edge.classifier import Classifier
from edge.command import to_path
from edge.contract import bundle as bundles
from edge.contract.pictures import list_pictures, load_picture
from edge.decision import decide
from edge.errors import DataError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SCORE_DIGITS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    parser.add_argument("--bundle", type=to_path, required=True, metavar="BUNDLE", help="a bundle folder or zip")
    parser.add_argument("images", type=to_path, nargs="+", metavar="IMAGE", help="a picture, or a folder of them")


def run(arguments: argparse.Namespace) -> int:
    """Print a verdict for each picture; returns 0, or DataError's exit code if one could not be judged."""
    classifier = Classifier(bundles.read(arguments.bundle))
    failed = False
    for path in _expand(arguments.images):
        line = judge_picture(classifier, path)
        failed = failed or "error" in line
        print(json.dumps(line), flush=True)
    return DataError.exit_code if failed else 0


def judge_picture(classifier: Classifier, path: Path) -> dict[str, Any]:
    """Return `image`, `verdict`, `label`, `score`, `scores`, `latency_ms`; or `image` and `error`."""
    try:
        pixels = load_picture(path)
    except DataError as error:
        return {"image": str(path), "error": str(error)}
    try:
        prediction = classifier.classify(pixels)
    except (ValueError, RuntimeError) as error:
        return {"image": str(path), "error": f"{path}: the classifier failed: {error}"}
    manifest = classifier.bundle.manifest
    scores = prediction.scores.tolist()
    decision = decide(scores, manifest.labels, manifest.thresholds)
    return {
        "image": str(path),
        "verdict": decision.verdict,
        "label": decision.label,
        "score": None if decision.score is None else round(decision.score, SCORE_DIGITS),
        "scores": {
            label.name: round(score, SCORE_DIGITS) for label, score in zip(manifest.labels, scores, strict=True)
        },
        "latency_ms": round(prediction.preprocess_ms + prediction.invoke_ms, 3),
    }


def _expand(images: Iterable[Path]) -> Iterator[Path]:
    for path in images:
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
            # An empty folder is reported as a picture that is not there, not passed over.
            yield from list_pictures(path) or [path / "*"]
        else:
            yield path
