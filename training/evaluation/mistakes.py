"""The worst held-out pictures: what the model got, where it looked, and what it said."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edge.classifier import Classifier
    from edge.contract.preprocess import Pixels
    from training.data.dataset import Dataset
    from training.evaluation.result import Judgement, Result

SHOWN = 12
"""Pictures on the page, the worst first."""
_THUMB = 144
"""Their longest side, in pixels."""
_HEAT = 0.65
"""How much of the hottest place is covered by the heat map's red."""
_KINDS = ("missed defect", "false alarm", "wrong class", "left to a person", "right")


def worst(result: Result) -> list[int]:
    """Return the rows to show: missed defects, false alarms, wrong classes, then what was least sure of the truth."""

    def badness(row: int) -> tuple[int, float]:
        kind = _KINDS.index(kind_of(result, row))
        return min(kind, _KINDS.index("left to a person")), result.judged[row].truth_score

    return sorted(range(len(result.judged)), key=badness)[:SHOWN]


def kind_of(result: Result, row: int) -> str:
    """Name what is wrong with a judgement, the gravest first, or say that it is right."""
    judged, damaged = result.judged[row], bool(result.damaged[row])
    if damaged and judged.verdict == "PASS":
        return "missed defect"
    if not damaged and judged.verdict == "DEFECT":
        return "false alarm"
    if judged.label != judged.truth:
        return "wrong class"
    return "left to a person" if judged.verdict == "UNKNOWN" else "right"


def figure(classifier: Classifier, test: Dataset, result: Result, row: int) -> str:
    """Show one picture as the model gets it, and where it sees the class that it names."""
    pixels, judged = test.pixels[row], result.judged[row]
    classifier.classify(pixels)
    logits = classifier.logit_map()
    heat = None if logits is None else _overlay(pixels, logits[..., list(judged.scores).index(judged.label)])
    pictures = "".join(f'<img alt="" src="{_data_url(shown)}">' for shown in (pixels, heat) if shown is not None)
    kind = kind_of(result, row)
    caption = _caption(judged, kind, float(result.p_defect[row]) if result.both_kinds else None)
    style = "grave" if kind in _KINDS[:2] else "wrong" if kind == "wrong class" else ""
    return f'<figure class="{style}">{pictures}<figcaption>{caption}</figcaption></figure>'


def _caption(judged: Judgement, kind: str, p_defect: float | None) -> str:
    stated = "" if p_defect is None else f", P(defect) {p_defect:.1%}"
    return (
        f'<b class="kind">{kind}</b> {escape(judged.verdict)}: says <b>{escape(judged.label)}</b> {judged.score:.1%}'
        f"<br>truth <b>{escape(judged.truth)}</b> {judged.truth_score:.1%}{stated}"
        f'<br><span class="soft">{escape(judged.file)}</span>'
    )


def _overlay(pixels: Pixels, logits: Any) -> Pixels:
    """Redden a picture where logits float32 [h, w] are high."""
    from PIL import Image

    low, high = float(logits.min()), float(logits.max())
    share = (logits - low) / max(high - low, 1e-6)
    size = (pixels.shape[1], pixels.shape[0])
    heat = np.asarray(Image.fromarray((255 * share).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR))
    weight = _HEAT * heat[..., np.newaxis].astype(np.float32) / 255
    red = np.array([230, 30, 20], np.float32)
    return (pixels * (1 - weight) + red * weight).astype(np.uint8)


def _data_url(pixels: Pixels) -> str:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((_THUMB, _THUMB))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
