from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from edge.classifier import Classifier, softmax
from edge.contract import bundle as bundles
from edge.contract.bundle import Label
from edge.contract.preprocess import PreprocessSpec
from edge.decision import decide
from training.data import dataset
from training.evaluation import report_json
from training.evaluation.caveats import caveats, grave
from training.evaluation.evaluate import evaluate, int8_logits, processor
from training.evaluation.fit import fit
from training.evaluation.promise import Evidence
from training.evaluation.result import Judgement, Result
from training.evaluation.statistics import Share
from training.evaluation.thresholds import Aim, choose
from training.synthetic import Order

if TYPE_CHECKING:
    from training.data.dataset import Dataset

LABELS = (
    Label(name="crack", verdict="DEFECT"),
    Label(name="good", verdict="PASS"),
    Label(name="wear", verdict="DEFECT"),
)


def judged(truth: str, label: str, verdict: str, float_label: str | None = None) -> Judgement:
    """One picture and what the device made of it."""
    return Judgement(
        file=f"{truth}/1.png",
        truth=truth,
        verdict=verdict,
        label=label,
        score=0.8,
        scores={"crack": 0.1, "good": 0.1, "wear": 0.8},
        float_label=float_label or label,
    )


RESULT = Result(
    labels=LABELS,
    judged=[
        judged("crack", "crack", "DEFECT"),
        judged("crack", "wear", "DEFECT", float_label="crack"),
        judged("crack", "good", "PASS"),
        judged("crack", "good", "UNKNOWN"),
        judged("good", "good", "PASS"),
        judged("good", "wear", "DEFECT"),
    ],
)

DEMO = Path(__file__).resolve().parent.parent / "edge" / "demo_bundle"


def parts(seed: int, count: int, labels: tuple[Label, ...]) -> Dataset:
    """Rendered parts as the demo's model wants them."""
    order = Order(seed=seed, count=count)

    def pixels(index: int) -> np.ndarray:
        return order.render(index).pixels

    sources = [dataset.Source(order.name(i), order.label(i), partial(pixels, i)) for i in range(count)]
    return dataset.read(labels, sources, canvas=(128, 128), spec=PreprocessSpec(mode="centre-crop"))


@pytest.fixture(scope="module")
def demo() -> bundles.Bundle:
    """The bundle that the demo ships."""
    return bundles.read(DEMO)


@pytest.fixture(scope="module")
def classifier(demo: bundles.Bundle) -> Classifier:
    """The demo's model, ready."""
    return Classifier(demo)


@pytest.fixture(scope="module")
def data(demo: bundles.Bundle) -> Dataset:
    """Eighty parts that the model has never seen."""
    return parts(77, 80, demo.manifest.labels)


def test_figures_count_labels_and_verdicts_apart() -> None:
    """A crack called wear is a wrong label but no missed defect; UNKNOWN is neither a miss nor an alarm."""
    found = RESULT.metrics
    assert found["accuracy_int8"] == pytest.approx(2 / 6, abs=1e-6)
    assert found["accuracy_float"] == pytest.approx(3 / 6, abs=1e-6)
    assert (found["test_pictures"], found["missed_defects"], found["false_alarms"]) == (6, 0.25, 0.5)
    assert found["unknown"] == pytest.approx(1 / 6, abs=1e-6)
    assert found["balanced_accuracy"] == pytest.approx((1 / 4 + 1 / 2) / 2, abs=1e-6)


def test_a_miss_rate_comes_with_its_bound() -> None:
    """One missed of four is bounded by Clopper and Pearson's 75.1%, and both stand in the manifest."""
    assert RESULT.metrics["missed_defects_upper"] == pytest.approx(0.751395, abs=1e-6)
    assert RESULT.metrics["false_alarms_upper"] == 0.97468


def test_the_confusion_matrix_has_the_truth_in_its_rows() -> None:
    """Rows are true classes and columns what was said, in the labels' order."""
    assert RESULT.confusion.table.tolist() == [[1, 2, 1], [0, 1, 1], [0, 0, 0]]


def test_recall_and_precision_by_class() -> None:
    """Recall is of the class's pictures, precision of those that were given its name; none of either is None."""
    found = report_json.per_class(RESULT)
    assert (found["crack"]["pictures"], found["crack"]["recall"], found["crack"]["precision"]) == (4, 0.25, 1.0)
    assert found["crack"]["recall_float"] == 0.5
    assert found["good"]["precision"] == pytest.approx(1 / 3, abs=1e-6)
    assert (found["wear"]["pictures"], found["wear"]["recall"], found["wear"]["precision"]) == (0, None, 0.0)
    assert (found["wear"]["recall_low"], found["wear"]["recall_high"]) == (0, 1)


def test_without_a_passing_class_there_is_nothing_to_miss() -> None:
    """A data set of defects only reports no shares of misses, alarms or parts left to a person."""
    labels = tuple(Label(name=label.name, verdict="DEFECT") for label in LABELS)
    only = Result(labels=labels, judged=RESULT.judged)
    assert only.metrics.keys() == {
        "accuracy_int8", "accuracy_float", "test_pictures", "balanced_accuracy", "macro_f1",
        "ece", "ece_by_chance", "log_loss", "brier",
    }  # fmt: skip
    plain = report_json.plain(only)
    assert "verdicts" not in plain
    assert "curve" not in plain


def test_report_json_holds_every_figure_and_a_line_for_each_picture() -> None:
    """The file is JSON without NaN, its shares agree with the counts, and each picture is on a line of its own."""
    stage = {"name": "head", "loss": [1.0, math.nan], "start": {"minus_loss": -math.inf}}
    raw = report_json.encode(RESULT, {"seed": 1, "data": {"skipped": []}, "training": [stage]}, ["a caveat"])
    found = json.loads(raw, parse_constant=pytest.fail)
    assert found["metrics"] == RESULT.metrics
    assert found["verdicts"]["damaged"]["PASS"] == {
        "share": 0.25, "hits": 1, "total": 4, "low": 0.006309, "high": 0.805880,
    }  # fmt: skip
    assert found["decision"] == {"temperature": 1, "pass_below": 0.5, "defect_at": 0.5}
    assert found["training"] == [{"name": "head", "loss": [1.0, None], "start": {"minus_loss": None}}]
    assert (found["seed"], found["warnings"]) == (1, ["a caveat"])
    assert found["test"][0] == {
        "file": "crack/1.png", "truth": "crack", "verdict": "DEFECT", "label": "crack", "score": 0.8, "p_defect": 0.9,
    }  # fmt: skip
    assert sum(b"crack/1.png" in line for line in raw.splitlines()) == 4
    assert found["curve"]["missed_defects"][-1] == 1


def test_int8_logits_are_the_devices_own(classifier: Classifier, data: Dataset) -> None:
    """From a cached canvas come exactly the logits that the original gives."""
    found = int8_logits(classifier, data)
    assert found.shape == (80, 5)
    assert found.dtype == np.float32
    for row in (0, 33, 79):
        assert np.array_equal(found[row], classifier.classify(data.sources[row].load()).logits)


def test_evaluation_says_what_the_device_says(classifier: Classifier, data: Dataset) -> None:
    """Verdict and label of each picture are `decide`'s of the device's scores; float logits are judged apart."""
    logits = int8_logits(classifier, data)
    worse = np.roll(logits, 1, axis=0)
    result = evaluate(classifier, worse, data)
    manifest = classifier.bundle.manifest
    for row, one in enumerate(result.judged):
        scores = softmax(logits[row] / np.float32(manifest.temperature))
        expected = decide(scores.tolist(), manifest.labels, manifest.thresholds)
        assert (one.verdict, one.label) == (expected.verdict, expected.label)
        before = result.judged[row - 1]
        assert one.float_label == before.label
    assert result.metrics["accuracy_int8"] > 0.9 > result.metrics["accuracy_float"]
    assert result.p_defect == pytest.approx(1 - result.scores[:, 0], abs=1e-5)


def test_speed_is_measured_and_says_where(classifier: Classifier, data: Dataset) -> None:
    """Medians lie below 95th percentiles, both above 0, beside the processor, the runtime and the threads."""
    speed = evaluate(classifier, int8_logits(classifier, data), data).speed
    assert speed is not None
    for median, high in (speed.preprocess, speed.invoke, speed.total):
        assert 0 < median <= high
    assert speed.total[0] >= max(speed.preprocess[0], speed.invoke[0])
    assert speed.machine == processor() != ""
    assert (speed.runtime.split()[0], speed.threads) == ("ai-edge-litert", 1)


def test_a_fit_gives_a_manifest_that_the_device_takes(classifier: Classifier, data: Dataset) -> None:
    """Temperature and thresholds of 80 parts go into the manifest, and fresh parts are judged by them."""
    fitted = fit(classifier, data, Aim(max_miss=0.005), Evidence(share=0.5))
    assert fitted.rule is not None
    assert fitted.rule.promise is not None
    assert (fitted.rule.defects, fitted.rule.intact, fitted.rule.promise.photographs) == (64, 16, 2 * (598 - 64))
    bundle = classifier.bundle
    manifest = msgspec.structs.replace(bundle.manifest, temperature=fitted.temperature, thresholds=fitted.thresholds)
    again = bundles.parse_manifest(msgspec.json.encode(manifest))
    fresh = parts(78, 60, manifest.labels)
    judge = Classifier(bundles.Bundle(bundle.path, again, "", bundle.files))
    result = evaluate(judge, int8_logits(judge, fresh), fresh, rule=fitted.rule)
    assert result.thresholds == fitted.thresholds
    assert result.metrics["accuracy_int8"] > 0.9
    assert caveats(result)[0].startswith(
        "A miss rate of 0.5% cannot be shown by calibration with 64 photographs of defects"
    )
    assert report_json.plain(result)["decision"]["promise"]["photographs"] == 1068


def test_defects_only_need_no_rule(classifier: Classifier, data: Dataset) -> None:
    """Where every class means DEFECT the temperature is fitted and the thresholds stay as they are."""
    labels = tuple(Label(name=label.name, verdict="DEFECT") for label in data.labels)
    only = dataset.Dataset(labels=labels, sources=data.sources, pixels=data.pixels, digests=data.digests)
    fitted = fit(classifier, only, Aim(), Evidence())
    assert fitted.rule is None
    assert fitted.thresholds == bundles.Thresholds()
    assert 0.1 < fitted.temperature < 10


def test_parts_photographed_several_times_are_counted_once_and_the_report_warns() -> None:
    """A part is missed if one of its pictures passes; the gravest caveat says how many parts there are."""
    alike = [judged("crack", "good", "PASS"), *[judged("crack", "crack", "DEFECT")] * 5]
    pictures = [*alike, *[judged("crack", "crack", "DEFECT")] * 12, *[judged("good", "good", "PASS")] * 6]
    torn = Result(labels=LABELS, judged=pictures)
    known = Result(labels=LABELS, judged=pictures, part=np.repeat(np.arange(4), 6))
    assert (torn.missed, known.missed) == (Share(1, 18), Share(1, 3))
    assert (torn.parts, known.parts, known.false_alarms) == (24, 4, Share(0, 1))
    assert known.metrics["missed_defects_upper"] > 0.8 > torn.metrics["missed_defects_upper"]
    assert (known.trade_off.defects, known.trade_off.intact) == (3, 1)
    assert report_json.plain(known)["parts"] == 4
    assert grave(known)[0].startswith("The 24 held-out pictures show only 4 parts.")
    assert grave(torn) == []


def test_a_promise_is_contradicted_by_parts_not_by_photographs() -> None:
    """Six alike photographs of each of two missed parts are two misses, which a promise of 5% survives."""
    score = np.concatenate([np.full(400, 0.01), np.full(400, 0.99)])
    rule = choose(score, np.arange(800) >= 400, Aim(max_miss=0.05))
    pictures = [*[judged("crack", "good", "PASS")] * 12, *[judged("crack", "crack", "DEFECT")] * 54]
    assert "contradict" in caveats(Result(labels=LABELS, judged=pictures, rule=rule))[0]
    known = Result(labels=LABELS, judged=pictures, rule=rule, part=np.arange(66) // 6)
    assert not any("contradict" in one for one in caveats(known))


def test_caveats_name_what_is_thin_lost_or_overstated() -> None:
    """A guess, a loss by quantization, scores far from the truth and few pictures are each said in a sentence."""
    found = caveats(RESULT)
    assert [sentence.split()[0] for sentence in found] == ["It", "Quantization", "Scores", "Fewer"]
    assert "by chance 33.3%" in found[0]
    assert "wear (0), good (2), crack (4)" in found[-1]


def test_held_out_pictures_may_contradict_a_promise() -> None:
    """Where the thresholds' promise was shown but many held-out defects pass, that is the first caveat."""
    score = np.concatenate([np.full(400, 0.01), np.full(400, 0.99)])
    rule = choose(score, np.arange(800) >= 400, Aim(max_miss=0.01))
    assert rule.promise is not None
    assert rule.promise.shown
    missed = [judged("crack", "good", "PASS")] * 20 + [judged("crack", "crack", "DEFECT")] * 80
    result = Result(labels=LABELS, judged=[*missed, *[judged("good", "good", "PASS")] * 100], rule=rule)
    assert caveats(result)[0].startswith("The held-out pictures contradict the promise: 20 of 100 defects were missed.")
    kept = Result(labels=LABELS, judged=[*missed[20:], judged("good", "good", "PASS")], rule=rule)
    assert not any("promise" in sentence for sentence in caveats(kept))
