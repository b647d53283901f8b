"""One frame in, one event out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from edge import config as configs
from edge.camera.base import BadFrame, Frame
from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.messages import Event, Verdict
from edge.contract.ulid import new_ulid
from edge.decision import NO_MAJORITY
from edge.judge import Judge
from edge.trigger.base import Shot

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def classifier(demo_bundle: Path) -> Classifier:
    """Return the demo bundle's classifier."""
    return Classifier(bundles.read(demo_bundle))


def judge_with(classifier: Classifier, tmp_path: Path, **decision: object) -> Judge:
    table = {"bundle": "b", "camera": {"kind": "synthetic"}, "decision": decision}
    return Judge(classifier, configs.parse(table, tmp_path / "device.toml"), new_ulid())


def judged(judge: Judge, shot: Shot) -> Event:
    """Return the one event of a device without regions."""
    (found,) = judge.judge(shot)
    return found.event


def shot(number: int = 1, shape: tuple[int, ...] = (40, 60, 3)) -> Shot:
    pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
    return Shot(f"trigger-{number}", Frame(number, f"frame-{number}", time.monotonic(), pixels))


def test_events_say_what_they_judge(classifier: Classifier, tmp_path: Path) -> None:
    """Events repeat their trigger and their frame's source; their scores sum to 1, and the ledger numbers them."""
    judge = judge_with(classifier, tmp_path)
    events = [judged(judge, shot(number)) for number in range(1, 4)]
    assert [event.seq for event in events] == [0, 0, 0]
    assert [event.trigger for event in events] == ["trigger-1", "trigger-2", "trigger-3"]
    assert [event.source for event in events] == ["frame-1", "frame-2", "frame-3"]
    for event in events:
        assert sum(event.scores.values()) == pytest.approx(1, abs=1e-4)
        assert event.label is not None
        assert event.score == event.scores[event.label]
        assert event.model == classifier.bundle.model_sha256
        assert event.latency_ms.invoke > 0
        assert event.latency_ms.total >= event.latency_ms.invoke


def test_the_threshold_of_the_configuration_decides(classifier: Classifier, tmp_path: Path) -> None:
    """The same frame is DEFECT under a threshold of nearly 0, and stands in the event with it."""
    event = judged(judge_with(classifier, tmp_path, threshold=1e-9), shot())
    assert event.verdict == Verdict.DEFECT
    assert event.threshold == 1e-9
    assert event.label != "intact"


@pytest.mark.parametrize("shape", [(40, 60, 4), (0, 60, 3), (40,)])
def test_a_frame_that_cannot_be_judged_is_unknown(
    classifier: Classifier, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    """A frame of a shape no model takes ends as UNKNOWN with its reason, not as an exception."""
    event = judged(judge_with(classifier, tmp_path), shot(shape=shape))
    assert event.verdict == Verdict.UNKNOWN
    assert str(list(shape)) in event.reason
    assert event.label is None
    assert event.scores == {}


def test_a_bad_frame_is_unknown_with_its_reason(classifier: Classifier, tmp_path: Path) -> None:
    """A damaged picture is an event of its own."""
    event = judged(
        judge_with(classifier, tmp_path), Shot("free-1", BadFrame(1, "x.png", time.monotonic(), "x.png: damaged"))
    )
    assert (event.verdict, event.reason) == (Verdict.UNKNOWN, "x.png: damaged")


def test_smoothing_waits_for_enough_frames(classifier: Classifier, tmp_path: Path) -> None:
    """With 2 of 3, the first defect frame alone is UNKNOWN, the second makes the camera's verdict DEFECT."""
    judge = judge_with(classifier, tmp_path, threshold=1e-9, votes=2, window=3)
    events = [judged(judge, shot(number)) for number in (1, 2)]
    assert [event.frame_verdict for event in events] == [Verdict.DEFECT, Verdict.DEFECT]
    assert [event.verdict for event in events] == [Verdict.UNKNOWN, Verdict.DEFECT]
    assert [event.reason for event in events] == [NO_MAJORITY, ""]


@pytest.mark.parametrize("kind", ["no frame", "not finite"])
def test_votes_pass_no_part_that_nobody_could_judge(
    classifier: Classifier, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 2 of 3 two intact parts make the next one no PASS if there is nothing to judge it by: it is UNKNOWN."""
    judge = judge_with(classifier, tmp_path, threshold=1.0, votes=2, window=3)
    assert [judged(judge, shot(number)).verdict for number in (1, 2)] == [Verdict.UNKNOWN, Verdict.PASS]
    if kind == "no frame":
        event = judged(judge, Shot("free-3", BadFrame(3, "3", time.monotonic(), "the camera is gone")))
    else:
        prediction = classifier.classify(np.zeros((40, 60, 3), np.uint8))
        broken = msgspec.structs.replace(prediction, scores=prediction.scores * np.float32("nan"))
        monkeypatch.setattr(classifier, "classify", lambda *_, **__: broken)
        event = judged(judge, shot(3))
    assert event.verdict == Verdict.UNKNOWN
    assert event.reason in {"the camera is gone", "the model's scores are not finite numbers, one a label"}
    monkeypatch.undo()
    assert judged(judge, shot(4)).verdict == Verdict.PASS, "the others' votes count on"


def test_what_is_late_already_is_not_classified(classifier: Classifier, tmp_path: Path) -> None:
    """The model's time is for those that can still be in time: who is late is UNKNOWN without it, and says so."""
    late = msgspec.structs.replace(shot(), deadline=time.monotonic() - 1)
    event = judged(judge_with(classifier, tmp_path), late)
    assert (event.verdict, event.latency_ms.invoke) == (Verdict.UNKNOWN, 0)
    assert event.reason.startswith("its deadline passed 1.0")
