"""The charts of report.html. Colours say what is meant: orange damaged, blue intact, grey left to a person."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from training.evaluation import svg
from training.evaluation.statistics import Bin, Share
from training.evaluation.svg import FURTHEST, Axis, Scale, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.evaluation.result import Result
    from training.evaluation.statistics import Curve, Doubles

_LEFT, _TOP, _FOOT, _RIGHT = 52, 30, 42, 14
"""Room around a chart for its labels, in pixels."""
_BINS = 44
_BESIDE = 14
"""Pixels between two points of a diagram, at least."""
_ODDS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
_STYLES = {"DEFECT": "damaged", "UNKNOWN": "unknown", "PASS": "intact"}


def bar(share: Share, style: str) -> str:
    """Return a bar from 0 to 100% with its 95% interval as a whisker."""
    x = Scale(low=0, high=1, start=1, end=149)
    low, high = (x(end) for end in share.interval)
    whisker = svg.line([(low, 9), (high, 9)], "whisker") if share.total else ""
    ends = "".join(svg.line([(at, 5), (at, 13)], "whisker") for at in (low, high) if share.total)
    parts = (svg.box(1, 2, 148, 14, "empty"), svg.box(1, 2, x(share.value or 0.0) - 1, 14, style), whisker, ends)
    return svg.picture(150, 18, f"{share.hits} of {share.total}", parts)


def verdict_bar(verdicts: Mapping[str, Share]) -> str:
    """Return one bar divided by verdict, with each part's count where it fits."""
    parts, at = [], 0.0
    for verdict in ("DEFECT", "UNKNOWN", "PASS"):
        share = verdicts[verdict]
        width = 600 * (share.value or 0.0)
        # A single missed defect among thousands must still be seen.
        shown = max(width, 3.0) if share.hits else 0.0
        start = min(at, 600 - shown)
        parts.append(svg.box(start, 0, shown, 26, _STYLES[verdict]))
        if width > 16 + 8 * len(str(share.hits)):
            parts.append(svg.text(start + shown / 2, 18, str(share.hits), "inside mid"))
        at += width
    title = ", ".join(f"{share.hits} {verdict}" for verdict, share in verdicts.items())
    return svg.picture(600, 26, title, parts)


def histogram(result: Result) -> str:
    """Draw how many parts have which P(defect): damaged ones upwards, intact ones downwards, and the thresholds."""
    x = Scale(low=FURTHEST, high=1 - FURTHEST, start=_LEFT, end=620, warp="log-odds")
    edges = np.linspace(x.start, x.end, _BINS + 1)
    places = np.array([x(p) for p in result.p_defect.tolist()])
    counts = {kind: np.histogram(places[result.damaged == kind], edges)[0] for kind in (True, False)}
    middle, reach = 150.0, 105.0
    parts = [_zones(result, x, 30, 270)]
    for is_damaged, style in ((True, "damaged"), (False, "intact")):
        for edge, following, count in zip(edges, edges[1:], counts[is_damaged].tolist(), strict=False):
            # The square root keeps a single stray part in sight beside thousands.
            height = reach * math.sqrt(count / counts[is_damaged].max())
            top = middle - height if is_damaged else middle
            if count:
                parts.append(svg.box(edge + 0.5, top, following - edge - 1, height, style))
    for value in _ODDS:
        parts.append(svg.line([(x(value), 266), (x(value), 271)], "stroke"))
        parts.append(svg.text(x(value), 285, percent(value), "tick mid"))
    parts += [
        svg.line([(x.start, middle), (x.end, middle)], "stroke"),
        svg.text(_LEFT - 8, middle - 50, "damaged", "axis end"),
        svg.text(_LEFT - 8, middle + 58, "intact", "axis end"),
        svg.text((x.start + x.end) / 2, 303, "P(defect) that the model states", "axis mid"),
    ]
    return svg.picture(640, 310, "P(defect) of damaged and of intact parts, and where the thresholds lie", parts)


def _zones(result: Result, x: Scale, top: float, bottom: float) -> str:
    """Draw the thresholds, what they decide, and the band between them."""
    low, high = x(result.thresholds.pass_below), x(result.thresholds.defect_at)
    parts = [svg.box(low, top, high - low, bottom - top, "band")]
    parts += [svg.line([(at, top), (at, bottom)], "threshold") for at in sorted({low, high})]
    names = [("PASS", (x.start + low) / 2), ("DEFECT", (high + x.end) / 2)]
    if high - low > 70:  # noqa: PLR2004 - pixels that the word takes
        names.append(("UNKNOWN", (low + high) / 2))
    return "".join(parts + [svg.text(at, top - 8, name, "zone mid") for name, at in names])


def trade_off(result: Result) -> str:
    """Draw missed defects against false alarms for every single threshold, and where the rule stands."""
    found = result.trade_off
    missed, alarms = found.missed / found.defects, found.alarms / found.intact
    promise = result.rule.promise if result.rule else None
    here = (result.false_alarms.value or 0.0, result.missed.value or 0.0)
    equal = float(np.min(np.maximum(missed, alarms)))
    right = _round_up(max(3 * equal, 1.5 * here[0], 0.02))
    high = _round_up(max(3 * equal, 1.1 * result.missed.upper, 1.5 * (promise.max_miss if promise else 0), 0.02))
    x = Scale(low=0, high=right, start=_LEFT, end=400 - _RIGHT, warp="root")
    y = Scale(low=0, high=high, start=300 - _FOOT, end=_TOP, warp="root")
    curve = svg.steps([(x(a), y(m)) for a, m in zip(alarms[::-1], missed[::-1], strict=True)])
    uppers = [Share(int(m), found.defects).upper for m in found.missed[::-1]]
    bound = svg.steps([(x(a), y(u)) for a, u in zip(alarms[::-1], uppers, strict=True)])
    parts = [
        svg.frame(Axis(scale=x, ticks=_root_ticks(right), title="false alarms"), _missed_axis(y, high)),
        svg.area([*curve, *bound[::-1]], "bound"),
        svg.line(curve, "curve"),
    ]
    if promise:
        at = y(promise.max_miss)
        parts += [svg.line([(x.start, at), (x.end, at)], "promise"), svg.text(x.end, at - 5, "promise", "promised end")]
    parts += [
        svg.line([(x(here[0]), y(here[1])), (x(here[0]), y(result.missed.upper))], "whisker"),
        svg.dot(x(here[0]), y(here[1]), "here", 5),
    ]
    return svg.picture(400, 300, "Missed defects against false alarms", parts)


def _missed_axis(y: Scale, high: float) -> Axis:
    return Axis(scale=y, ticks=_root_ticks(high), title="missed defects")


def _root_ticks(high: float) -> dict[float, str]:
    """Return ticks that suit a scale of square roots: closer together towards 0."""
    ticks = [0.0, *(high * part for part in (0.05, 0.2, 0.5, 1.0))]
    return {tick: percent(tick) for tick in ticks}


def _round_up(share: float) -> float:
    """Return the next of 2, 5, 10, 20, 50 or 100%."""
    return next((step for step in (0.02, 0.05, 0.1, 0.2, 0.5) if share <= step), 1.0)


def reliability(bins: Sequence[Bin], x_title: str, y_title: str) -> str:
    """Draw how often came true what was stated: on the diagonal, scores mean what they say."""
    least = min(min(one.confidence, one.right.value or 0.0) for one in bins)
    low = max((tick for tick in _ODDS if tick <= least), default=FURTHEST)
    # Scores crowd near 0 and 1, where a point more or less matters most.
    x = Scale(low=low, high=0.9999, start=_LEFT, end=320 - _RIGHT, warp="log-odds")
    y = Scale(low=low, high=0.9999, start=300 - _FOOT, end=_TOP, warp="log-odds")
    ticks = {tick: percent(tick) for tick in _ODDS if tick >= low}
    if low < 0.5:  # noqa: PLR2004 - the scale spans both ends, where labels would touch
        ticks = {tick: label for tick, label in ticks.items() if tick not in (0.001, 0.999)}
    parts = [
        svg.frame(Axis(scale=x, ticks=ticks, title=x_title), Axis(scale=y, ticks=ticks, title=y_title)),
        svg.line([(x.start, y.start), (x.end, y.end)], "diagonal"),
    ]
    total = sum(one.right.total for one in bins)
    for one in _apart(bins, x):
        at = x(one.confidence)
        lowest, highest = one.right.interval
        parts.append(svg.line([(at, y(lowest)), (at, y(highest))], "whisker"))
        parts.append(svg.dot(at, y(one.right.value or 0.0), "point", 3 + 5 * math.sqrt(one.right.total / total)))
    return svg.picture(320, 300, f"{y_title} against {x_title}", parts)


def _apart(bins: Sequence[Bin], x: Scale) -> list[Bin]:
    """Merge neighbours that would be drawn over each other."""
    merged: list[Bin] = []
    for one in bins:
        if merged and x(one.confidence) - x(merged[-1].confidence) < _BESIDE:
            before = merged.pop()
            right = Share(before.right.hits + one.right.hits, before.right.total + one.right.total)
            weighted = before.confidence * before.right.total + one.confidence * one.right.total
            merged.append(Bin(weighted / right.total, right))
        else:
            merged.append(one)
    return merged


def roc(curve: Curve) -> str:
    """Draw defects found against false alarms, as much of it as differs from a perfect model's."""
    room = _round_up(3 * float(np.min(np.maximum(curve.x, 1 - curve.y))))
    return _corner(curve, (0.0, room), (1 - room, 1.0), ("false alarms", "defects found"))


def precision_recall(curve: Curve) -> str:
    """Draw the share of true alarms against defects found, as much of it as differs from a perfect model's."""
    room = _round_up(3 * float(np.min(np.maximum(1 - curve.x, 1 - curve.y))))
    return _corner(curve, (1 - room, 1.0), (1 - room, 1.0), ("defects found", "alarms that are true"))


def _corner(curve: Curve, across: tuple[float, float], up: tuple[float, float], titles: tuple[str, str]) -> str:
    x = Scale(low=across[0], high=across[1], start=_LEFT, end=320 - _RIGHT)
    y = Scale(low=up[0], high=up[1], start=300 - _FOOT, end=_TOP)
    x_axis = Axis(scale=x, ticks=svg.shares(*across), title=titles[0])
    y_axis = Axis(scale=y, ticks=svg.shares(*up), title=titles[1])
    points = [(x(a), y(b)) for a, b in zip(curve.x.tolist(), curve.y.tolist(), strict=True)]
    title = f"{titles[1]} against {titles[0]}"
    return svg.picture(320, 300, title, [svg.frame(x_axis, y_axis), svg.line(points, "curve")])


def history(stages: Sequence[Mapping[str, Any]], *, losses: bool) -> str:
    """Draw what each epoch came to, stage after stage; losses, or everything else (shares 0-1).

    A stage has a `name`, and for each curve a list with a number for each epoch. Nothing is drawn of none: "".
    """
    series: dict[str, list[tuple[int, float]]] = {}
    starts, at = [], 0
    for stage in stages:
        told = curves(stage)
        starts.append((at, str(stage.get("name", ""))))
        for name, values in told.items():
            if ("loss" in name) == losses:
                series.setdefault(name, []).extend((at + i, v) for i, v in enumerate(values, 1) if math.isfinite(v))
        at += max((len(values) for values in told.values()), default=0)
    if not any(series.values()):
        return ""
    everything = np.array([value for points in series.values() for _, value in points])
    return _history(series, starts, at, everything, losses=losses)


def curves(stage: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return by name what a stage tells of each epoch."""
    lists = {name: value for name, value in stage.items() if isinstance(value, list) and value}
    return {name: value for name, value in lists.items() if all(isinstance(one, int | float) for one in value)}


def _history(
    series: Mapping[str, list[tuple[int, float]]],
    starts: Sequence[tuple[int, str]],
    epochs: int,
    values: Doubles,
    *,
    losses: bool,
) -> str:
    # A first epoch's loss may be far above all others: the scale shows what most epochs came to.
    high = max(float(np.percentile(values, 98)), 1e-6) if losses else 1.0
    low = 0.0 if losses else math.floor(10 * float(np.percentile(values, 2)) - 1e-9) / 10
    x = Scale(low=0, high=epochs, start=_LEFT, end=480 - _RIGHT)
    y = Scale(low=low, high=high, start=260 - _FOOT, end=_TOP)
    y_ticks = {tick: f"{tick:g}" for tick in svg.ticks(low, high)} if losses else svg.shares(low, high)
    every = max(1, round(epochs / 6))
    parts = [
        svg.frame(
            Axis(scale=x, ticks={e: str(e) for e in range(0, epochs + 1, every)}, title="epoch"),
            Axis(scale=y, ticks=y_ticks, title="loss" if losses else "share"),
        )
    ]
    for start, name in starts:
        parts.append(svg.line([(x(start), y.start), (x(start), y.end)], "stage"))
        parts.append(svg.text(x(start) + 4, y.end + 11, name, "tick"))
    # Where the curves are not: a loss falls, a share of what is right rises.
    legend = y.end + 26 if losses else y.start - 15 * len(series) + 5
    for number, (name, points) in enumerate(sorted(series.items())):
        parts.append(svg.line([(x(epoch), y(value)) for epoch, value in points], f"series s{number % 4}"))
        parts.append(svg.text(x.end - 4, legend + 15 * number, name.replace("_", " "), f"label s{number % 4} end"))
    return svg.picture(480, 260, "loss by epoch" if losses else "figures by epoch", parts)
