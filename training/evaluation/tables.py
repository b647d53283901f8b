"""The tables of report.html."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from training.evaluation import charts
from training.evaluation.svg import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.contract.bundle import Label
    from training.evaluation.result import Result, Speed
    from training.evaluation.statistics import Share

_RECALLS = ("recall_float", "recall_int8")
_UPRIGHT = 6
"""Columns whose heads fit side by side; of more they are turned."""


def confusion_table(result: Result) -> str:
    """Return truths against what the device said, coloured by share of the truth."""
    names = [label.name for label in result.labels]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = []
    for i, (label, row) in enumerate(zip(result.labels, result.confusion.table.tolist(), strict=True)):
        cells = (_cell(count, sum(row), label, other) for count, other in zip(row, result.labels, strict=True))
        body.append(f"<tr><th>{escape(names[i])}</th>{''.join(cells)}</tr>")
    style = ' class="many"' if len(names) > _UPRIGHT else ""
    return f"<table{style}><thead><tr><th>truth</th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _cell(count: int, total: int, truth: Label, said: Label) -> str:
    right = truth is said
    colour = "0, 114, 178" if right else "213, 94, 0"
    # A single mistake among hundreds must still be seen.
    strength = count / max(total, 1) if right else min(1.0, 0.3 + 4 * count / max(total, 1)) * bool(count)
    shade = 0.75 * strength
    ink = "; color: #fff" if right and shade > 0.5 else ""  # noqa: PLR2004 - where dark on blue would not be read
    across = " across" if count and truth.verdict != said.verdict else ""
    style = f"background: rgba({colour}, {shade:.2f}){ink}"
    return f'<td class="{"ok" if right else "off"}{across}" style="{style}">{count or ""}</td>'


def class_table(result: Result) -> str:
    """Return each class's recall and precision as bars."""
    heads = ("<th colspan=2>recall</th>", "<th colspan=2>precision</th>", "<th>recall before int8</th>")
    head = f"<tr><th>class</th><th>pictures</th>{''.join(heads)}</tr>"
    both = len({label.verdict for label in result.labels}) > 1
    body = []
    for i, label in enumerate(result.labels):
        kind = "damaged" if label.verdict == "DEFECT" else "intact"
        chip = f' <span class="chip {kind}">{label.verdict}</span>' if both else ""
        recall, precision = result.confusion.recall(i), result.confusion.precision(i)
        before = result.float_confusion.recall(i).value
        style = kind if both else "neutral"
        figures = f"{_share(recall, style)}{_share(precision, style)}<td>{_value(before)}</td>"
        body.append(f"<tr><th>{escape(label.name)}{chip}</th><td>{recall.total}</td>{figures}</tr>")
    return f'<table class="plain">{head}{"".join(body)}</table>'


def _share(share: Share, style: str) -> str:
    return f"<td>{charts.bar(share, style)}</td><td>{_value(share.value)}</td>"


def _value(share: float | None) -> str:
    return "-" if share is None else percent(share)


def gate_table(gate: Mapping[str, Any]) -> str:
    """Return what int8 cost each class, of a gate's plain values: rows that lost more than allowed stand out."""
    heads = ("class", "pictures", "float", "int8", "lost", "gained", "points", "verdict")
    body = []
    for row in gate["rows"]:
        counts = (f"<td>{row[name]}</td>" for name in ("lost", "gained"))
        shares = (f"<td>{_value(row[name] if row['pictures'] else None)}</td>" for name in _RECALLS)
        style = {"lost": ' class="grave"', "too few to tell": ' class="doubt"'}.get(row["verdict"], "")
        verdict = ": ".join(filter(None, (row["verdict"], row["votes"])))
        body.append(
            f"<tr{style}><th>{escape(row['name'])}</th><td>{row['pictures']}</td>{''.join(shares)}{''.join(counts)}"
            f"<td>{-100 * row['drop']:+.1f}</td><td>{escape(verdict)}</td></tr>"
        )
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f'<table class="plain"><tr>{head}</tr>{"".join(body)}</table>'


def milliseconds(time: float) -> str:
    """Return a time in ms to as many digits as it is repeatable."""
    return f"{time:.2g} ms" if time < 100 else f"{time:.0f} ms"  # noqa: PLR2004


def speed_table(speed: Speed) -> str:
    """Return how long each step took, and where that was measured."""
    rows = "".join(
        f"<tr><th>{name}</th><td>{milliseconds(median)}</td><td>{milliseconds(high)}</td></tr>"
        for name, (median, high) in (
            ("preprocess", speed.preprocess),
            ("model", speed.invoke),
            ("both", speed.total),
        )
    )
    where = f"{speed.machine}, {speed.runtime}, {speed.threads} thread{'s' if speed.threads > 1 else ''}"
    return (
        f'<table class="plain"><tr><th>step</th><th>median</th><th>95% within</th></tr>{rows}</table>'
        f'<p class="soft">Measured on {escape(where)}: another machine takes another time.</p>'
    )
