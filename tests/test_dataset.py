from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from tiny_parts import CLASSES, SIZE, draw, make_folder, read_folder

from edge.contract.pictures import load_picture
from edge.contract.preprocess import PreprocessSpec, preprocess
from edge.errors import DataError
from training.data import dataset
from training.data.dataset import Source

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_becomes_labels_pictures_and_truth_in_the_order_of_names(tmp_path: Path) -> None:
    """Classes are the folders in sorted order, only --pass ones mean PASS, and every picture keeps its name."""
    data = read_folder(make_folder(tmp_path, each=3))
    assert [(label.name, label.verdict) for label in data.labels] == [
        ("intact", "PASS"),
        ("scratch", "DEFECT"),
        ("spot", "DEFECT"),
    ]
    assert [source.name for source in data.sources[:2]] == ["intact/000.png", "intact/001.png"]
    assert data.truth.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert data.counts() == dict.fromkeys(CLASSES, 3)


def test_training_sees_the_pixels_that_the_device_would_see(tmp_path: Path) -> None:
    """The cached pixels of a non-square picture are exactly those of load_picture and preprocess."""
    data = read_folder(make_folder(tmp_path, each=2))
    original = load_picture(tmp_path / "scratch" / "001.png")
    assert original.shape == (40, 48, 3)
    assert np.array_equal(data.pixels[3], preprocess(original, PreprocessSpec(), height=SIZE, width=SIZE))


def test_pictures_that_are_not_rgb_are_converted(tmp_path: Path) -> None:
    """Grey, palette and transparent pictures are read as three channels beside the others."""
    make_folder(tmp_path, each=1)
    colour = Image.fromarray(draw("spot", 7))
    for number, mode in enumerate(("L", "P", "RGBA", "1")):
        colour.convert(mode).save(tmp_path / "spot" / f"mode{number}.png")
    assert read_folder(tmp_path).pixels.shape == (7, SIZE, SIZE, 3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: [p.unlink() for p in (f / "spot").iterdir()], r"spot: class spot has no pictures; add some"),
        (lambda f: draw_into(f / "loose.png"), r"loose\.png in no class folder"),
        (lambda f: (f / "spot").rename(f / "sp\not"), r"class folder 'sp\\not' has control characters"),
    ],
)
def test_a_folder_that_would_be_misread_is_refused(tmp_path: Path, spoil: object, message: str) -> None:
    """An empty class and a picture outside every class are each named with the remedy."""
    make_folder(tmp_path, each=2)
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path)


def draw_into(path: Path) -> None:
    Image.fromarray(draw("spot", 1)).save(path)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "no class folders; put the pictures in a folder for each class"),
        (("spot",), "only one class folder, spot; put"),
    ],
)
def test_fewer_than_two_classes_are_refused(tmp_path: Path, classes: tuple[str, ...], message: str) -> None:
    """No class and one class only are each said plainly."""
    make_folder(tmp_path, classes=classes)
    with pytest.raises(DataError, match=message):
        dataset.folder_labels(tmp_path, [])


def test_a_data_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A wrong --data is one line with the path."""
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'nowhere'}: no such folder")):
        dataset.folder_labels(tmp_path / "nowhere", [])


def test_an_unknown_passing_class_names_the_nearest(tmp_path: Path) -> None:
    """A misspelt --pass never silently makes every part a defect."""
    make_folder(tmp_path, each=1)
    with pytest.raises(DataError, match=r"--pass: no class 'intakt' in the data; did you mean intact\?"):
        dataset.folder_labels(tmp_path, ["intakt"])


def test_a_class_list_without_any_defect_is_refused(tmp_path: Path) -> None:
    """With every class passing there would be nothing to detect."""
    make_folder(tmp_path, each=1)
    with pytest.raises(DataError, match="--pass names every class"):
        dataset.folder_labels(tmp_path, CLASSES)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("intact", "scratch"), "no folder for class spot; every class needs one"),
        ((*CLASSES, "spott"), r"no class 'spott' in the data; did you mean spot\?"),
    ],
)
def test_test_data_with_other_classes_is_refused(tmp_path: Path, classes: tuple[str, ...], message: str) -> None:
    """A class that is missing from, or only in, the test folder is named."""
    labels = dataset.folder_labels(make_folder(tmp_path / "data", each=1), [])
    for name in classes:
        (tmp_path / "test" / name).mkdir(parents=True)
        draw_into(tmp_path / "test" / name / "a.png")
    with pytest.raises(DataError, match=message):
        dataset.folder_sources(tmp_path / "test", labels)


def test_unreadable_pictures_are_all_counted_and_named(tmp_path: Path) -> None:
    """The error counts every bad picture and names the first five; --skip-bad leaves them out and remembers why."""
    make_folder(tmp_path, each=3)
    for number in range(7):
        (tmp_path / "spot" / f"bad{number}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"7 unreadable of 16: .*bad0\.png.*bad4\.png.* and 2 more; .*--skip-bad"):
        read_folder(tmp_path)
    data = read_folder(tmp_path, skip_bad=True)
    assert len(data.sources) == len(data.pixels) == len(data.digests) == 9
    assert len(data.skipped) == 7
    assert "bad0.png" in data.skipped[0]


def test_skipping_a_whole_class_is_still_an_error(tmp_path: Path) -> None:
    """--skip-bad must not turn a class of damaged files into a class without pictures."""
    make_folder(tmp_path, each=3)
    for path in (tmp_path / "spot").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="class spot has no readable pictures"):
        read_folder(tmp_path, skip_bad=True)


def test_the_data_hash_follows_names_and_pixels_only(tmp_path: Path) -> None:
    """The same pictures in another place hash the same; one changed pixel or name does not."""
    first = read_folder(make_folder(tmp_path / "a", each=2))
    again = read_folder(make_folder(tmp_path / "b", each=2))
    assert first.sha256 == again.sha256
    (tmp_path / "b" / "spot" / "000.png").rename(tmp_path / "b" / "spot" / "zero.png")
    renamed = read_folder(tmp_path / "b")
    pixels = np.array(Image.open(tmp_path / "a" / "spot" / "000.png"))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(tmp_path / "a" / "spot" / "000.png")
    assert len({first.sha256, renamed.sha256, read_folder(tmp_path / "a").sha256}) == 3


def test_pictures_need_no_files() -> None:
    """A renderer hands its pictures over as sources and gets the same kind of data set."""
    labels = (dataset.Label(name="good", verdict="PASS"), dataset.Label(name="bad", verdict="DEFECT"))
    sources = [Source(f"{i}", i % 2, lambda i=i: draw(CLASSES[i % 2], i)) for i in range(4)]
    data = dataset.read(labels, sources, canvas=(SIZE, SIZE), spec=PreprocessSpec())
    assert data.counts() == {"good": 2, "bad": 2}
    assert np.array_equal(data.sources[1].load(), draw(CLASSES[1], 1))
