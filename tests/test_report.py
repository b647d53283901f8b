from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.bundle import Label
from edge.decision import decide
from training.data.dataset import Dataset, Source
from training.evaluation import charts, mistakes, report, tables
from training.evaluation.caveats import caveats
from training.evaluation.result import Judgement, Result, Speed
from training.evaluation.svg import percent, shares
from training.evaluation.thresholds import Aim, choose
from training.int8 import gate

DEMO = Path(__file__).resolve().parent.parent / "edge" / "demo_bundle"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page: its elements, what they name, its text; an end without its beginning fails."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.words = ""
        self.feed(page.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "action"):
                self.references.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The demo's model: it only draws the heat maps here."""
    return Classifier(bundles.read(DEMO))


def labels(*names: str, passing: str | None = None) -> tuple[Label, ...]:
    """Classes, one of them perhaps intact."""
    return tuple(Label(name=name, verdict="PASS" if name == passing else "DEFECT") for name in names)


def made(
    of: tuple[Label, ...], count: int = 90, *, aim: Aim | None = None, wild: float = 2.0, name: str = "{}/{}.png"
) -> tuple[Dataset, Result]:
    """Pictures of noise, and what a model with so wild mistakes might have said of them."""
    rng = np.random.default_rng(1)
    truth = np.arange(count) % len(of)
    logits = rng.normal(0, wild, (count, len(of))) + 6 * np.eye(len(of))[truth]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    damaged = np.array([label.verdict == "DEFECT" for label in of])
    rule = choose(scores @ damaged, damaged[truth], aim) if aim else None
    thresholds = rule.thresholds if rule else bundles.Thresholds()
    judged = []
    for row, (label, given_scores) in enumerate(zip(truth, scores.tolist(), strict=True)):
        decision = decide(given_scores, of, thresholds)
        judged.append(
            Judgement(
                file=name.format(of[label].name, row),
                truth=of[label].name,
                verdict=str(decision.verdict),
                label=str(decision.label),
                score=float(decision.score or 0),
                scores={one.name: score for one, score in zip(of, given_scores, strict=True)},
                float_label=str(decision.label),
            )
        )
    pixels = rng.integers(0, 256, (count, 128, 128, 3), dtype=np.uint8)
    sources = tuple(Source(j.file, int(label), lambda: pixels[0]) for j, label in zip(judged, truth, strict=True))
    speed = Speed(
        machine="<b>CPU</b>", runtime="r 1", threads=2, preprocess=(1, 2), invoke=(30.4, 50), total=(31.4, 152.3)
    )
    data = Dataset(labels=of, sources=sources, pixels=pixels, digests=("",) * count)
    return data, Result(labels=of, judged=judged, thresholds=thresholds, rule=rule, speed=speed)


SETS = {
    "several": labels("intact", "crack", "wear", passing="intact"),
    "two": labels("good", "bad", passing="good"),
    "defects only": labels("crack", "wear", "burr"),
    "as many as the demo's model knows": labels("a", "b", "c", "d", "e", passing="c"),
}


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("wild", [0.1, 2.0, 9.0])
@pytest.mark.parametrize("count", [28, 240])
def test_a_page_stands_alone_for_any_set(classifier: Classifier, kind: str, wild: float, count: int) -> None:
    """Perfect, middling or hopeless, few pictures or many: whole HTML, drawings are XML, nothing from elsewhere."""
    of = SETS[kind]
    aim = None if kind == "defects only" else Aim(max_miss=0.02)
    data, result = made(of, count, aim=aim, wild=wild)
    page = report.html("title", classifier, data, result, {"seed": 1}, warnings=caveats(result))
    read = Page(page)
    assert read.open == []
    assert "script" not in read.tags
    assert read.handlers == []
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in read.references)
    assert not re.search(rb"url\(|@import|http", page)
    drawings = re.findall(r"<svg.*?</svg>", page.decode(), re.DOTALL)
    assert len(drawings) >= (1 if kind == "defects only" else 6)
    for drawing in drawings:
        ET.fromstring(drawing)  # noqa: S314 - ours
        assert "nan" not in drawing
        assert "inf" not in re.sub("<title>.*</title>", "", drawing)
    assert len(page) < 600_000
    assert ("Damaged or intact" in read.words) == (kind != "defects only")
    assert len(re.findall(b"data:image", page)) == 2 * mistakes.SHOWN


def test_many_classes_turn_their_names() -> None:
    """With more than six classes the table's heads stand upright, and every count is there."""
    _, result = made(labels(*(f"class number {i}" for i in range(14)), passing="class number 3"), 280)
    table = tables.confusion_table(result)
    assert '<table class="many">' in table
    assert sum(map(int, re.findall(r'">(\d+)</td>', table))) == 280
    assert '<table class="many">' not in tables.confusion_table(made(SETS["several"])[1])


def test_the_same_figures_give_the_same_page(classifier: Classifier) -> None:
    """No date, no chance, no address: two pages of one result are equal."""
    data, result = made(SETS["several"], aim=Aim())
    assert report.html("t", classifier, data, result, {}) == report.html("t", classifier, data, result, {})


def test_names_are_text_and_nothing_else(classifier: Classifier) -> None:
    """Labels, file names, titles and facts that hold markup, quotes or broken bytes are shown, never run."""
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    of = labels(f"ok{evil}", f"bad{evil}", passing=f"ok{evil}")
    data, result = made(of, aim=Aim(max_miss=0.1), name="{}/\udcff&<b>{}")
    facts = {evil: {evil: [evil]}, "training": [{"name": evil, f"{evil} loss": [1.0, 0.5], evil: [0.5, 0.9]}]}
    read = Page(report.html(evil, classifier, data, result, facts, warnings=[evil]))
    assert read.open == []
    assert "script" not in read.tags
    assert read.handlers == []
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in read.references)
    assert read.words.count("alert(1)") > 20


def test_a_promise_that_is_not_shown_is_said_first(classifier: Classifier) -> None:
    """Few defects: the page opens with what is missing, and says it again beside the rule."""
    data, result = made(SETS["several"], aim=Aim(max_miss=0.005))
    words = Page(report.html("t", classifier, data, result, {}, warnings=caveats(result))).words
    assert words.index("more must be photographed") < words.index("Missed defects")
    assert "Promise not shown" in words


def test_what_int8_costs_is_a_table_that_one_sees(classifier: Classifier) -> None:
    """Each runtime has a row for every class with counts and verdict, outside of what is folded away."""
    data, result = made(SETS["several"], aim=Aim())
    truth = np.arange(90) % 3
    logits = 10 * np.eye(3, dtype=np.float32)[truth]
    after = logits.copy()
    after[[1, 4]] = logits[0]
    found = gate.compare(truth, logits, after, SETS["several"], part=np.arange(90) // 45)
    facts = {"quantization": {"gates": {"litert": found.plain()}}}
    page = report.html("t", classifier, data, result, facts).decode()
    table = page[page.index("What int8 costs") : page.index("How sure it is")]
    assert "<details" not in table
    assert re.search(
        r'<tr class="doubt"><th>crack</th><td>30</td><td>100%</td><td>93.3%</td><td>2</td><td>0</td>', table
    )
    assert "<td>too few to tell: 1 of 2 parts lost and 0 gained</td>" in table
    assert "What int8 costs" not in report.html("t", classifier, data, result, {}).decode()


def test_the_lead_speaks_of_thousands_of_parts(classifier: Classifier) -> None:
    """What passes unseen and what is rejected are told in parts, a few of them with a decimal, and a bound upwards."""
    data, result = made(SETS["several"], 600, aim=Aim(), wild=3.0)
    words = Page(report.html("t", classifier, data, result, {})).words
    assert (result.missed.hits, result.missed.total) == (1, 400)
    assert result.missed.upper == pytest.approx(0.0118, abs=5e-5)
    assert "about 2.5 pass unseen (at most 12 with 95% confidence)" in words


def test_missed_defects_come_first_among_the_worst() -> None:
    """Then false alarms, then wrong classes, and within each the surest mistake."""
    _, result = made(SETS["several"], 300, wild=4.0)
    rows = mistakes.worst(result)
    kinds = [mistakes.kind_of(result, row) for row in rows]
    order = ["missed defect", "false alarm", "wrong class", "left to a person", "right"]
    assert [order.index(kind) for kind in kinds] == sorted(order.index(kind) for kind in kinds)
    assert kinds[0] == "missed defect"
    first = [result.judged[row].truth_score for row, kind in zip(rows, kinds, strict=True) if kind == kinds[0]]
    assert first == sorted(first)


def test_pictures_are_small_jpegs_of_the_models_view(classifier: Classifier) -> None:
    """Each thumbnail is a JPEG of at most 144 pixels a side."""
    import io

    from PIL import Image

    data, result = made(SETS["two"])
    for encoded in re.findall(r"base64,([^\"]+)", mistakes.figure(classifier, data, result, 0)):
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            assert (image.format, max(image.size) <= 144) == ("JPEG", True)


def test_learning_is_drawn_only_where_it_was_recorded() -> None:
    """Losses and shares have a chart each; stages without a history, or none, draw nothing."""
    stages = [
        {"name": "head", "loss": [2.0, float("nan"), 0.5], "accuracy": [0.4, 0.6, 0.8]},
        {"name": "top", "epochs": 3, "loss": []},
        {"name": "all", "loss": [0.4], "accuracy": [0.9], "start": {"loss": 1.0}},
    ]
    assert ">loss</text>" in charts.history(stages, losses=True)
    assert ">accuracy</text>" in charts.history(stages, losses=False)
    assert charts.history([{"name": "head", "epochs": 3}], losses=True) == charts.history([], losses=False) == ""


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0%"),
        (0.005, "0.5%"),
        (0.01711, "1.7%"),
        (0.985, "98.5%"),
        (0.9999, "99.99%"),
        (0.99999999, "99.99%"),
        (1, "100%"),
    ],
)
def test_shares_are_rounded_for_people(share: float, text: str) -> None:
    """Two digits of small shares, three of large ones, and 100% only if it is all."""
    assert percent(share) == text


@given(st.floats(0, 1), st.floats(1e-6, 1))
def test_ticks_are_round_and_within_the_scale(low: float, width: float) -> None:
    """Any range of shares gets two to twelve ticks inside it."""
    high = low + width
    ticks = list(shares(low, high))
    assert 1 <= len(ticks) <= 12
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


@pytest.mark.parametrize(("wild", "said"), [(2.0, False), (60.0, True)])
def test_a_model_that_guesses_is_told(wild: float, *, said: bool) -> None:
    """Whoever reads nothing else learns that it learnt nothing."""
    _, result = made(labels("intact", "crack", "wear", passing="intact"), 300, wild=wild)
    assert any("hardly does better than guessing" in text for text in caveats(result)) is said
