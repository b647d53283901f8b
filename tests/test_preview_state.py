"""What the preview page is told of a frame: its picture, its numbers, its regions; over real HTTP."""

from __future__ import annotations

import json
import math
import threading
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from previewing import TRAY, ask, board_for, served, state, view_of

from edge.camera.base import Frame
from edge.contract.messages import Verdict
from edge.guard.fitness import Fitness
from edge.preview import server
from edge.preview.figures import Focus
from edge.preview.state import Camera, Opinion, Opinions, State, View, compose
from edge.preview.watch import Watcher, watch
from edge.regions import places
from edge.sections.regions import RegionConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.contract.preprocess import ChannelOrder, Pixels, Rotation

PART = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)


def numbers(found: Any) -> Iterator[float]:
    """Yield every number in decoded JSON."""
    if isinstance(found, dict | list):
        for each in found.values() if isinstance(found, dict) else found:
            yield from numbers(each)
    elif isinstance(found, int | float):
        yield found


def view(fitness: Fitness | None) -> View:
    """A frame of which the guard says this."""
    frame = Frame(1, "1", 100.0, PART)
    return View(number=1, frame=frame, fitness=fitness, focus=Focus(1, 2), channels=[], dark=0, bright=0)


def told_of(fitness: Fitness, camera: Camera, opinions: Opinions | None = None) -> State:
    """Put together a state of the tray, 2 s after the frame was exposed."""
    tray = msgspec.convert(TRAY, RegionConfig)
    return compose(102.0, camera, view(fitness), opinions or Opinions(), places([tray]))


def test_places_and_sizes_are_told_as_they_are_shown(tmp_path: Path) -> None:
    """A turned picture has its sides swapped, and each region lies where it shows, beside its configured place."""
    board = board_for(tmp_path, camera={"kind": "synthetic", "rotate": 90}, regions=[TRAY])
    board.show(view_of(PART))
    with served(board) as port:
        found = state(port)
        board.tell(rate=7.5, trouble="")
        later = state(port)
    assert found["camera"] == {"name": "camera", "rotate": 90, "rate": 0.0, "trouble": "the camera is being opened"}
    assert later["camera"] == {"name": "camera", "rotate": 90, "rate": 7.5, "trouble": ""}
    assert [found["picture"][key] for key in ("number", "width", "height")] == [1, 48, 64]
    assert [each["name"] for each in found["spots"]] == ["tray-1-1", "tray-1-2"]
    assert found["spots"][0]["area"] == {"x": 0.5, "y": 0.0, "width": 0.25, "height": 0.25}
    assert found["spots"][0]["shown"] == {"x": 0.75, "y": 0.5, "width": 0.25, "height": 0.25}
    assert found["model"] == {"name": "", "trouble": "the model is being loaded", "age_s": None}


def test_before_the_first_frame_there_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is told so, and asks again."""
    monkeypatch.setattr(server, "WAIT_SECONDS", 0.1)
    with served(board_for(tmp_path)) as port:
        assert state(port)["picture"] is None
        answer = ask(port, "/frame.jpg")
        assert (answer.status, answer.body) == (204, b"")


@given(
    pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))),
    order=st.sampled_from(["RGB", "BGR"]),
)
def test_whatever_the_frame_the_numbers_are_finite(pixels: Pixels, order: ChannelOrder) -> None:
    """A browser reads the JSON, also of a black frame or one of a single pixel."""
    board = board_for(Path())
    board.show(view_of(pixels, order))
    found = list(numbers(json.loads(msgspec.json.encode(board.state()), parse_constant=pytest.fail)))
    assert len(found) >= 70
    assert all(map(math.isfinite, found))
    assert b"null" not in msgspec.json.encode(board.state().picture).replace(b'"look":null', b"")


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 1), (30, 40, 3), (1500, 2000, 3)])
def test_the_picture_is_the_frame_turned(tmp_path: Path, shape: tuple[int, ...], rotate: Rotation) -> None:
    """The JPEG has the size that the state says, or 1280 pixels a side at most, and shows what the model is to see."""
    bright = [10, 120, 230] if shape[2:] == (3,) else 200
    pixels = np.full(shape, 40, np.uint8)
    pixels[: shape[0] // 2, : shape[1] // 2] = bright
    board = board_for(tmp_path, camera={"kind": "synthetic", "rotate": rotate})
    board.show(view_of(pixels, "BGR"))
    with served(board) as port:
        picture, answer = state(port)["picture"], ask(port, "/frame.jpg?after=0")
    assert (answer.status, answer.headers["Content-Type"], answer.headers["X-Frame"]) == (200, "image/jpeg", "1")
    image = Image.open(BytesIO(answer.body))
    scale = min(1.0, 1280 / max(shape))
    assert image.size == (picture["width"] * scale, picture["height"] * scale)
    upright = np.rot90(np.asarray(image.convert("RGB")), rotate // 90).astype(int)
    wanted = np.flip(bright) if shape[2:] == (3,) else bright
    assert np.abs(upright[3, 3] - wanted).max() < 12
    assert np.abs(upright[-3, -3] - 40).max() < 12


@pytest.mark.parametrize("pixels", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)])
def test_what_is_no_picture_is_told(tmp_path: Path, pixels: Any) -> None:
    """A driver that gives something else ends nothing: the reason stands in place of the picture."""
    board = board_for(tmp_path)
    frames = iter([Frame(1, "1", 0.0, pixels), None, None])
    capture = SimpleNamespace(take=lambda _: next(frames), captured=1, trouble="")
    with pytest.raises(StopIteration):
        watch(capture, None, board)  # type: ignore[arg-type]
    assert "a frame must be uint8" in board.state().camera.trouble
    assert board.state().picture is None


def test_a_newer_picture_is_waited_for(tmp_path: Path) -> None:
    """Who has the newest gets the next as soon as it is there, and who has an earlier preview's gets this one's."""
    board, watcher = board_for(tmp_path), Watcher(None)
    board.show(view_of(PART, watcher=watcher))
    later = threading.Timer(0.2, lambda: board.show(view_of(PART, watcher=watcher)))
    with served(board) as port:
        assert ask(port, "/frame.jpg?after=7000").headers["X-Frame"] == "1"
        later.start()
        assert ask(port, "/frame.jpg?after=1").headers["X-Frame"] == "2"
    later.join()


def test_regions_follow_what_the_guard_found() -> None:
    """A shifted fixture moves the regions in the picture, in its own directions; an unfit frame says why."""
    camera = Camera(name="camera", rotate=180, rate=1, trouble="")
    found = [told_of(fitness, camera) for fitness in (Fitness(dx=-0.1, dy=0.05), Fitness("the picture is black"))]
    assert [each.spots[0].shown.x for each in found] == pytest.approx([0.35, 0.25])
    looks = [each.picture.look for each in found if each.picture is not None]
    assert [(look.reason, look.right, look.down) for look in looks if look] == [
        ("", 0.1, -0.05),
        ("the picture is black", 0, 0),
    ]


def test_opinions_are_of_the_present_part_only() -> None:
    """Beside a picture that stands still because the camera failed, no verdict is told."""
    passed = Opinion(verdict=Verdict.PASS, label="intact", score=0.9, reason="")
    opinions = Opinions(model="m", trouble="", at=101.0, by_region={"tray-1-2": passed})
    camera = Camera(name="camera", rotate=0, rate=1, trouble="")
    live = told_of(Fitness(), camera, opinions)
    assert [spot.opinion for spot in live.spots] == [None, passed]
    assert live.model.age_s == 1
    lost = told_of(Fitness(), msgspec.structs.replace(camera, trouble="unplugged"), opinions)
    assert [spot.opinion for spot in lost.spots] == [None, None]
    assert lost.model.age_s is None
