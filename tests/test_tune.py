"""`edge-inspect tune`: what it measures, what it makes of it, and what it says when something fails."""

from __future__ import annotations

import json
import signal
import subprocess
import tomllib
from math import nan
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from accelerators import bundle as samples
from device import assert_one_clear_line, inspect_command, run_inspect, write_config
from hypothesis import given
from hypothesis import strategies as st
from test_doctor_edgetpu import plug, save

from edge.config import Config
from edge.contract.bundle import EDGE_TPU_MODEL
from edge.golden import EXPECTED
from edge.runtime import installed
from edge.sections.cameras import PicameraConfig
from edge.sections.runtime import Runtime
from edge.tune import rounds
from edge.tune.choice import GAIN, Round, Row, Setting, best, compare
from edge.tune.plan import Plan, settings
from edge.tune.result import Result, judged

if TYPE_CHECKING:
    from pathlib import Path

    from accelerators import Standin


def measured(threads: int, *medians: float, scores: tuple[float, ...] = (0.9, 0.1), **setting: Any) -> Row:
    """A setting whose rounds took so many milliseconds a frame."""
    made = Setting(**{"engine": "litert", "threads": threads, **setting})
    found = tuple(
        Round(frames=(each, each), invokes=(each / 2,) * 2, scores=(scores,), memory_mib=each) for each in medians
    )
    return Row(setting=made, rounds=found)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([measured(1, 10), measured(2, 9), measured(4, 8.6)], 1),
        ([measured(1, 10), measured(2, 8.4), measured(4, 8)], 2),
        ([measured(1, 10), measured(2, 9), measured(4, 8.4)], 4),
        ([measured(4, 5), measured(1, 10)], 4),
        ([measured(2, 10), measured(1, 10)], 1),
        ([], None),
    ],
)
def test_more_threads_have_to_be_worth_it(rows: list[Row], expected: int | None) -> None:
    """The fewest threads win, unless more are faster by more than 15%, whatever lies between them."""
    chosen = best(rows)
    assert (chosen and chosen.setting.threads) == expected


def test_an_accelerator_and_another_engine_have_to_be_worth_it_too() -> None:
    """At the same speed it is the CPU that judges, and the engine that comes first."""
    chip, other = {"accelerator": "edgetpu"}, {"engine": "tflite-runtime"}
    assert best([measured(1, 9, **chip), measured(1, 10)]) == measured(1, 10)
    assert best([measured(1, 3, **chip), measured(1, 10)]) == measured(1, 3, **chip)
    assert best([measured(1, 10), measured(1, 9.9, **other)]) == measured(1, 10)


@given(st.lists(st.tuples(st.integers(1, 8), st.floats(0.1, 1000)), min_size=1, max_size=20))
def test_the_choice_is_never_far_from_the_fastest(found: list[tuple[int, float]]) -> None:
    """Whatever was measured, nothing is faster than the choice by more than the gain that threads have to bring."""
    rows = [measured(threads, time) for threads, time in found]
    chosen = best(rows)
    assert chosen is not None
    assert chosen.frame_ms[1] * (1 - GAIN) <= min(row.frame_ms[1] for row in rows)
    assert chosen.setting.threads >= min(threads for threads, _ in found)


def test_figures_of_a_row() -> None:
    """Median, 95th percentile, spread and memory are of all rounds."""
    row = measured(1, 10, 12, 11)
    assert (row.frame_ms, row.invoke_ms, row.memory_mib) == ((11, 12), (5.5, 6), 12)
    assert row.spread == pytest.approx(2 / 11)


def test_wrong_scores_are_seen() -> None:
    """A label that turned, a score that is off and one that is no number each keep a setting from being chosen."""
    assert compare(measured(1, 1), [(0.9, 0.1)], 0.02).right
    turned = compare(measured(1, 1, scores=(0.4, 0.6)), [(0.6, 0.4)], 0.5)
    assert (turned.agreeing, turned.pictures, turned.right) == (0, 1, False)
    assert not compare(measured(1, 1, scores=(0.8, 0.2)), [(0.9, 0.1)], 0.02).right
    assert not compare(measured(1, 1, scores=(nan, 0.1)), [(0.9, 0.1)], 0.02).right


def test_what_is_tried(tmp_path: Path) -> None:
    """Each engine with each number of threads; an Edge TPU that is there or configured, if the bundle has its model."""
    found = samples()
    threads = [each.threads for each in settings(found, Runtime(), tmp_path) if each.engine == "litert"]
    assert threads == list(range(1, len(threads) + 1))
    assert all(each.accelerator == "none" for each in settings(found, Runtime(), tmp_path))
    assert settings(found, Runtime(accelerator="edgetpu"), tmp_path)[-1].accelerator == "edgetpu"
    plug(tmp_path)
    assert settings(found, Runtime(), tmp_path)[-1].accelerator == "edgetpu"
    without = {name: content for name, content in found.files.items() if name != EDGE_TPU_MODEL}
    bare = msgspec.structs.replace(found, files=without)
    assert all(each.accelerator == "none" for each in settings(bare, Runtime(), tmp_path))


def test_the_table_and_the_lines_to_paste(tmp_path: Path, demo_bundle: Path) -> None:
    """It shows each setting with the labels it gives, and lines that a configuration takes; nothing is written."""
    command = inspect_command("tune", "--bundle", demo_bundle, "--seconds", "0.5")
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert "round 3 of 3: litert, 1 thread" in result.stderr
    assert "frames of 1280x720 pixels" in result.stdout
    assert "5 of 5" in result.stdout
    table = tomllib.loads(result.stdout[result.stdout.index("[runtime]") :])["runtime"]
    assert table.keys() == {"engine", "threads", "accelerator"}
    assert list(tmp_path.iterdir()) == []


def test_at_the_cameras_size_with_its_regions(tmp_path: Path, demo_bundle: Path) -> None:
    """A frame has the camera's size, and all regions of it are judged; what [runtime] says besides stays."""
    camera = {"kind": "synthetic", "width": 320, "height": 200, "rotate": 90}
    areas = [{"name": "tray", "rows": 2, "columns": 2}]
    more = {"regions": areas, "runtime": {"invoke_deadline_ms": 500}}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt={}, **more)
    result = run_inspect("tune", "--bundle", demo_bundle, "--config", config, "--seconds", "0.5", "--json")
    said = json.loads(result.stdout)
    assert said["frame"] == {"height": 200, "width": 320}
    assert tomllib.loads(said["runtime"])["runtime"]["invoke_deadline_ms"] == 500
    assert said["best"]["engine"] in installed()
    for row in said["rows"]:
        assert (row["failure"], row["rounds"], row["labels_same"], row["right"]) == ("", 3, 5, True)
        assert 0 < row["invoke_ms"] <= row["frame_ms"] <= row["frame_p95_ms"]
        assert row["memory_mib"] > 20


def test_what_the_cameras_processor_makes_smaller_is_what_is_judged(tmp_path: Path) -> None:
    """With `lores_width` a frame has that size, not the whole picture's."""
    camera = PicameraConfig(width=4608, height=2592, rate=5, lores_width=640)
    plan = Plan(bundle=tmp_path, config=Config(bundle=tmp_path, camera=camera), state="")
    assert plan.size == (360, 640)


def test_every_region_costs_its_time(tmp_path: Path, demo_bundle: Path) -> None:
    """What a process is told to measure has each cell of a tray, and the setting that is tried."""
    from edge.config import load

    camera, areas = {"kind": "synthetic"}, [{"name": "tray", "rows": 2, "columns": 3}]
    path = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=camera, mqtt={}, regions=areas)
    plan = Plan(bundle=demo_bundle, config=load(path), state=str(tmp_path))
    task = plan.task(Setting(engine="litert", threads=2), 1.0)
    assert (len(task.areas), task.runtime.threads, task.size) == (6, 2, (128, 160))


@pytest.mark.parametrize(("how", "words"), [("works", ""), ("crash-load", "died of signal"), ("no-device", "no Edge")])
def test_an_accelerator_is_a_row(tmp_path: Path, standin: Standin, how: str, words: str) -> None:
    """One that works is measured as itself; one that crashes or is not there is a row with the reason, not the end."""
    save(tmp_path / "bundle")
    standin.behave(how)
    chip = {"accelerator": "edgetpu", "library": str(standin.library)}
    camera = {"kind": "synthetic"}
    config = write_config(tmp_path / "device.toml", bundle=tmp_path / "bundle", camera=camera, mqtt={}, runtime=chip)
    arguments = ("--bundle", tmp_path / "bundle", "--config", config, "--seconds", "0.5", "--json")
    result = run_inspect("tune", *arguments)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    row = next(row for row in said["rows"] if row["accelerator"] == "edgetpu")
    if words:
        assert words in row["failure"]
        assert tomllib.loads(said["runtime"])["runtime"]["accelerator"] == "none"
    else:
        assert (row["failure"], row["right"]) == ("", True)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -SEGV $$", "crashed (signal 11"),
        ("kill -KILL $$", "is memory short"),
        ("exec sleep 100", "hangs: it was not done after"),
        ("echo nonsense; echo 'edge.tune: why' >&2; exit 6", "why"),
        ("exit 0", "it said nothing"),
    ],
)
def test_a_process_that_ends_badly_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    """However the process of a setting ends, the reason is in its row, and it is not started again."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho x >> {tmp_path}/starts\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(rounds.sys, "executable", str(program))
    monkeypatch.setattr(rounds, "_OPENING_SECONDS", 1.0 if "sleep" in script else 30.0)
    setting = Setting(engine="litert", threads=1)
    found = rounds.Rounds([setting], Plan(bundle=tmp_path, config=None, state=str(tmp_path)).task, 0.1)
    found.measure(lambda _: None)
    assert words in found.rows[setting].failure
    assert (tmp_path / "starts").read_text() == "x\n"


def test_a_bundle_that_no_setting_judges_rightly(tmp_path: Path) -> None:
    """Where all give other scores than expected nothing is recommended; the table shows by how much they are off."""
    found = samples()
    golden = {"0.png": {label.name: 1.0 - index for index, label in enumerate(found.manifest.labels)}}
    wrong = msgspec.structs.replace(found, files=found.files | {EXPECTED: msgspec.json.encode(golden)})
    save(tmp_path / "bundle", wrong)
    result = run_inspect("tune", "--bundle", tmp_path / "bundle", "--seconds", "0.3")
    assert_one_clear_line(result, 6, "no setting judges this bundle rightly")
    assert ", off by" in result.stdout
    assert "[runtime]" not in result.stdout


def test_ctrl_c_shows_what_is_known(demo_bundle: Path) -> None:
    """Interrupted in the second round it prints the first one's figures, says so, and ends with 130."""
    command = inspect_command("tune", "--bundle", demo_bundle, "--seconds", "20")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("round 2"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said, trouble = process.communicate(timeout=60)
    assert process.returncode == 130, trouble
    assert "Traceback" not in trouble
    assert "interrupted: not all was measured" in said
    assert "5 of 5" in said
    assert "[runtime]" in said


def test_noise_is_said() -> None:
    """Rounds of the best setting that differ much are told, with what to do; even ones are not."""

    def remarks(*medians: float) -> list[str]:
        rows = (measured(1, *medians),)
        bare = msgspec.structs.replace(samples(), files={})
        return Result(rows=rows, verdicts=judged(rows, bare), base=Runtime(), size=(1, 1), notes=()).remarks

    assert remarks(10, 10.5, 10) == []
    (noisy,) = remarks(10, 14, 10)
    assert noisy.startswith("noisy: its rounds differ by 40%: stop other programs")
