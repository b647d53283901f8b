"""Several regions of one frame: each a verdict of its own, by its own rule, about what lies there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from device import assert_one_clear_line, end, run_inspect, running_daemon, write_config
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import event
from PIL import Image
from recorder import Recorder
from test_config import refusal

from edge import config as configs
from edge.alarm import AlarmState
from edge.camera.base import Frame
from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.contract.messages import Verdict
from edge.contract.preprocess import crop
from edge.contract.ulid import new_ulid
from edge.errors import ConfigError
from edge.judge import Judge
from edge.regions import places
from edge.sections.regions import RegionConfig
from edge.synthetic import render
from edge.trigger.base import Shot

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Broker

    from edge.contract.preprocess import Pixels

CELL = 96
TRAY = {"name": "tray", "rows": 2, "columns": 3}


@pytest.fixture(scope="module")
def classifier(demo_bundle: Path) -> Classifier:
    """Return the demo bundle's classifier."""
    return Classifier(bundles.read(demo_bundle))


def tray() -> tuple[Pixels, list[str]]:
    """Return a frame of six rendered parts and the truth about each, row by row."""
    parts = [render(7, index, height=CELL, width=CELL) for index in range(6)]
    rows = [np.concatenate([np.asarray(part.pixels) for part in parts[at : at + 3]], axis=1) for at in (0, 3)]
    return np.concatenate(rows, axis=0), [part.label for part in parts]


def judge_with(classifier: Classifier, tmp_path: Path, *regions: dict[str, Any]) -> Judge:
    table = {"bundle": "b", "camera": {"kind": "synthetic"}, "regions": list(regions)}
    return Judge(classifier, configs.parse(table, tmp_path / "device.toml"), new_ulid())


def test_each_cell_of_a_tray_is_judged_as_if_it_were_alone(classifier: Classifier, tmp_path: Path) -> None:
    """The verdict of each cell is the one that its own picture gets, and the event names the cell."""
    frame, _ = tray()
    found = judge_with(classifier, tmp_path, TRAY).judge(Shot("t-1", Frame(1, "tray", time.monotonic(), frame)))
    assert [each.event.region for each in found] == [f"tray-{row}-{column}" for row in (1, 2) for column in (1, 2, 3)]
    assert {each.event.trigger for each in found} == {"t-1"}
    alone = judge_with(classifier, tmp_path)
    for each in found:
        picture = np.ascontiguousarray(crop(frame, each.area))
        (one,) = alone.judge(Shot("t", Frame(1, "", time.monotonic(), picture)))
        assert one.event.scores == each.event.scores
        assert one.event.verdict == each.event.verdict
    assert len({str(each.event.scores) for each in found}) > 1


def test_a_region_has_its_own_threshold_and_classes(classifier: Classifier, tmp_path: Path) -> None:
    """The same place under three rules: by the bundle's, by a threshold of nearly 0, and with every class intact."""
    names = [label.name for label in classifier.bundle.manifest.labels]
    intact = next(label.name for label in classifier.bundle.manifest.labels if label.verdict == "PASS")
    found = judge_with(
        classifier,
        tmp_path,
        {"name": "plain"},
        {"name": "strict", "threshold": 1e-9},
        {"name": "turned", "labels": {intact: "DEFECT"}, "threshold": 1.0},
    ).judge(Shot("t-1", Frame(1, "", time.monotonic(), np.asarray(render(1, 0, height=64, width=64).pixels))))
    events = [each.event for each in found]
    assert [event.region for event in events] == ["plain", "strict", "turned"]
    assert events[1].verdict is Verdict.DEFECT
    assert events[1].threshold == 1e-9
    assert events[2].verdict is Verdict.DEFECT, "no class is left that would pass"
    assert set(events[0].scores) == set(names)
    assert events[0].scores == events[1].scores == events[2].scores


@pytest.mark.parametrize(
    ("labels", "words"), [({"nonsense": "PASS"}, "'nonsense'"), ("every", "leaves no class that is a DEFECT")]
)
def test_a_rule_that_cannot_be_meant_is_refused(
    classifier: Classifier, tmp_path: Path, labels: Any, words: str
) -> None:
    """A class that the bundle does not have, and a region in which nothing could ever be a defect."""
    if labels == "every":
        labels = {label.name: "PASS" for label in classifier.bundle.manifest.labels}
    with pytest.raises(ConfigError, match=words):
        judge_with(classifier, tmp_path, {"name": "a", "labels": labels})


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"regions": {"name": "a"}}, "regions is {'name': 'a'}: expected an array, each item a table"),
        ({"regions": [{"x": 0.5}]}, "regions[0].name is missing: expected letters, digits, _ and -, 64 at most"),
        ({"regions": [{"name": "a"}] * 2}, "regions: two are named 'a'"),
        (
            {"regions": [{"name": "a", "rows": 100, "columns": 5}]},
            "regions[0]: 100 rows of 5 columns are more than 400 cells",
        ),
        (
            {"regions": [{"name": "a", "labels": {"worn": "OK"}}]},
            "regions[0].labels is {'worn': 'OK'}: expected a table, each value one of 'DEFECT', 'PASS'",
        ),
        (
            {"regions": [{"name": "a", "x": 0.5}]},
            (
                "regions[0]: x 0.5, y 0, width 1, height 1 leaves the frame: "
                "x + width and y + height must stay within 0-1"
            ),
        ),
    ],
)
def test_regions_that_cannot_be_are_named_with_what_is_expected(sections: dict[str, Any], message: str) -> None:
    """Each line names the region by its place in the file, the key and its value."""
    assert refusal(**sections) == message


@given(st.integers(1, 20), st.integers(1, 20), st.floats(0, 0.9), st.floats(0.05, 0.1))
def test_the_cells_of_a_grid_cover_it(rows: int, columns: int, corner: float, size: float) -> None:
    """Each has its part of it, none reaches out of the frame, and together they are as large as it is."""
    found = places([RegionConfig(name="g", x=corner, y=corner, width=size, height=size, rows=rows, columns=columns)])
    assert len({place.name for place in found}) == rows * columns
    assert sum(place.area.width * place.area.height for place in found) == pytest.approx(size * size)
    assert all(place.area.x + place.area.width <= corner + size + 1e-9 for place in found)


def test_an_alarm_stands_while_any_region_is_a_defect() -> None:
    """A part that passes beside it does not clear it; a shot on which all pass does, one that is UNKNOWN does not."""
    alarms = AlarmState()

    def said(*verdicts: Verdict) -> bool | None:
        alarm = alarms.after([event(verdict=verdict) for verdict in verdicts])
        return None if alarm is None else alarm.active

    assert said(Verdict.PASS, Verdict.DEFECT, Verdict.PASS) is True
    assert said(Verdict.PASS, Verdict.UNKNOWN) is None
    assert said(Verdict.PASS, Verdict.PASS) is False
    assert said(Verdict.PASS, Verdict.PASS) is None


def test_the_daemon_gives_each_region_its_verdict(tmp_path: Path, broker: Broker, demo_bundle: Path) -> None:
    """Of each picture six verdicts arrive, in order, with one trigger; `health` counts pictures as frames."""
    frame, truth = tray()
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        Image.fromarray(frame).save(tmp_path / "pictures" / f"{number}.png")
    config = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera={"kind": "folder", "path": "pictures"},
        mqtt={"port": broker.port},
        regions=[TRAY],
    )
    with Recorder(broker.port) as recorder, running_daemon(config) as daemon:
        log = end(daemon)
        assert daemon.returncode == 0, log
        recorder.wait_for_status("offline")
    events = recorder.named("event")
    assert [event["trigger"] for event in events] == [f"free-{number}" for number in (1, 2, 3) for _ in truth]
    verdicts = [event["verdict"] for event in events[: len(truth)]]
    right = ["PASS" if label == "intact" else "DEFECT" for label in truth]
    assert sum(verdict == wanted for verdict, wanted in zip(verdicts, right, strict=True)) >= len(truth) - 1
    assert (recorder.named("health")[-1]["frames_judged"], len(events)) == (3, 3 * len(truth))


def test_a_class_that_the_bundle_does_not_have_ends_the_start(tmp_path: Path, demo_bundle: Path) -> None:
    """With one line that names it, the region and what there is."""
    config = write_config(
        tmp_path / "device.toml",
        bundle=demo_bundle,
        camera={"kind": "synthetic", "frames": 1},
        mqtt={"port": 1},
        regions=[{"name": "a", "labels": {"wron": "PASS"}}],
    )
    assert_one_clear_line(run_inspect("run", "--config", config), 3, "a.labels", "'wron'", "intact")
