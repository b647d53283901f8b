from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tiny_parts
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge.contract.preprocess import preprocess
from edge.errors import ConfigError, DataError
from training.data import dataset, lettering, preview
from training.data import preview_sheet as sheet
from training.data.augment import rng_of, vary
from training.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from edge.contract.preprocess import Pixels

SMALL = "[model]\nheight = 96\nwidth = 128\n"
TILES = SMALL + "[preprocess.tiles]\nrows = 1\ncolumns = 2\n"


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    return tiny_parts.make_folder(tmp_path / "parts", each=3)


def run(data: Path, *arguments: object) -> int:
    """Run the command as its parent would, with small canvases unless a recipe is given."""
    parser = argparse.ArgumentParser()
    preview.add_parser(parser.add_subparsers(required=True))
    small = [] if "--recipe" in arguments else ["--recipe", recipe(data.parent, SMALL)]
    parsed = parser.parse_args(["preview", *map(str, [data, *arguments, *small])])
    return int(parsed.run(parsed))


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, "utf-8")
    return path


def pixels(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def find(where: Pixels, picture: Pixels) -> tuple[int, int] | None:
    """Return (top, left) of the place where a sheet shows exactly this picture."""
    height, width = picture.shape[:2]
    rows, columns = np.nonzero((where[: -height + 1, : -width + 1] == picture[0, 0]).all(axis=2))
    places = zip(rows.tolist(), columns.tolist(), strict=True)
    return next((at for at in places if np.array_equal(where[at[0] :, at[1] :][:height, :width], picture)), None)


def test_a_sheet_shows_pictures_exactly_as_training_sees_them(parts: Path, tmp_path: Path) -> None:
    """Each row has the canvas that the device would see, then the views of the seed, to the pixel, left to right."""
    assert run(parts, "--out", tmp_path / "a.png", "--count", 2, "--seed", 5) == 0
    shown = pixels(tmp_path / "a.png")
    labels = dataset.folder_labels(parts, [])
    spec = Recipe().preprocess
    data = dataset.read(labels, dataset.folder_sources(parts, labels), canvas=(96, 128), spec=spec)
    found = 0
    for canvas, digest in zip(data.pixels, data.digests, strict=True):
        if find(shown, canvas) is None:
            continue  # Not one of the two that the seed chose.
        found += 1
        views = [vary(canvas, Recipe().augmentation, rng_of(5, number, digest)) for number in range(1, 9)]
        places = [find(shown, picture) for picture in (canvas, *views)]
        tops, lefts = zip(*[place or (-1, -1) for place in places], strict=True)
        assert len(set(tops)) == 1
        assert np.diff(lefts).min() == np.diff(lefts).max() > 128
    assert found == 6
    assert np.array_equal(data.pixels[0], preprocess(data.sources[0].load(), spec, height=96, width=128))


def test_the_seed_chooses_pictures_and_views(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same seed draws the same sheet again, another one another; the command says how much is on it."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(parts, "--out", tmp_path / f"{name}.png", "--seed", seed)
    first, again, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == again != other
    assert "6 pictures of 3 classes" in capsys.readouterr().out


def test_several_tiles_are_drawn_as_thin_lines(parts: Path, tmp_path: Path) -> None:
    """The canvas of two tiles shows a line, one pixel wide, at each edge of both, and its own pixels between."""
    run(parts, "--out", tmp_path / "a.png", "--recipe", recipe(tmp_path, TILES), "--count", 1)
    shown = pixels(tmp_path / "a.png")
    rows, columns = np.nonzero((shown == sheet._TILE).all(axis=2))
    first = columns[rows == rows.min() + 5]
    assert [*(first[:4] - first[0])] == [0, 96, 127, 223]


@pytest.mark.parametrize("ending", ["png", "jpg", "JPEG"])
def test_a_sheet_replaces_an_earlier_sheet(parts: Path, tmp_path: Path, ending: str) -> None:
    """A second run over the first one's file writes the new sheet, and leaves nothing else behind."""
    out = tmp_path / "sheets" / f"sheet.{ending}"
    out.parent.mkdir()
    run(parts, "--out", out, "--count", 1)
    first = out.read_bytes()
    run(parts, "--out", out, "--count", 2)
    assert out.read_bytes() != first
    assert list(out.parent.iterdir()) == [out]


def test_nothing_but_a_sheet_is_replaced(parts: Path, tmp_path: Path) -> None:
    """A text, a picture of something else, a folder and a link to nowhere stay, whatever they are called."""
    for name in ("text", "photo", "folder", "link"):
        (tmp_path / name).mkdir()
    (tmp_path / "text/a.png").write_text("edge-train data sheet", "utf-8")
    Image.fromarray(tiny_parts.draw("spot", 1)).save(tmp_path / "photo/a.png")
    (tmp_path / "folder/a.png").mkdir()
    (tmp_path / "link/a.png").symlink_to(tmp_path / "nowhere")
    for name in ("text", "photo", "folder", "link"):
        with pytest.raises(ConfigError, match=r"is no sheet of pictures; choose another name"):
            run(parts, "--out", tmp_path / name / "a.png")
    assert pixels(tmp_path / "photo/a.png").shape == (40, 48, 3)


@pytest.mark.parametrize(
    ("out", "complaint"),
    [
        ("sheet.gif", r"sheet\.gif: a sheet is a picture; let its name end in \.png or \.jpg"),
        ("sheet", r"let its name end in"),
        ("missing/sheet.png", r"missing is no folder; make it or name another"),
        ("recipe.toml/sheet.png", r"recipe\.toml is no folder"),
        ("parts/sheet.png", r"where every picture teaches; choose a place outside"),
        ("parts/spot/000.png", r"where every picture teaches"),
        (f"{'x' * 251}.png", r"File name too long; "),
    ],
)
def test_a_place_that_cannot_be_written_is_one_clear_line(
    parts: Path, tmp_path: Path, out: str, complaint: str
) -> None:
    """The error names --out and the remedy, and no picture of the data set has changed."""
    before = {path: path.read_bytes() for path in parts.rglob("*.png")}
    with pytest.raises(ConfigError, match=complaint) as raised:
        run(parts, "--out", tmp_path / out)
    assert str(raised.value).startswith("--out ")
    assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in parts.rglob("*.png")} == before


def test_a_folder_that_takes_no_files_is_one_clear_line(parts: Path) -> None:
    """Where even root may not write, the system's reason stands in the error."""
    with pytest.raises(ConfigError, match=r"--out /proc/sheet\.png: .+; make room or choose a folder"):
        run(parts, "--out", "/proc/sheet.png", "--count", 1)


def test_amounts_and_recipes_that_make_no_sheet_are_refused(parts: Path, tmp_path: Path) -> None:
    """None of a class, a negative seed and a missing recipe are each one line that names the option or the file."""
    for option, value, complaint in (
        ("--count", 0, "--count 0 is below 1"),
        ("--seed", -1, "--seed -1 is below 0"),
        ("--recipe", tmp_path / "none.toml", r"none\.toml: no such recipe"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            run(parts, "--out", tmp_path / "a.png", option, value)


def test_more_rows_than_viewers_take_are_refused_before_a_picture_is_read(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sheet above the limit ends with its size and the option to lower."""
    monkeypatch.setattr(preview, "_MOST_PIXELS", 500_000)
    with pytest.raises(ConfigError, match=r"--count 3: 9 rows make a sheet of 1280x\d+ pixels; ask for fewer"):
        run(parts, "--out", tmp_path / "a.png", "--count", 3)


def test_unreadable_pictures_are_left_out_and_named(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged file does not keep the others from being seen, and is not passed over in silence."""
    (parts / "spot/001.png").write_bytes(b"no picture")
    run(parts, "--out", tmp_path / "a.png", "--count", 3)
    printed = capsys.readouterr().out
    assert "8 pictures of 3 classes; left out 1 unreadable: " in printed
    assert "001.png" in printed
    with pytest.raises(DataError, match="no such folder"):
        run(tmp_path / "none", "--out", tmp_path / "a.png")


def test_names_of_any_script_and_length_fit_on_the_sheet(tmp_path: Path) -> None:
    """Class folders and files with long names beyond ASCII are drawn, and nothing is written beyond the margin."""
    kinds = {"intact": "Prüfung Ø 3 mm", "spot": "трещина", "scratch": "裂纹" * 20}
    tiny_parts.make_folder(tmp_path / "drawn", each=1)
    for kind, name in kinds.items():
        (tmp_path / "parts" / name).mkdir(parents=True)
        (tmp_path / "drawn" / kind / "000.png").rename(tmp_path / "parts" / name / f"{'Ä' * 110}.png")
    run(tmp_path / "parts", "--out", tmp_path / "a.png", "--recipe", recipe(tmp_path, "[model]\nheight=32\nwidth=32\n"))
    assert (pixels(tmp_path / "a.png")[:, -lettering.MARGIN // 2 :] == lettering.PAPER).all()


@given(height=st.integers(1, 128), width=st.integers(1, 128), rows=st.integers(1, 5))
def test_any_canvas_is_shown_within_a_screens_width(height: int, width: int, rows: int) -> None:
    """Whatever the model's size in steps of 32, the sheet is no wider than meant and no canvas is tiny."""
    across, down = sheet.size(rows, 32 * height, 32 * width, notes=2)
    assert across <= sheet._WIDEST + sheet.columns(32 * width)
    assert down > 0
    assert sheet.scale(32 * height, 32 * width) * max(32 * height, 32 * width) >= 96 or width > height
