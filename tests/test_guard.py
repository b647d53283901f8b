"""The guard: good parts pass, each fault is caught and named, and no defect is taken for a fault."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from guard_line import CAMERA, HEIGHT, WIDTH, Shot, at_rest, frame, photograph, taught
from hypothesis import given
from hypothesis import strategies as st

from edge.camera.base import Frame
from edge.config import Config
from edge.guard import baseline_file
from edge.guard.baseline import Spread
from edge.guard.fitness import Fitness
from edge.guard.guard import FROZEN_AFTER, Guard, guard_for, may_be_still_s, open_guard
from edge.sections.cameras import FolderConfig, PicameraConfig, SyntheticConfig, VideoConfig
from edge.sections.guard import Guard as Rules
from edge.synthetic import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.contract.preprocess import Pixels
    from edge.guard.baseline import Baseline
    from edge.sections.cameras import CameraConfig

STATIONS = range(4)
ONE = taught([photograph(1, 0), photograph(1, 1)])
FRESH = range(100, 103)
"""Parts that no baseline has seen."""


@pytest.fixture(scope="module")
def baselines() -> dict[int, Baseline]:
    """One of each station, without its empty fixture."""
    return {station: taught(at_rest(station, range(15))) for station in STATIONS}


def reasons(baselines: dict[int, Baseline], shot: Shot) -> list[str]:
    """What the stations' guards say of fresh parts; empty for each that is fit."""
    return [
        Guard(Rules(), baselines[station], still_s=0).inspect(frame(photograph(station, part, shot))).reason
        for station in STATIONS
        for part in FRESH
    ]


def test_fresh_good_parts_are_fit(baselines: dict[int, Baseline], figure: Callable[[str], None]) -> None:
    """No frame of a good part that was never seen before is refused, wherever it rests in its fixture."""
    found = [
        Guard(Rules(), baselines[station], still_s=0).inspect(frame(pixels)).reason
        for station in STATIONS
        for pixels in at_rest(station, range(15, 27))
    ]
    figure(f"{sum(map(bool, found))} of {len(found)} fresh rendered frames refused by mistake")
    assert set(found) == {""}


@pytest.mark.parametrize("label", LABELS[1:])
def test_a_defect_is_no_fault(baselines: dict[int, Baseline], label: Any) -> None:
    """A damaged part is left to the model, whatever its damage: it must not hide behind UNKNOWN."""
    assert set(reasons(baselines, Shot(label=label))) == {""}


@pytest.mark.parametrize(
    ("shot", "said"),
    [
        (Shot(blur=1.5), "out of focus: sharpness "),
        (Shot(blur=5), "out of focus: sharpness "),
        (Shot(light=0.6), ("the light changed: ", "under-exposed: ")),
        (Shot(light=1.5), ("the light changed: ", "over-exposed: ")),
        (Shot(light=0), "the picture is black"),
        (Shot(light=400), "the picture is white"),
        (Shot(shift=(20, 0)), "the fixture moved by 3."),
        (Shot(shift=(0, -20)), "the fixture moved by 5."),
        (Shot(shift=(-60, 35)), "the fixture moved by "),
        (Shot(empty=True), "no part under the camera"),
    ],
)
def test_each_fault_is_caught_and_named(
    baselines: dict[int, Baseline], shot: Shot, said: str | tuple[str, str], figure: Callable[[str], None]
) -> None:
    """Out of focus, darker, brighter, moved, empty: every frame is refused, for what is wrong."""
    found = reasons(baselines, shot)
    figure(f"{sum(map(bool, found))} of {len(found)} refused, such as {found[0]!r}")
    assert all(reason.startswith(said) for reason in found)


def test_noise_and_a_camera_turned_away_are_caught(baselines: dict[int, Baseline]) -> None:
    """Noise, another station's part beside its place and a frame that is half another are no part to judge."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    turned = np.ascontiguousarray(np.roll(photograph(3, 0), WIDTH // 2, axis=1))
    guard = Guard(Rules(), baselines[0], still_s=0)
    for pixels in (noise, turned):
        assert guard.inspect(frame(pixels)).reason.startswith("no part under the camera, or another scene: likeness ")


@given(st.integers(-8, 8), st.integers(-6, 6))
def test_a_small_shift_is_handed_on(dx: int, dy: int) -> None:
    """A frame that moved by less than the limit is fit, and says by how much its regions are to follow."""
    guard = Guard(Rules(), taught(at_rest(2, range(10))), still_s=inf)
    found = guard.inspect(frame(photograph(2, 50, Shot(shift=(dx, dy)))))
    assert found.reason == ""
    assert found.dx == pytest.approx(dx / WIDTH, abs=3e-3)  # The baseline's own parts do not lie at 0 on average.
    assert found.dy == pytest.approx(dy / HEIGHT, abs=5e-3)


SPREADS = st.builds(Spread, st.floats(-300, 300), st.floats(0, 300))


@given(
    st.fixed_dictionaries(dict.fromkeys(("luma", "dark", "bright", "sharpness", "likeness"), SPREADS)),
    st.sampled_from([0, 100, 255]),
)
def test_no_baseline_that_can_be_read_makes_the_guard_raise(values: dict[str, Spread], level: int) -> None:
    """Whatever its figures, each frame is fit or has a reason on one line."""
    baseline = msgspec.structs.replace(ONE, **values)
    assert msgspec.json.decode(msgspec.json.encode(baseline), type=type(baseline)) == baseline
    for pixels in (np.full((HEIGHT, WIDTH), level, np.uint8), photograph(1, 0)):
        assert "\n" not in Guard(Rules(), baseline, still_s=0).inspect(frame(pixels)).reason


def test_only_what_is_asked_for_is_checked(baselines: dict[int, Baseline]) -> None:
    """Each check alone lets pass what the others are there for; none lets all pass, even a black frame."""
    faults = {
        "light": [Shot(light=0.6)],
        "part": [Shot(empty=True)],
        "fixture": [Shot(shift=(30, 0)), Shot(empty=True)],
        "focus": [Shot(blur=4)],
    }
    shots = [Shot(light=0.6), Shot(empty=True), Shot(shift=(30, 0)), Shot(blur=4)]
    for check, caught in faults.items():
        guard = Guard(Rules(checks=(check,)), baselines[0], still_s=inf)  # type: ignore[arg-type]
        found = {shot for shot in shots if guard.inspect(frame(photograph(0, 100, shot))).reason}
        assert found - {Shot(empty=True)} == set(caught) - {Shot(empty=True)}
        assert found >= set(caught)
    none = Guard(Rules(checks=()), baselines[0], still_s=0)
    assert {none.inspect(frame(photograph(0, 100, shot))) for shot in shots} == {Fitness()}


def test_the_empty_fixture_is_told_from_other_faults(baselines: dict[int, Baseline]) -> None:
    """With the empty fixture known a frame without a part is idle; other faults, good and bad parts are as before."""
    for station in STATIONS:
        empty = taught([photograph(station, part, Shot(empty=True)) for part in range(5)]).part
        known = Guard(Rules(), msgspec.structs.replace(baselines[station], empty=empty), still_s=inf)
        for part in FRESH:
            bare = known.inspect(frame(photograph(station, part, Shot(empty=True, light=0.8))))
            assert (bare.reason, bare.idle) == ("no part under the camera", True)
            for label in LABELS:
                assert known.inspect(frame(photograph(station, part, Shot(label=label)))).reason == ""
            for shot in (Shot(blur=4), Shot(light=0.6), Shot(shift=(30, 0))):
                found = known.inspect(frame(photograph(station, part, shot)))
                assert (bool(found.reason), found.idle) == (True, False)


def small_part(part: int, *, there: bool) -> Pixels:
    """A station whose part is a hundredth of the picture: a corner of a good part in the fixture of another."""
    pixels = photograph(1, part).copy()
    if there:
        pixels[20:56, 20:84] = 220
    return pixels


def test_a_small_part_is_missed_only_with_the_empty_fixture_known() -> None:
    """A part of a hundredth of the picture changes the likeness too little; the picture of the empty fixture helps."""
    with_part = taught([small_part(part, there=True) for part in range(12)])
    known = msgspec.structs.replace(with_part, empty=taught([small_part(part, there=False) for part in range(5)]).part)
    gone, there = (frame(small_part(60, there=there)) for there in (False, True))
    assert Guard(Rules(), with_part, still_s=inf).inspect(gone).reason == ""
    assert Guard(Rules(), known, still_s=inf).inspect(gone).idle
    assert Guard(Rules(), known, still_s=inf).inspect(there).reason == ""


def test_without_a_baseline_only_what_needs_none_is_checked() -> None:
    """A blurred, dark or empty frame passes; a black, a white, one of one colour and what is no picture do not."""
    guard = Guard(Rules(), None, still_s=0)
    for shot in (Shot(), Shot(blur=5), Shot(light=0.5), Shot(empty=True)):
        assert guard.inspect(frame(photograph(0, 0, shot))) == Fitness()
    assert guard.inspect(frame(photograph(0, 0, Shot(light=0)))).reason == "the picture is black"
    assert guard.inspect(frame(photograph(0, 0, Shot(light=400)))).reason == "the picture is white"
    for colour in ((0, 135, 0), (128, 128, 128), (0, 0, 200)):  # YUV's zeros, a lost reference, a grabber's own.
        single = np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
        single[7, 9] = 255
        assert guard.inspect(frame(single)).reason == "the picture is of one colour"
    assert "must be uint8" in guard.inspect(frame(np.zeros((4, 4), np.float32))).reason  # type: ignore[arg-type]


def test_recorded_pictures_are_looked_at_too(tmp_path: Path) -> None:
    """A black one among files is no part; what is rendered has nothing that could go wrong."""
    files = (FolderConfig(path=tmp_path), VideoConfig(source="parts.mp4"))
    guards = [guard_for(Config(bundle=tmp_path, camera=camera), tmp_path) for camera in (*files, SyntheticConfig())]
    black = frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert [each and each.inspect(black).reason for each in guards] == ["the picture is black"] * 2 + [None]


def test_a_frozen_camera_is_caught_at_the_third_picture() -> None:
    """The same picture again and again is refused from the third on until another comes; a recorded one never."""
    one, other = photograph(0, 0), photograph(0, 1)
    guard = Guard(Rules(), None, still_s=0)
    shown = enumerate([other, *[one] * 5, other, one, one, other, one])
    said = [guard.inspect(frame(pixels, number)).reason for number, pixels in shown]
    frozen = "the camera is frozen: it shows the same picture again and again"
    assert said == ["", "", "", frozen, frozen, frozen, "", "", "", "", ""]
    recorded = Guard(Rules(), None, still_s=inf)
    assert {recorded.inspect(frame(one, number)).reason for number in range(2 * FROZEN_AFTER)} == {""}


def test_triggers_that_share_a_frame_show_no_frozen_camera() -> None:
    """However often one exposure is looked at, it is one picture."""
    guard = Guard(Rules(), None, still_s=0)
    noise = np.random.default_rng(4).integers(100, 110, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    shared = Frame(1, "1", 7.0, noise)
    assert {guard.inspect(shared).reason for _ in range(2 * FROZEN_AFTER)} == {""}
    said = [guard.inspect(Frame(number, str(number), float(number), noise)).reason for number in (8, 9)]
    assert said[0] == ""
    assert said[1].startswith("the camera is frozen"), "the third exposure of the same"


def test_a_single_other_pixel_shows_that_a_camera_is_alive() -> None:
    """Pictures whose small copies are the same, but not they themselves, are not frozen."""
    guard = Guard(Rules(), None, still_s=0)
    pixels = np.full((800, 1280, 3), 100, np.uint8)
    pixels[:400] = 50
    for number in range(10):
        other = pixels.copy()
        other[0, number] += 1
        assert guard.inspect(frame(other, number)).reason == ""


def test_a_stream_may_repeat_itself_until_its_next_key_frame() -> None:
    """Equal pictures of a stream are its encoder's doing for ten seconds, and a frozen camera's after that."""
    pixels = photograph(0, 0)
    guard = Guard(Rules(), None, still_s=10)
    said = {second: guard.inspect(Frame(second, "", 100.0 + second, pixels)).reason for second in range(12)}
    assert [second for second in said if said[second]] == [10, 11]
    assert guard.inspect(Frame(13, "", 113.0, photograph(0, 1))).reason == ""


@pytest.mark.parametrize(
    ("camera", "seconds"),
    [
        (PicameraConfig(), 0),
        (VideoConfig(source="rtsp://camera/1"), 10),
        (VideoConfig(source="a.mp4"), inf),
        (CAMERA, inf),
        (SyntheticConfig(), inf),
    ],
)
def test_which_cameras_can_freeze(camera: CameraConfig, seconds: float) -> None:
    """A sensor at once, a stream after a while; a file's pictures may be equal for ever."""
    assert may_be_still_s(camera) == seconds


def opened(folder: Path, camera: CameraConfig = CAMERA, **rules: Any) -> Guard:
    """The guard as the daemon opens it."""
    return open_guard(Config(bundle=folder, camera=camera, guard=Rules(**rules)), folder)


def test_the_daemons_guard_has_the_baseline_of_its_folder(tmp_path: Path, baselines: dict[int, Baseline]) -> None:
    """Before a baseline is taken a blurred frame passes, after it does not."""
    blurred = frame(photograph(0, 100, Shot(blur=4)))
    assert opened(tmp_path).inspect(blurred) == Fitness()
    baseline_file.write(tmp_path / baseline_file.FILE, baselines[0])
    assert opened(tmp_path).inspect(blurred).reason.startswith("out of focus")
    assert opened(tmp_path).inspect(frame(photograph(0, 100))).reason == ""


def test_a_baseline_that_cannot_be_used_lets_no_frame_pass(tmp_path: Path, baselines: dict[int, Baseline]) -> None:
    """Damaged, of another camera, size or scene: each frame says why it is not judged, and nothing raises."""
    path = tmp_path / baseline_file.FILE
    good = frame(photograph(0, 100))
    baseline_file.write(path, baselines[0])
    renamed = opened(tmp_path, FolderConfig(path=tmp_path, name="left"))
    assert renamed.inspect(good).reason.startswith("the baseline is of camera 'camera'")
    half = Frame(1, "1", 0.0, good.pixels[::2])
    assert opened(tmp_path).inspect(half).reason.startswith("the frame has 640x180 pixels, the baseline 640x360; ")
    baseline_file.write(path, msgspec.structs.replace(baselines[0], likeness=baselines[0].dark))
    assert "differ too much to compare" in opened(tmp_path).inspect(good).reason
    assert opened(tmp_path, checks=("light", "focus")).inspect(good).reason == ""
    path.write_bytes(path.read_bytes()[:-9])
    assert opened(tmp_path).inspect(good).reason.startswith(f"{path}: no baseline that can be used")
