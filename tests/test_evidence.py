"""Pictures of evidence: small enough, kept in order, and giving way in order."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge.album import FOLDER, Album, Picture
from edge.contract.messages import Verdict
from edge.contract.ulid import new_ulid
from edge.evidence import LARGEST, to_jpeg

if TYPE_CHECKING:
    from pathlib import Path


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
