"""The folder camera, on real folders of pictures."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from edge.camera import open_camera
from edge.camera.base import BadFrame, Frame
from edge.errors import CameraError
from edge.sections.cameras import FolderConfig

if TYPE_CHECKING:
    from pathlib import Path


def picture(path: Path, grey: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8, 3), grey, np.uint8)).save(path)
    return path


def grey_of(frame: Frame | BadFrame) -> int:
    assert isinstance(frame, Frame)
    return int(frame.pixels[0, 0, 0])


def test_every_picture_comes_once_in_the_order_of_names(tmp_path: Path) -> None:
    """Subfolders included, each picture is shown once, sorted, with its own pixels, and none is dropped."""
    for grey, name in enumerate(["a.png", "b/a.png", "b/c.BMP", "b.png"]):
        picture(tmp_path / name, grey)
    picture(tmp_path / ".hidden.png")
    (tmp_path / "notes.txt").write_text("no picture")
    camera = open_camera(FolderConfig(path=tmp_path))
    shown = list(camera.frames())
    assert camera.keeps_pace
    assert [(frame.number, frame.source, grey_of(frame)) for frame in shown] == [
        (1, "a.png", 0),
        (2, "b/a.png", 1),
        (3, "b/c.BMP", 2),
        (4, "b.png", 3),
    ]
    assert shown[0].exposed <= shown[-1].exposed <= time.monotonic()


def test_a_damaged_picture_is_a_bad_frame_and_no_stop(tmp_path: Path) -> None:
    """A truncated and a vanished picture become BadFrames with their reason, between the good ones."""
    whole = picture(tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    gone = picture(tmp_path / "c.png")
    picture(tmp_path / "d.png")
    camera = open_camera(FolderConfig(path=tmp_path))
    gone.unlink()
    first, damaged, vanished, last = camera.frames()
    assert isinstance(first, Frame)
    assert isinstance(last, Frame)
    assert isinstance(damaged, BadFrame)
    assert "b.png: not a readable picture" in damaged.reason
    assert isinstance(vanished, BadFrame)
    assert "c.png: no such picture" in vanished.reason


def test_a_name_that_is_not_utf8_can_still_be_sent(tmp_path: Path) -> None:
    """Source and reason of a file whose name is not UTF-8 are text that a message can carry."""
    (tmp_path / os.fsdecode(b"part\xff.png")).write_bytes(b"damaged")
    (frame,) = open_camera(FolderConfig(path=tmp_path)).frames()
    assert isinstance(frame, BadFrame)
    assert frame.source == "part\\udcff.png"
    assert "part" in frame.reason.encode().decode()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing", "No such file or directory"), ("file.png", "Not a directory"), ("empty", "holds no pictures")],
)
def test_a_folder_without_pictures_is_no_camera(tmp_path: Path, name: str, reason: str) -> None:
    """A folder that is missing, a file, or empty is refused when the camera opens, by its path."""
    picture(tmp_path / "file.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CameraError, match=rf"camera\.path .*{name}: {reason}"):
        open_camera(FolderConfig(path=tmp_path / name))


def test_a_rate_paces_the_pictures(tmp_path: Path) -> None:
    """With a rate the camera is live: frames come no faster than it, and newer ones may overtake."""
    for name in "abcde":
        picture(tmp_path / f"{name}.png")
    camera = open_camera(FolderConfig(path=tmp_path, rate=50))
    started = time.monotonic()
    shown = list(camera.frames())
    assert not camera.keeps_pace
    assert [frame.number for frame in shown] == [1, 2, 3, 4, 5]
    assert time.monotonic() - started >= 4 / 50


def test_looping_begins_again_and_keeps_counting(tmp_path: Path) -> None:
    """A looping camera shows the first picture after the last, under new numbers."""
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    frames = open_camera(FolderConfig(path=tmp_path, loop=True)).frames()
    assert [(frame.number, frame.source) for frame, _ in zip(frames, range(3), strict=False)] == [
        (1, "a.png"),
        (2, "b.png"),
        (3, "a.png"),
    ]


@pytest.mark.parametrize("rate", [0.0, 0.01])
def test_closing_from_another_thread_ends_the_frames(tmp_path: Path, rate: float) -> None:
    """close() ends a busy loop and a wait of 100 s alike, promptly, and twice is as good as once."""
    picture(tmp_path / "a.png")
    camera = open_camera(FolderConfig(path=tmp_path, rate=rate, loop=True))
    first = threading.Event()

    def watch() -> None:
        for _ in camera.frames():
            first.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert first.wait(10)
    camera.close()
    camera.close()
    watcher.join(2)
    assert not watcher.is_alive()
