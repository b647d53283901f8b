"""report.html: one page, without any other file, for a person to judge the model by."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from edge.contract.messages import Verdict
from training.evaluation import charts, mistakes, statistics
from training.evaluation.caveats import broken, grave
from training.evaluation.report_json import compact
from training.evaluation.rounding import of_thousand_up, percent_down, percent_up
from training.evaluation.style import CSS
from training.evaluation.svg import percent
from training.evaluation.tables import class_table, confusion_table, gate_table, milliseconds, speed_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge.classifier import Classifier
    from training.data.dataset import Dataset
    from training.evaluation.promise import Promise
    from training.evaluation.result import Result
    from training.evaluation.statistics import Share

_KEY = (
    '<p class="key"><span><i class="damaged"></i>damaged, DEFECT</span><span><i class="unknown"></i>left to a person, '
    'UNKNOWN</span><span><i class="intact"></i>intact, PASS</span></p>'
)


def html(  # noqa: PLR0913 - the arguments are the contract
    title: str,
    classifier: Classifier,
    test: Dataset,
    result: Result,
    facts: Mapping[str, Any],
    *,
    warnings: Sequence[str] = (),
) -> bytes:
    """Return the page, UTF-8; `result` is about `test`.

    `facts` are plain values of how the model was made, shown as they are. Of these, `training` is a list with a
    dictionary for each stage: its `name`, and what else is a list with a number for each epoch, are drawn (losses
    have "loss" in their names, all others are shares 0-1). Of `quantization`, `gates` has the plain values of a gate
    for each runtime, which are tabled. `warnings` are shown on top, see `caveats`.
    """
    rows = mistakes.worst(result)
    sections = [
        _head(title, result, warnings),
        _damage(result) if result.both_kinds else "",
        _classes(result),
        _quantization(facts.get("quantization") or {}),
        _certainty(result),
        _section(
            f"The worst {len(rows)}",
            "Missed defects first, then false alarms, wrong classes, and what is least sure of the truth. "
            "The right of each pair shows in red where the model sees the class that it names.",
            f'<div class="pictures">{"".join(mistakes.figure(classifier, test, result, row) for row in rows)}</div>',
        ),
        _learning(facts.get("training") or []),
        _origin(result, facts),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>{''.join(sections)}</body></html>\n"
    )
    # A file's name may hold bytes that are no text.
    return page.encode(errors="replace")


def _section(title: str, explained: str, *parts: str) -> str:
    return f'<section><h2>{escape(title)}</h2><p class="soft">{explained}</p>{"".join(parts)}</section>'


def _head(title: str, result: Result, warnings: Sequence[str]) -> str:
    pictures = f"{len(result.judged):,} held-out pictures, none of them learnt from, judged by the device's own code."
    worst = grave(result)
    notes = (f"<li{' class=grave' if one in worst else ''}>{escape(one)}</li>" for one in warnings)
    return (
        f'<h1>{escape(title)}</h1><p class="soft">{pictures}</p>{_lead(result) if result.both_kinds else ""}'
        f"{'<ul class=notes>' if warnings else ''}{''.join(notes)}{'</ul>' if warnings else ''}"
        f'<div class="cards">{"".join(_cards(result, broken=bool(broken(result))))}</div>'
    )


def _lead(result: Result) -> str:
    """Say in natural frequencies, which people understand best, what the rule does."""
    missed, alarms = result.missed, result.false_alarms
    left = result.parts_given(Verdict.UNKNOWN, damaged=False)
    counted = " A part with several pictures counts by its worst." if result.parts < len(result.judged) else ""
    return (
        f'<p class="lead">Of 1,000 damaged parts about <b>{_of_thousand(missed.value)} pass unseen</b> (at most '
        f"{of_thousand_up(missed.upper)} with 95% confidence). Of 1,000 intact parts about "
        f"<b>{_of_thousand(alarms.value)} are rejected</b>, and {_of_thousand(left.value)} are left to a person to "
        f"look at.{counted}</p>"
    )


def _of_thousand(share: float | None) -> str:
    """Return whole parts, or of few of them, which may be less than one, two digits."""
    found = 1000 * (share or 0.0)
    return f"{found:.0f}" if found >= 10 else f"{found:.2g}"  # noqa: PLR2004 - two digits either way


def _cards(result: Result, *, broken: bool) -> Iterable[str]:
    metrics = result.metrics
    if result.both_kinds:
        upper = f"at most {percent_up(result.missed.upper)} (95%)"
        yield _card("Missed defects", result.missed, "grave" if broken else "damaged", upper)
        yield _card("False alarms", result.false_alarms, "intact")
        yield _card("UNKNOWN", result.unknown, "unknown")
    yield _card("Right class", result.confusion.accuracy, "")
    if len(result.labels) > 2 or not result.both_kinds:  # noqa: PLR2004 - two classes are told above
        balanced = percent(metrics["balanced_accuracy"])
        yield _big(
            "Balanced accuracy", balanced, f"mean recall of the classes; macro-F1 {percent(metrics['macro_f1'])}"
        )
    chance = f"a perfect model would show {percent(metrics['ece_by_chance'])} by chance"
    yield _big("Calibration error", percent(metrics["ece"]), chance)
    if speed := result.speed:
        yield _big("A picture takes", milliseconds(speed.total[0]), f"95% within {milliseconds(speed.total[1])}")


def _card(name: str, share: Share, style: str, interval: str = "") -> str:
    low, high = share.interval
    note = f"{share.hits:,} of {share.total:,}<br>{interval or f'{percent_down(low)} to {percent_up(high)} (95%)'}"
    return _big(name, percent(share.value or 0.0), note, style)


def _big(name: str, figure: str, note: str, style: str = "") -> str:
    return f'<div class="card {style}">{name}<b>{figure}</b><small>{note}</small></div>'


def _damage(result: Result) -> str:
    bars = "".join(
        f"<span>{kind}</span>{charts.verdict_bar(result.verdicts(damaged=kind == 'damaged'))}"
        for kind in ("damaged", "intact")
    )
    stray = "Heights follow the square root of the count, so that a single stray part is seen."
    point = (
        "The red point is the rule, its whisker the 95% bound; the line is what any single threshold would do, "
        "shaded up to its bound; with a band of UNKNOWN the rule can lie below it."
    )
    return _section(
        "Damaged or intact",
        "What the parts were, what the device called them, and where the line is drawn.",
        f'<div class="halves"><div>{_KEY}<div class="verdicts">{bars}</div>',
        f"{charts.histogram(result)}<p class=soft>{stray}</p></div>",
        f"<div>{_rule(result)}{charts.trade_off(result)}<p class=soft>{point}</p></div></div>",
    )


def _rule(result: Result) -> str:
    low, high = result.thresholds.pass_below, result.thresholds.defect_at
    said = (
        f"PASS where P(defect) is below <b>{percent(low)}</b>, DEFECT from <b>{percent(high)}</b>"
        f"{'; between them UNKNOWN' if low < high else ''}."
    )
    if result.rule is None:
        return f"<h3>The rule</h3><p>{said} Nothing was chosen: these are the defaults.</p>"
    costs = result.rule.aim.costs
    return (
        f"<h3>The rule</h3><p>{said}</p><p>Chosen on {result.rule.defects} damaged and {result.rule.intact} intact "
        f"pictures, which nothing was learnt from, by what errors cost: a missed defect {costs.miss:g}, a false alarm "
        f"{costs.false_alarm:g}, a look {costs.unknown:g}.</p>{_promise(result.rule.promise)}"
    )


def _promise(promise: Promise | None) -> str:
    if promise is None:
        return "<p class=soft>No promise about missed defects was asked for (--max-miss).</p>"
    head = "Promise kept" if promise.shown else "Promise not shown"
    return f'<p class="promise{"" if promise.shown else " broken"}">{head}: {escape(promise.text)}.</p>'


def _classes(result: Result) -> str:
    crossed = " Red frames: damaged called intact, or the reverse." if result.both_kinds else ""
    return _section(
        "Which class",
        f"Rows are the truth, columns what the device says; blue is right, orange wrong.{crossed} "
        "Whiskers are 95% intervals: the fewer the pictures, the wider.",
        f'<div class="tables"><div class="scroll">{confusion_table(result)}</div>',
        f'<div class="scroll">{class_table(result)}</div></div>',
    )


def _quantization(facts: Mapping[str, Any]) -> str:
    tables = [
        f'<div><h3>{escape(engine)}</h3><div class="scroll">{gate_table(gate)}</div></div>'
        for engine, gate in (facts.get("gates") or {}).items()
    ]
    if not tables:
        return ""
    return _section(
        "What int8 costs",
        "The same pictures before and after quantization, none of them learnt from or held out for this report. An "
        "export is refused for what is lost beyond the allowed drop if it is gross (10 points and three parts, or a "
        "third and two) or beyond what chance does to so many parts; what may be chance is marked.",
        f'<div class="tables">{"".join(tables)}</div>',
    )


def _certainty(result: Result) -> str:
    ece = percent(result.metrics["ece"])
    chart = charts.reliability(result.reliability, "score of the likeliest class", "was right")
    parts = [_titled(f"Scores, off by {ece}", chart)]
    if result.both_kinds:
        found, precision = result.roc, result.precision_recall
        damaged = statistics.calibration_error(result.defect_reliability)
        parts += [
            _titled(
                f"P(defect), off by {percent(damaged)}",
                charts.reliability(result.defect_reliability, "P(defect) stated", "was damaged"),
            ),
            _titled(f"ROC, area {found.area:.4f}", charts.roc(found)),
            _titled(f"Precision-recall, {precision.area:.4f}", charts.precision_recall(precision)),
        ]
    return _section(
        "How sure it is",
        "On the diagonal, 90% means right nine times in ten; above it the model is too modest, below too sure.",
        f'<div class="grid four">{"".join(f"<div>{part}</div>" for part in parts)}</div>',
    )


def _titled(title: str, chart: str) -> str:
    return f"<h3>{title}</h3>{chart}"


def _learning(stages: Sequence[Mapping[str, Any]]) -> str:
    drawn = [chart for losses in (True, False) if (chart := charts.history(stages, losses=losses))]
    if not drawn:
        return ""
    body = "".join(f"<div>{chart}</div>" for chart in drawn)
    return _section("How it learnt", "Epoch by epoch, stage after stage.", f'<div class="grid">{body}</div>')


def _origin(result: Result, facts: Mapping[str, Any]) -> str:
    speed = f"<details open><summary>speed</summary>{speed_table(result.speed)}</details>" if result.speed else ""
    stages = [
        {name: one for name, one in stage.items() if name not in charts.curves(stage)}  # Those are drawn above.
        for stage in facts.get("training") or []
    ]
    told = {**facts, **({"training": stages} if stages else {})}
    shown = (
        f"<details><summary>{escape(name)}</summary><pre>{escape(compact(value))}</pre></details>"
        for name, value in told.items()
    )
    return _section("How it was made", "The same figures stand in report.json.", speed, *shown)
