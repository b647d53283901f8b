"""What the guard learns from frames of good parts, and the file that keeps it."""

from __future__ import annotations

import hashlib
import json
import os
import random
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from guard_line import CAMERA, Shot, at_rest, photograph, taught
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.preprocess import MAX_SIDE
from edge.errors import DataError
from edge.guard import baseline_file
from edge.guard.baseline import PLACED, Baseline, Spread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """One of station 1, with its empty fixture."""
    empty = taught([photograph(1, part, Shot(empty=True)) for part in range(3)])
    return msgspec.structs.replace(taught(at_rest(1, range(12))), empty=empty.part)


@pytest.fixture
def file(tmp_path: Path, baseline: Baseline) -> Path:
    """Its file."""
    baseline_file.write(tmp_path / baseline_file.FILE, baseline)
    return tmp_path / baseline_file.FILE


@given(st.floats(-1e3, 1e3), st.floats(0.01, 100), st.integers(0, 1000))
def test_the_spread_is_that_of_most_values(centre: float, deviation: float, seed: int) -> None:
    """A tenth of wild values changes neither median nor deviation by much."""
    values = np.random.default_rng(seed).normal(centre, deviation, 400)
    values[::10] = 1e6
    found = Spread.of(values.tolist())
    assert found.median == pytest.approx(centre, abs=0.5 * deviation)
    assert found.deviation == pytest.approx(deviation, rel=0.45)


def test_five_deviations_are_rarely_left(figure: Callable[[str], None]) -> None:
    """Learned from 50 normally spread values, fewer than one in 10,000 lies beyond a limit."""
    rng = np.random.default_rng(1)
    missed = [
        int((rng.normal(size=10_000) > Spread.of(rng.normal(size=50).tolist()).play(0)).sum()) for _ in range(1000)
    ]
    figure(f"{sum(missed)} false alarms of one limit in {len(missed) * 10_000:,} normally spread values")
    assert sum(missed) < 1e-4 * len(missed) * 10_000


def test_equal_frames_leave_room_for_others() -> None:
    """Learned from one picture over and over, each limit is as wide as what does not harm the judging."""
    found = taught([photograph(1, 0)] * 10)
    assert found.luma.deviation == found.sharpness.deviation == found.likeness.deviation == 0
    low, high = found.luma_limits
    assert (low, high) == (pytest.approx(0.8 * found.luma.median), pytest.approx(1.2 * found.luma.median))
    assert found.least_sharpness == pytest.approx(found.usual_sharpness / 2)
    assert found.least_likeness == 0.5
    assert found.most_dark == pytest.approx(found.dark.median + 0.1)
    assert found.most_bright == pytest.approx(found.bright.median + 0.1)


def test_a_few_frames_of_something_else_teach_nothing(baseline: Baseline) -> None:
    """A hand or a missing part in 3 of 15 frames moves no limit by more than a tenth."""
    strange = [photograph(1, part, Shot(empty=True)) for part in range(3)]
    found = taught(at_rest(1, range(12)) + strange)
    assert found.luma_limits == pytest.approx(baseline.luma_limits, rel=0.1)
    assert found.least_sharpness == pytest.approx(baseline.least_sharpness, rel=0.1)
    assert found.least_likeness == baseline.least_likeness


def test_what_was_written_is_read(file: Path, baseline: Baseline) -> None:
    """The file holds the baseline to the last digit, in less than the largest that is read, even of square frames."""
    assert baseline_file.read(file) == baseline
    assert file.stat().st_size < 64 << 10
    square = msgspec.structs.replace(
        baseline, width=MAX_SIDE, height=MAX_SIDE, part=b"\xff" * 158 * 158, empty=b"\0" * 158 * 158, camera="c" * 64
    )
    baseline_file.write(file, square)
    assert baseline_file.read(file) == square


def test_no_file_is_no_baseline(tmp_path: Path) -> None:
    """Where none was taken there is none, and that is no error."""
    assert baseline_file.read(tmp_path / baseline_file.FILE) is None


def enveloped(content: bytes, **more: Any) -> bytes:
    """A file whose checksum is right, whatever is in it."""
    head = {"version": 1, "sha256": hashlib.sha256(content).hexdigest()} | more
    return json.dumps(head).encode()[:-1] + b',"baseline":' + content + b"}"


def changed(**values: Any) -> Callable[[bytes], bytes]:
    """Return what changes some keys of a baseline, and keeps the checksum right."""
    return lambda data: enveloped(json.dumps(json.loads(data)["baseline"] | values).encode())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: b"", "truncated"),
        (lambda data: data[:-5], "truncated"),
        (lambda data: data.replace(b'"luma":{"median":7', b'"luma":{"median":8'), "its checksum is another"),
        (lambda data: data.replace(b'"version":1', b'"version":2'), "version 2, this program knows 1"),
        (lambda _: b'{"version":1}', "its checksum is another"),
        (lambda _: b"\xff\xfe\0", "malformed"),
        (lambda _: b"[" * 5000, "Expected `object`"),
        (lambda _: b"{}", "missing required field `version`"),
        (lambda _: enveloped(b"3"), "Expected `object`, got `int`"),
        (lambda _: enveloped(b"[" * 60_000 + b"]" * 60_000), "recursion"),
        (lambda data: data + b" " * (128 << 10), "larger than any baseline"),
        (changed(part="AAAA"), "a reference picture of another size"),
        (changed(empty="AAAA"), "a reference picture of another size"),
        (changed(part="*"), "Invalid base64"),
        (changed(width=0), ">= 1"),
        (changed(width=1 << 40), "<= 65536"),
        (changed(rotate=45), "Invalid enum value 45"),
        (changed(camera="a/b"), "matching regex"),
        (changed(luma={"median": 1, "deviation": -1}), ">= 0"),
        (changed(sharpness={"median": 1e4, "deviation": 0}), "<= 300"),
        (changed(more=1), "unknown field `more`"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(file: Path, change: Callable[[bytes], bytes], reason: str) -> None:
    """Cut off, changed, of a newer version, foreign or made to harm: a DataError that names file and remedy."""
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(DataError) as caught:
        baseline_file.read(file)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")
    assert "take a new one with edge-inspect baseline" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    """A pipe or a folder in its place is a DataError at once."""
    path = tmp_path / baseline_file.FILE
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        baseline_file.read(path)


def test_no_damage_passes_for_a_baseline(file: Path, baseline: Baseline, *, soak: bool) -> None:
    """Bits that flip, bytes that go or come anywhere: the file is refused on one line, or says what it said."""
    whole = file.read_bytes()
    dice = random.Random(5)  # noqa: S311 - chance, not secrets
    for _ in range(20_000 if soak else 1500):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 1, 2, 20))):
            place = dice.randrange(len(data)) if dice.random() < 0.5 else dice.randrange(900)
            match dice.randrange(4):
                case 0:
                    data[place] ^= 1 << dice.randrange(8)
                case 1:
                    del data[place : place + dice.choice((1, 7, 4096))]
                    data += b" "
                case 2:
                    data[place:place] = dice.randbytes(dice.choice((1, 3, 50)))
                case _:
                    data[place : place + 8] = bytes(8)
            if len(data) < 900:
                break
        file.write_bytes(data)
        try:
            assert baseline_file.read(file) == baseline
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode), st.booleans())
def test_no_content_ends_in_another_error(tmp_path_factory: pytest.TempPathFactory, data: bytes, signed: bool) -> None:  # noqa: FBT001
    """Any bytes, with or without a right checksum, are a DataError."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(enveloped(data) if signed else data)
    with pytest.raises(DataError):
        baseline_file.read(path)


def test_it_is_for_one_camera(baseline: Baseline) -> None:
    """Another name, another rotation or another size of the frame asks for a new baseline, and says of what it is."""
    assert baseline.misfit(CAMERA, PLACED) == ""
    renamed, turned = msgspec.structs.replace(CAMERA, name="left"), msgspec.structs.replace(CAMERA, rotate=90)
    retake = "take a new one with edge-inspect baseline"
    for camera, other in ((renamed, "'left', rotate = 0"), (turned, "'camera', rotate = 90")):
        said = f"the baseline is of camera 'camera', rotate = 0, not {other}; {retake}"
        assert baseline.misfit(camera, ()) == said
    assert baseline.other_size(360, 640) == ""
    assert baseline.other_size(720, 1280) == f"the frame has 1280x720 pixels, the baseline 640x360; {retake}"


def test_parts_on_a_moving_belt_cannot_be_compared() -> None:
    """Frames that show no common scene teach light and focus, but no place and no part."""
    rng = np.random.default_rng(1)
    found = taught([np.roll(photograph(4, part), rng.integers(0, 640), axis=1) for part in range(12)])
    assert "differ too much to compare others with" in found.misfit(CAMERA, PLACED)
    assert found.misfit(CAMERA, ("light", "focus")) == ""


@pytest.mark.parametrize(("median", "deviation", "alike"), [(0.7, 0.07, True), (0.69, 0, False), (0.9, 0.13, False)])
def test_frames_must_be_alike_typically_and_nearly_always(
    baseline: Baseline, median: float, deviation: float, *, alike: bool
) -> None:
    """Where good parts may be as unlike as an empty fixture is, the baseline compares nothing."""
    found = msgspec.structs.replace(baseline, likeness=Spread(median, deviation))
    assert (found.misfit(CAMERA, PLACED) == "") is alike
