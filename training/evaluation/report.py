"""report.html: one page, without any other file, for a person to judge the model by."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge.classifier import Classifier
    from edge.contract.preprocess import Pixels
    from training.data.dataset import Dataset
    from training.evaluation.evaluate import Judgement, Result

_SHOWN = 12
"""Pictures on the page, the worst first."""
_THUMB = 128
"""Their longest side, in pixels."""
_HEAT = 0.65
"""How much of the hottest place is covered by the heat map's red."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2330; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.2rem; } .soft { color: #667085; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0; }
.figures div { background: #f2f4f7; border-radius: .5rem; padding: .7rem 1.2rem; }
.figures b { display: block; font-size: 1.7rem; }
table { border-collapse: collapse; } th, td { padding: .3rem .7rem; text-align: right; border: 1px solid #e4e7ec; }
th { font-weight: 500; } tr > th:first-child { text-align: left; }
.wrong { outline: 3px solid #d92d20; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(17.5rem, 1fr)); gap: 1.2rem; }
figure { margin: 0; } figure img { border-radius: .3rem; margin-right: .2rem; } figcaption { font-size: .85rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f2f4f7; padding: 1rem; border-radius: .5rem; }
"""


def html(title: str, classifier: Classifier, test: Dataset, result: Result, facts: Mapping[str, Any]) -> str:
    """Return the page; `result` is about `test`, `facts` are shown as they are."""
    judged = result.judged
    worst = sorted(range(len(judged)), key=lambda row: (judged[row].right, judged[row].truth_score))[:_SHOWN]
    mistakes = sum(not j.right for j in judged)
    explained = (
        f"<p>{mistakes} mistakes (framed in red), then the least certain. "
        "Right of each picture, in red: where the model sees the class it names.</p>"
    )
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>',
            f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
            f'<p class="soft">{len(judged)} held-out pictures, judged as the device judges them.</p>',
            _figures(result.metrics),
            "<h2>Where it is right and wrong</h2><p>Rows: the truth. Columns: what the device says.</p>",
            _confusion_table(result),
            f"<h2>The worst {len(worst)}</h2>{explained}",
            '<div class="pictures">',
            *(_figure(classifier, test.pixels[row], judged[row]) for row in worst),
            "</div><h2>How it was made</h2>",
            *(
                f"<p>{escape(name)}</p><pre>{escape(json.dumps(value, indent=1))}</pre>"
                for name, value in facts.items()
            ),
            "</html>\n",
        ]
    )


def _figures(metrics: Mapping[str, float]) -> str:
    shown = {
        name.replace("_", " "): f"{value:.0f}" if name == "test_pictures" else f"{value:.2%}"
        for name, value in metrics.items()
    }
    cells = (f"<div>{escape(name)}<b>{value}</b></div>" for name, value in shown.items())
    return f'<div class="figures">{"".join(cells)}</div>'


def _confusion_table(result: Result) -> str:
    table, summary = result.confusion, result.per_class()
    head = _row("th", ["truth", *(label.name for label in result.labels), "recall", "precision"])
    body = []
    for i, label in enumerate(result.labels):
        cells = [_cell(int(count), int(table[i].sum()), right=i == j) for j, count in enumerate(table[i])]
        shares = (summary[label.name][name] for name in ("recall", "precision"))
        ends = (f"<td>{'-' if share is None else f'{share:.1%}'}</td>" for share in shares)
        body.append(f"<tr><th>{escape(label.name)} ({label.verdict})</th>{''.join(cells)}{''.join(ends)}</tr>")
    return f"<table>{head}{''.join(body)}</table>"


def _row(tag: str, values: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(value)}</{tag}>' for value in values)}</tr>"


def _cell(count: int, total: int, *, right: bool) -> str:
    colour = "18, 130, 90" if right else "217, 45, 32"
    # A single mistake among hundreds must still be seen.
    strength = count / total if right else min(1.0, 0.3 + 4 * count / total) * bool(count)
    return f'<td style="background: rgba({colour}, {0.75 * strength:.2f})">{count or ""}</td>'


def _figure(classifier: Classifier, pixels: Pixels, judged: Judgement) -> str:
    """Show one picture as the model gets it, and its heat map."""
    classifier.classify(pixels)
    logits = classifier.logit_map()
    names = list(judged.scores)
    heat = None if logits is None else _overlay(pixels, logits[..., names.index(judged.label)])
    pictures = "".join(f'<img alt="" src="{_data_url(shown)}">' for shown in (pixels, heat) if shown is not None)
    frame = "" if judged.right else ' class="wrong"'
    said = f"says <b>{escape(judged.label)}</b> {judged.score:.1%} ({judged.verdict})"
    truth = f"truth {escape(judged.truth)} {judged.truth_score:.1%}"
    return f"<figure{frame}>{pictures}<figcaption>{escape(judged.file)}<br>{said}<br>{truth}</figcaption></figure>"


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
