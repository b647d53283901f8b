"""Pictures of evidence: small enough, kept in order, and giving way in order."""

from __future__ import annotations

import cProfile
import pstats
import time
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import event
from PIL import Image

from edge.album import FOLDER, Album, Picture
from edge.camera.base import Frame
from edge.contract.messages import Verdict
from edge.contract.preprocess import WHOLE_FRAME, Region
from edge.contract.ulid import new_ulid
from edge.errors import CameraError
from edge.evidence import LARGEST, Evidence, as_judged, to_jpeg
from edge.judge import Judged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.contract.preprocess import Pixels


@pytest.mark.parametrize(("height", "width"), [(48, 64), (720, 1280), (3000, 4000)])
def test_a_picture_fits_whatever_it_shows(height: int, width: int) -> None:
    """Noise, which compresses worst, still comes out as a picture of the largest size at most, in its own shape."""
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    jpeg = to_jpeg(noise, "RGB")
    assert len(jpeg) <= LARGEST
    shown = Image.open(BytesIO(jpeg))
    assert shown.width / shown.height == pytest.approx(width / height, rel=0.02)


def test_colours_are_the_frames_own() -> None:
    """A camera's BGR frame and its RGB twin make the same picture, and a grey one stays grey."""
    red = np.zeros((32, 48, 3), np.uint8)
    red[..., 0] = 250
    one, other = (Image.open(BytesIO(to_jpeg(p, o))) for p, o in ((red, "RGB"), (red[..., ::-1], "BGR")))
    assert np.array_equal(np.asarray(one), np.asarray(other))
    assert one.getpixel((5, 5))[0] > 200
    assert Image.open(BytesIO(to_jpeg(red[..., 0], "RGB"))).mode == "L"


def test_a_picture_shows_what_was_judged() -> None:
    """Of the frame its region alone, turned as for the model: a picture to learn from."""
    frame = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    shown = as_judged(frame, Region(0.5, 0.0, 0.5, 0.5), 90)
    assert np.array_equal(shown, np.rot90(frame[:2, 3:], -1))
    assert np.array_equal(as_judged(frame, WHOLE_FRAME, 0), frame)


def picture(verdict: Verdict) -> Picture:
    return Picture(new_ulid(), verdict)


def test_what_was_sent_goes_first_then_by_verdict(tmp_path: Path) -> None:
    """Within the budget the newest of the gravest stay: sent ones go first, then PASS, UNKNOWN, DEFECT."""
    album = Album(tmp_path, budget=4_000)
    defect, unknown, passed, sent = (
        picture(v) for v in (Verdict.DEFECT, Verdict.UNKNOWN, Verdict.PASS, Verdict.DEFECT)
    )
    for each in (defect, unknown, passed, sent):
        assert album.add(each, bytes(1_000))
    album.mark_sent(sent)
    remaining = [{defect, unknown, passed, sent}]
    for _ in range(3):
        album.add(picture(Verdict.DEFECT), bytes(1_000))
        remaining.append(remaining[0] & set(album.waiting()))
    assert remaining[1:] == [{defect, unknown, passed}, {defect, unknown}, {defect}]
    assert album.lost == 2
    assert album.used <= 4_000


def test_the_folder_is_taken_up_again(tmp_path: Path) -> None:
    """After a restart what waits waits in order, what was sent is not sent again, and half a file is gone."""
    album = Album(tmp_path, budget=1 << 20)
    pictures = sorted((picture(Verdict.UNKNOWN) for _ in range(5)), key=lambda one: one.event)
    for each in pictures:
        album.add(each, each.event.encode())
    album.mark_sent(pictures[0])
    (tmp_path / FOLDER / "half.jpg.new").write_bytes(b"x")
    again = Album(tmp_path, budget=1 << 20)
    assert again.waiting() == pictures[1:]
    assert again.read(pictures[1]) == pictures[1].event.encode()
    assert not (tmp_path / FOLDER / "half.jpg.new").exists()


def test_a_full_disk_keeps_the_gravest(little: Path) -> None:
    """Where the disk has less room than the budget, older ones give way, and nothing is raised."""
    album = Album(little, budget=1 << 30)
    for _ in range(100):
        album.add(picture(Verdict.DEFECT), bytes(400_000))
    assert 10 <= len(album.waiting()) <= 42
    assert album.lost == 100 - len(album.waiting())


def test_ten_thousand_pictures_hold_up_no_other(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Adding one where each pushes out another costs little beside the write, whatever was sent of the others."""
    count, added, sent = 10_000, 20, 5
    pictures = sorted((picture(Verdict.DEFECT) for _ in range(count)), key=lambda one: one.event)
    Album(tmp_path, 1)
    for each in pictures:
        (tmp_path / FOLDER / each.name).write_bytes(b"jpeg")
    album = Album(tmp_path, budget=4 * count)
    for each in pictures[:sent]:
        album.mark_sent(each)
    fresh = sorted((picture(Verdict.DEFECT) for _ in range(2 * added)), key=lambda one: one.event)
    with cProfile.Profile() as profile:
        assert all(album.add(each, b"jpeg") for each in fresh[:added])
    calls = pstats.Stats(profile).total_calls / added
    began = time.perf_counter()
    assert all(album.add(each, b"jpeg") for each in fresh[added:])
    figure(f"{(time.perf_counter() - began) / added * 1e3:.2f} ms with the write, {calls:.0f} calls")
    assert calls < 500
    assert (album.used, album.lost) == (4 * count, 2 * added - sent)
    assert album.waiting() == [*pictures[2 * added :], *fresh]


def test_a_file_without_bytes_is_no_picture(tmp_path: Path) -> None:
    """What a power cut has left empty is counted as lost, not sent, and gone."""
    album = Album(tmp_path, budget=1 << 20)
    sent, empty, whole = (picture(Verdict.DEFECT) for _ in range(3))
    for each in (sent, empty, whole):
        album.add(each, b"jpeg")
    album.mark_sent(sent)
    for name in (f"sent/{sent.name}", empty.name):
        (tmp_path / FOLDER / name).write_bytes(b"")
    again = Album(tmp_path, budget=1 << 20)
    assert again.waiting() == [whole]
    assert (again.used, again.lost) == (4, 1)
    assert sorted(path.name for path in (tmp_path / FOLDER).rglob("*.jpg")) == [whole.name]


@given(st.text(max_size=60))
def test_strange_files_are_left_alone(name: str) -> None:
    """Whatever else lies in the folder is no picture, and no error."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        Album(place, 1_000)
        try:
            (place / FOLDER / name).write_bytes(b"")
        except (OSError, ValueError):
            return
        assert all(one.verdict in Verdict for one in Album(place, 1_000).waiting())


def test_a_picture_that_somebody_removed_waits_no_more(tmp_path: Path) -> None:
    """It is counted as lost, and takes no room."""
    album = Album(tmp_path, budget=4_000)
    kept, removed = picture(Verdict.DEFECT), picture(Verdict.DEFECT)
    for each in (kept, removed):
        assert album.add(each, bytes(1_000))
    (tmp_path / FOLDER / removed.name).unlink()
    assert album.read(removed) is None
    assert album.read(removed) is None
    assert (album.waiting(), album.lost, album.used) == ([kept], 1, 1_000)


def test_an_end_finishes_the_pictures_that_were_begun() -> None:
    """What was taken before the end is kept; one that cannot be made holds up no other."""
    kept: list[Picture] = []

    def keep(shot: Picture, _jpeg: bytes) -> None:
        if not kept:
            kept.append(shot)
            raise RuntimeError("a disk's whim")
        kept.append(shot)

    evidence = Evidence(keep)
    frame = Frame(number=1, source="1", exposed=0.0, pixels=np.zeros((720, 1280, 3), np.uint8))
    taken = [evidence.take(Judged(event(seq, Verdict.DEFECT), WHOLE_FRAME), frame) for seq in range(3)]
    evidence.stop(20)
    assert len(kept) == sum(taken)
    assert evidence.skipped == 1


def test_the_larger_picture_is_kept_where_there_is_one() -> None:
    """Of the same region; of a frame whose camera cannot give it any more there is none, and that is counted."""
    kept: list[tuple[int, int]] = []
    evidence = Evidence(lambda _, jpeg: kept.append(Image.open(BytesIO(jpeg)).size))
    small, whole = np.zeros((60, 80, 3), np.uint8), np.zeros((600, 800, 3), np.uint8)

    def gone() -> Pixels:
        raise CameraError("camera.index 0: its picture cannot be read; restart the device")

    judged = Judged(event(1, Verdict.DEFECT), Region(0.5, 0.0, 0.5, 1.0))
    frames = [Frame(1, "1", 0.0, small, larger=larger) for larger in (lambda: whole, gone, None)]
    assert [evidence.take(judged, frame) for frame in frames] == [True, False, True]
    evidence.stop(20)
    assert kept == [(400, 600), (40, 60)]
    assert evidence.skipped == 1
