"""The watched folder, on real folders: each picture that comes is judged once, complete, in order, and none is lost."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watching import WHOLE, Watch, encoded, put

from edge.camera import arrivals, watched
from edge.camera.base import BadFrame, Frame
from edge.config import parse
from edge.errors import ConfigError

pytestmark = pytest.mark.usefixtures("quick_looks")


def test_what_comes_is_judged_once_in_the_order_of_its_coming(tmp_path: Path) -> None:
    """Pictures that were there are passed over; new ones come by their times, not names, subfolders included."""
    put(tmp_path / "old.png")
    watch = Watch(tmp_path)
    assert watch.camera.keeps_pace
    assert watch.look() == []
    for at, name in enumerate(["c.png", "day 2/b.png", "a.jpg"]):
        put(tmp_path / name, encoded("PNG" if name.endswith("png") else "JPEG", at), at=at + 1)
    put(tmp_path / ".hidden.png")
    put(tmp_path / "notes.txt")
    found = watch.look()
    assert [(frame.number, frame.source) for frame in found] == [(1, "c.png"), (2, "day 2/b.png"), (3, "a.jpg")]
    assert [frame.pixels[0, 0, 0] for frame in found if isinstance(frame, Frame)] == [0, 1, 2]
    assert watch.look(5) == []


def test_a_copy_counts_by_the_time_that_it_is_given_last(tmp_path: Path) -> None:
    """One that was found before its copying program gave it its time is judged in its turn nevertheless."""
    watch = Watch(tmp_path)
    first = put(tmp_path / "first.png")
    put(tmp_path / "second.png", at=2.0)
    assert watch.look(1) == []
    os.utime(first, (1.0, 1.0))
    os.utime(tmp_path / "second.png", (3.0, 3.0))
    assert watch.sources() == ["first.png", "second.png"]


def test_a_picture_counts_as_exposed_when_it_was_first_seen(tmp_path: Path) -> None:
    """Not the file's time, which another machine's clock gave."""
    watch = Watch(tmp_path)
    put(tmp_path / "a.png", at=1.0)
    before = time.monotonic()
    (frame,) = watch.look()
    assert before <= frame.exposed <= time.monotonic()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_no_half_written_picture_is_judged(tmp_path: Path, form: str) -> None:
    """However long its writer pauses, a picture is judged when all of it is there, and only then."""
    watch, whole = Watch(tmp_path), encoded(form, 90)
    with (tmp_path / f"a.{form.lower()}").open("wb", buffering=0) as file:
        for start in range(0, len(whole), len(whole) // 4 + 1):
            assert watch.look(4) == []
            file.write(whole[start : start + len(whole) // 4 + 1])
    (frame,) = watch.look()
    assert isinstance(frame, Frame)


@pytest.mark.parametrize("preview", [b"", encoded("JPEG", 10)])
def test_a_jpeg_whose_room_was_made_in_advance_is_not_complete(tmp_path: Path, preview: bytes) -> None:
    """Zeros in place of the rest, which a decoder shows as grey, are not judged, though a preview in it has its end."""
    watch, whole = Watch(tmp_path), encoded("JPEG", 90)
    application = b"\xff\xe1" + (len(preview) + 8).to_bytes(2, "big") + b"Exif\0\0" + preview
    whole = whole[:2] + application + whole[2:]
    half = len(whole) * 3 // 4
    put(tmp_path / "a.jpg", whole[:half] + bytes(len(whole) - half))
    assert watch.look(5) == []
    put(tmp_path / "a.jpg", whole)
    assert watch.sources() == ["a.jpg"]


@pytest.mark.parametrize("form", ["BMP", "JPEG", "PPM", "TIFF", "WEBP"])
def test_a_picture_whose_room_was_made_in_advance_is_not_complete(tmp_path: Path, form: str) -> None:
    """What was never written reads as zeros, and passes for a part of the picture in formats without a checksum."""
    watch, whole = Watch(tmp_path), encoded(form, 90, size=(640, 480))
    with (tmp_path / f"a.{form.lower()}").open("wb", buffering=0) as file:
        file.truncate(len(whole))
        file.write(whole[: len(whole) // 2])
        assert watch.look(4) == []
        file.write(whole[len(whole) // 2 :])
    assert watch.sources() == [f"a.{form.lower()}"]


def test_what_is_no_file_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, and links that lead in circles, nowhere or through a file are pictures that cannot be read; no more."""
    watch = Watch(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "nowhere.png").symlink_to("gone.png")
    (tmp_path / "through.png").symlink_to(put(tmp_path / "part.png") / "more.png")
    assert watch.sources() == ["part.png"]
    monkeypatch.setattr(watched, "DAMAGED_SECONDS", 0.0)
    assert sorted(frame.source for frame in watch.look()) == ["circle.png", "pipe.jpg", "through.png"]


def test_a_picture_that_is_renamed_into_place(tmp_path: Path) -> None:
    """Its time may be older than anything here; its first name may be a picture's too."""
    watch = Watch(tmp_path)
    part = put(tmp_path / "part.png", WHOLE[:100], at=1.0)
    assert watch.look() == []
    part.write_bytes(WHOLE)
    part.rename(tmp_path / "a.png")
    assert watch.sources() == ["a.png"]


def test_a_picture_that_stays_damaged_is_a_bad_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends as UNKNOWN once nobody changed it for a while; meanwhile it holds up no other."""
    watch = Watch(tmp_path)
    put(tmp_path / "a.png", WHOLE[: len(WHOLE) // 2], at=1.0)
    put(tmp_path / "b.png", at=2.0)
    assert watch.sources() == ["b.png"]
    monkeypatch.setattr(watched, "DAMAGED_SECONDS", 0.0)
    (bad,) = watch.look()
    assert isinstance(bad, BadFrame)
    assert bad.source == "a.png"
    assert "a.png: not a readable picture" in bad.reason
    assert watch.look() == []


def test_a_picture_that_is_taken_away_is_told(tmp_path: Path) -> None:
    """One that was complete, and is gone when its turn comes, is UNKNOWN."""
    watch = Watch(tmp_path)
    put(tmp_path / "a.png", at=1.0)
    gone = put(tmp_path / "b.png", at=2.0)
    assert watch.look(1) == []
    first = next(watch._frames)
    assert isinstance(first, Frame)
    gone.unlink()
    (second,) = watch.look(1)
    assert isinstance(second, BadFrame)
    assert second.reason == "was taken away before it was judged"


def test_a_name_that_was_gone_is_new(tmp_path: Path) -> None:
    """A counter may begin anew with names that were judged; one that is rewritten in place is not judged again."""
    watch = Watch(tmp_path)
    path = put(tmp_path / "img_1.png")
    assert watch.sources() == ["img_1.png"]
    put(path, encoded(grey=9))
    assert watch.look() == []
    path.unlink()
    assert watch.look() == []
    put(path)
    assert watch.sources() == ["img_1.png"]


def test_more_pictures_than_are_remembered_all_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood is judged in its order; only so many names are held at a time."""
    monkeypatch.setattr(arrivals, "MOST_WAITING", 3)
    watch = Watch(tmp_path)
    for number in range(10):
        put(tmp_path / f"{number}.png", at=100 - number)
    assert watch.sources(20) == [f"{number}.png" for number in range(9, -1, -1)]


def test_pictures_that_stay_half_written_bring_none_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where as many wait as are remembered, what was there before is not taken for new."""
    monkeypatch.setattr(arrivals, "MOST_WAITING", 2)
    put(tmp_path / "old.png")
    watch = Watch(tmp_path)
    for number in range(2):
        put(tmp_path / f"{number}.png", WHOLE[: len(WHOLE) // 2])
    assert watch.look(6) == []
    for number in range(2):
        put(tmp_path / f"{number}.png")
    assert sorted(watch.sources(6)) == ["0.png", "1.png"]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put", "begin", "finish", "rename"]), st.integers(0, 4)),
        st.tuples(st.just("look"), st.just(0)),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(operations=OPERATIONS)
def test_whatever_the_writers_do_each_picture_comes_once(operations: list[tuple[str, int]]) -> None:
    """Written at once, in two goes or under another name: what is complete in the end came exactly once, whole."""
    with tempfile.TemporaryDirectory() as folder:
        place, came = Path(folder), []
        watch = Watch(place)
        for operation, number in operations:
            path, hidden = place / f"{number}.png", place / f".{number}.png"
            if operation == "look":
                came += watch.sources(1)
            elif operation == "finish" and path.exists() and path.stat().st_size < len(WHOLE):
                path.write_bytes(WHOLE)
            elif operation in {"put", "begin"} and not path.exists():
                path.write_bytes(WHOLE if operation == "put" else WHOLE[:50])
            elif operation == "rename" and not path.exists():
                hidden.write_bytes(WHOLE)
                hidden.rename(path)
        came += watch.sources(4)
        whole = [path.name for path in place.iterdir() if path.stat().st_size == len(WHOLE)]
        assert sorted(came) == sorted(whole)


def test_many_files_cost_few_bytes_each(tmp_path: Path) -> None:
    """Files that need no judgement take 16 bytes each, and a look at them a hundred for a moment."""
    for number in range(5_000):
        (tmp_path / f"{'picture-' * 10}{number}.png").touch()
    tracemalloc.start()
    try:
        watch = Watch(tmp_path)
        watch.look(2)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 5_000 * 20
    assert most < 5_000 * 100
    shutil.rmtree(tmp_path)


def test_looping_and_watching_exclude_each_other() -> None:
    """Both at once is a configuration error that says why."""
    camera = {"kind": "folder", "path": "x", "watch": True, "loop": True}
    with pytest.raises(ConfigError, match="watch shows new pictures, loop shows old ones again"):
        parse({"bundle": "x", "camera": camera}, Path("device.toml"))
