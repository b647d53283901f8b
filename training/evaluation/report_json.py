"""report.json: the report's figures as plain values.

- metrics: as in the manifest, see `Result.metrics`.
- per_class: by name: verdict, pictures, recall, recall_low, recall_high, precision, precision_low, precision_high
  (95% intervals; null of nothing), recall_float (before quantization).
- confusion: counts, true classes in rows, the device's labels in columns.
- decision: temperature, pass_below, defect_at; where they were chosen also costs, promise (or null) and calibration,
  see `Rule.plain`.
- reliability: `classes`, the likeliest class by its score; with both kinds of parts also `defect`, damaged parts by
  P(defect): for each bin its mean confidence and share, hits, total, low, high of what came true.
- speed: machine, runtime, threads, and [median, 95th percentile] of preprocess, invoke, total in ms; or null.
- parts: how many parts the held-out pictures show, as far as is known.
- verdicts (only with both kinds of parts): damaged and intact: by verdict share, hits, total, low, high; of pictures.
- curve (only with both kinds of parts): threshold on P(defect), missed_defects, missed_defects_upper, false_alarms,
  by part as in metrics; at most 200 points. Other curves follow from `test`.
- warnings: sentences, the gravest first.
- test: for each held-out picture file, truth, verdict, label, score, p_defect.

Besides these stand the facts of how the model was made: see training.build.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from training.evaluation import rounding
from training.evaluation.statistics import Share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.evaluation.result import Result
    from training.evaluation.statistics import Bin

_DIGITS = 6
_MOST_POINTS = 200


def encode(result: Result, facts: Mapping[str, Any], warnings: Sequence[str]) -> bytes:
    """Return the file; `facts` are plain values of how the model was made."""
    content = {**plain(result), **facts, "warnings": list(warnings)}
    content["test"] = content.pop("test")  # Thousands of rows come last.
    return (compact(content) + "\n").encode()


def compact(value: Any, depth: int = 0) -> str:
    """Encode as JSON with a line for each key and each row of a list, but lists of numbers in one line.

    JSON knows no infinity and no NaN, which a loss may be: they become null.
    """
    indent = "\n" + " " * (depth + 1)
    if isinstance(value, dict) and value:
        items = (f"{json.dumps(str(key))}: {compact(one, depth + 1)}" for key, one in value.items())
        return "{" + ",".join(indent + item for item in items) + indent[:-1] + "}"
    if isinstance(value, list | tuple) and any(isinstance(one, dict | list | tuple) for one in value):
        return "[" + ",".join(indent + json.dumps(_finite(one)) for one in value) + indent[:-1] + "]"
    return json.dumps(_finite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(result: Result) -> dict[str, Any]:
    """Return what follows from the held-out pictures, as the module says."""
    content: dict[str, Any] = {
        "metrics": result.metrics,
        "per_class": per_class(result),
        "parts": result.parts,
        "confusion": result.confusion.table.tolist(),
        "decision": {
            "temperature": result.temperature,
            "pass_below": result.thresholds.pass_below,
            "defect_at": result.thresholds.defect_at,
            **(result.rule.plain() if result.rule else {}),
        },
        "reliability": {"classes": _bins(result.reliability)},
        "speed": asdict(result.speed) if result.speed else None,
        "test": _rows(result),
    }
    if result.both_kinds:
        content["reliability"]["defect"] = _bins(result.defect_reliability)
        content["verdicts"] = {
            kind: {verdict: share.plain() for verdict, share in result.verdicts(damaged=kind == "damaged").items()}
            for kind in ("damaged", "intact")
        }
        content["curve"] = _curve(result)
    return content


def per_class(result: Result) -> dict[str, dict[str, Any]]:
    """Return each class's figures by its name."""
    table = {}
    for i, label in enumerate(result.labels):
        recall, precision = result.confusion.recall(i), result.confusion.precision(i)
        table[label.name] = {
            "verdict": label.verdict,
            "pictures": recall.total,
            **_share("recall", recall),
            **_share("precision", precision),
            "recall_float": result.float_confusion.recall(i).plain()["share"],
        }
    return table


def _share(name: str, share: Share) -> dict[str, Any]:
    found = share.plain()
    return {name: found["share"], f"{name}_low": found["low"], f"{name}_high": found["high"]}


def _bins(bins: list[Bin]) -> list[dict[str, Any]]:
    return [{"confidence": round(one.confidence, _DIGITS), **one.right.plain()} for one in bins]


def _rows(result: Result) -> list[dict[str, Any]]:
    return [
        {
            "file": j.file,
            "truth": j.truth,
            "verdict": j.verdict,
            "label": j.label,
            "score": round(j.score, _DIGITS),
            "p_defect": round(float(p), _DIGITS),
        }
        for j, p in zip(result.judged, result.p_defect, strict=True)
    ]


def _curve(result: Result) -> dict[str, list[float]]:
    found = result.trade_off
    last = len(found.threshold) - 1
    picked = np.unique(np.linspace(0, last, min(_MOST_POINTS, last + 1)).astype(np.int64))
    missed = [Share(int(found.missed[i]), found.defects) for i in picked]
    alarms = [Share(int(found.alarms[i]), found.intact) for i in picked]
    return {
        # The last lies above all scores: nothing is a defect.
        "threshold": [round(min(float(found.threshold[i]), 1.0), _DIGITS) for i in picked],
        "missed_defects": [round(one.value or 0.0, _DIGITS) for one in missed],
        "missed_defects_upper": [rounding.up(one.upper) for one in missed],
        "false_alarms": [round(one.value or 0.0, _DIGITS) for one in alarms],
    }
