"""A watched folder in the daemon: shares that go away, silence, pauses and triggers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from watching import Watch, put

from edge import capture as captures
from edge.camera import arrivals, open_camera, pace, watched
from edge.camera.base import BadFrame, Frame
from edge.capture import Capture
from edge.errors import CameraError
from edge.sections.cameras import FolderConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick_looks")
SECONDS = 10.0


def test_a_share_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    """It is an error meanwhile; what came during it is judged, and nothing twice, though the camera is opened anew."""
    share, away = tmp_path / "share", tmp_path / "away"
    put(share / "old.png")
    watch = Watch(share)
    put(share / "a.png")
    assert watch.sources() == ["a.png"]
    share.rename(away)
    with pytest.raises(CameraError, match=r"camera\.path .*share: No such file or directory"):
        watch.look()
    put(away / "b.png")
    away.rename(share)
    assert Watch(share).sources() == ["b.png"]


def test_an_unmounted_share_is_no_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another file system shows at its place, that is said, and not that nothing comes."""
    watch = Watch(tmp_path)
    monkeypatch.setattr(watch.camera._arrivals, "_disk", -1)  # type: ignore[attr-defined] - mounting needs root
    with pytest.raises(CameraError, match="another disk than at first; mount its share again"):
        watch.look()


def test_a_folder_that_is_not_there_is_no_camera(tmp_path: Path) -> None:
    """One that never was is refused when it opens; an empty one is well."""
    with pytest.raises(CameraError, match="missing: No such file or directory; it is looked for again"):
        open_camera(FolderConfig(path=tmp_path / "missing", watch=True))
    assert Watch(tmp_path).look() == []


@pytest.fixture
def capturing(tmp_path: Path) -> Iterator[Capture]:
    """The daemon's reading of a watched folder."""
    config = FolderConfig(path=tmp_path, watch=True)
    capture = Capture(lambda: open_camera(config), reopens=config.is_live)
    capture.wait_until_open()
    yield capture
    assert capture.stop(SECONDS)


def test_silence_is_no_hang(capturing: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture for long means that no part came; a folder that cannot be listed is what must not last."""
    monkeypatch.setattr(captures, "HANG_SECONDS", 0.3)
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        assert capturing.take(0.05) is None
    put(tmp_path / "a.png")
    assert capturing.take(SECONDS) is not None


def test_a_pause_is_no_hang(capturing: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the device is paused, pictures wait, none is lost, and the camera is not blamed."""
    monkeypatch.setattr(captures, "HANG_SECONDS", 0.3)
    for number in range(3):
        put(tmp_path / f"{number}.png", at=number + 1)
    capturing.leave(1.0)
    taken = [capturing.take(SECONDS) for _ in range(3)]
    assert [frame.source for frame in taken if frame] == ["0.png", "1.png", "2.png"]
    assert capturing.dropped == 0


def test_a_slow_rate_is_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose next turn is further away than a camera may be silent says meanwhile that it goes on."""
    monkeypatch.setattr(captures, "HANG_SECONDS", 0.3)
    monkeypatch.setattr(pace, "BEAT_SECONDS", 0.05)
    capture = Capture(lambda: open_camera(FolderConfig(path=tmp_path, watch=True, rate=1.0)), reopens=True)
    capture.wait_until_open()
    sources = []
    for name in ("a.png", "b.png"):
        put(tmp_path / name)
        while (frame := capture.take(0.01)) is None:
            pass
        sources.append(frame.source)
    assert sources == ["a.png", "b.png"]
    assert capture.stop(SECONDS)


def test_a_slow_look_is_no_hang(capturing: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause behind a look that took long, of a million files perhaps, may be longer than a camera may be silent."""
    monkeypatch.setattr(watched, "LOOK_SECONDS", 0.6)
    monkeypatch.setattr(pace, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(captures, "HANG_SECONDS", 0.2)
    monkeypatch.setattr(captures, "_LOOK_SECONDS", 0.1)
    put(tmp_path / "a.png")
    while (frame := capturing.take(0.05)) is None:
        pass
    assert frame.source == "a.png"


def test_a_folder_that_hangs_is_told(capturing: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share whose server does not answer, and that blocks who lists it, is a camera that hangs."""
    answers, asked = threading.Event(), threading.Event()

    def hang(_: object) -> list[arrivals.Arrival]:
        asked.set()
        answers.wait()
        return []

    monkeypatch.setattr(arrivals.Arrivals, "look", hang)
    assert asked.wait(SECONDS)
    monkeypatch.setattr(captures, "HANG_SECONDS", 0.1)
    with pytest.raises(CameraError, match="has not come back"):  # noqa: PT012 - it looks more than once
        for _ in range(200):
            capturing.take(0.05)
    answers.set()


def test_a_trigger_gets_the_picture_that_comes_after_it(tmp_path: Path) -> None:
    """A picture that came without a trigger is no answer to the next one: else verdicts would be of other parts."""
    config = FolderConfig(path=tmp_path, watch=True)
    capture = Capture(lambda: open_camera(config), reopens=True, on_demand=True)
    capture.wait_until_open()
    put(tmp_path / "before.png")
    camera = capture._camera
    assert isinstance(camera, watched.WatchedFolder)
    while not camera._shown:
        assert capture.take(0.01) is None
    wish = capture.expect(time.monotonic())
    put(tmp_path / "after.png")
    with capture.changed:
        assert capture.changed.wait_for(lambda: wish.frame is not None, SECONDS)
    assert wish.frame is not None
    assert wish.frame.source == "after.png"
    assert capture.stop(SECONDS)


def test_a_picture_that_two_triggers_wait_for_is_of_neither(tmp_path: Path) -> None:
    """Each picture shows one part: judged for both, one of them would pass by the other's picture. The next is well."""
    config = FolderConfig(path=tmp_path, watch=True)
    capture = Capture(lambda: open_camera(config), reopens=True, on_demand=True)
    capture.wait_until_open()
    wishes = [capture.expect(time.monotonic()) for _ in range(2)]
    put(tmp_path / "one.png")
    with capture.changed:
        assert capture.changed.wait_for(lambda: all(each.frame for each in wishes), SECONDS)
    frames = [each.frame for each in wishes]
    assert all(isinstance(frame, BadFrame) and "2 triggers waited" in frame.reason for frame in frames)
    for wish in wishes:
        capture.forget(wish)
    wish = capture.expect(time.monotonic())
    put(tmp_path / "two.png")
    with capture.changed:
        assert capture.changed.wait_for(lambda: wish.frame is not None, SECONDS)
    assert isinstance(wish.frame, Frame)
    assert capture.stop(SECONDS)
