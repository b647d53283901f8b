from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from tiny_parts import make_folder, run

from edge.errors import ConfigError, DataError
from edge.synthetic import render
from training.data.files import describe_all
from training.data.findings import Finding, Item, counted, in_order, text, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from edge.synthetic import Label


def draw_parts(
    folder: Path, *, each: int, start: int = 0, labels: tuple[Label, ...] = ("intact", "chipped_corner")
) -> None:
    """Write so many rendered parts of each class."""
    for number, label in enumerate(labels):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(start, start + each):
            part = render(3, 1000 * number + index, height=96, width=120, label=label, min_area=0.03)
            Image.fromarray(part.pixels).save(folder / label / f"{index:03}.png")


def spoil(folder: Path) -> None:
    """Plant one of each fault that a folder of pictures may have."""
    intact, chipped = folder / "intact", folder / "chipped_corner"

    def opened(number: int, place: Path = intact) -> Image.Image:
        return Image.open(place / f"{number:03}.png")

    opened(0).save(intact / "again.jpg", quality=80)
    Image.fromarray(np.clip(np.asarray(opened(1)) * 1.02, 0, 255).astype(np.uint8)).save(intact / "brighter.png")
    opened(2).resize((60, 48)).save(intact / "smaller.png")
    opened(3).save(intact / "copy.bmp")
    opened(4, chipped).save(intact / "two_labels.png")
    opened(5, chipped).save(intact / "near_two_labels.jpg")
    inside = io.BytesIO()
    opened(6).save(inside, "JPEG")
    (intact / "jpeg.png").write_bytes(inside.getvalue())
    Image.fromarray(np.asarray(opened(7).convert("L")).astype(np.uint16) * 257).save(intact / "deep.png")
    opened(8).convert("L").save(intact / "grey.png")
    exif = Image.Exif()
    exif[0x112] = 6
    opened(9).save(intact / "turned.jpg", exif=exif)
    opened(10).convert("RGBA").save(intact / "clear.png")
    opened(11).convert("P").save(intact / "palette.png")
    (intact / "torn.png").write_bytes((intact / "012.png").read_bytes()[:2000])
    draw_parts(folder, each=3, start=500, labels=("crack",))


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """A set with planted faults, what the command says of it as JSON, and its contact sheet."""
    folder = tmp_path_factory.mktemp("spoilt")
    draw_parts(folder / "parts", each=24)
    spoil(folder / "parts")
    result = run(
        "data", "check", folder / "parts", "--pass", "intact", "--weights", "none", "--json", "--out", folder / "a.png"
    )
    assert result.returncode == 0, result.stderr
    return folder, json.loads(result.stdout), result.stderr


PLANTED = {
    "unreadable": [["torn.png"]],
    "two-labels": [["chipped_corner/004.png", "intact/two_labels.png"]],
    "near-two-labels": [["chipped_corner/005.png", "intact/near_two_labels.jpg"]],
    "copies": [["intact/003.png", "intact/copy.bmp"], ["intact/010.png", "intact/clear.png"]],
    "misnamed": [["intact/jpeg.png"]],
    "deep": [["intact/deep.png"]],
    "grey": [["intact/deep.png"], ["intact/grey.png"]],
    "turned": [["intact/turned.jpg"]],
    "alpha": [["intact/clear.png"]],
    "palette": [["intact/palette.png"]],
    "aspect": [["intact/turned.jpg"]],
}


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_faults_are_found_and_nothing_else(spoilt: tuple[Path, dict[str, Any], str], kind: str) -> None:
    """Each kind of fault names exactly the files that have it."""
    finding = next(finding for finding in spoilt[1]["findings"] if finding["kind"] == kind)
    named = [item["names"] for item in finding["items"]]
    if kind == "unreadable":
        assert [[name.split(": ")[0].rsplit("/", 1)[1] for name in names] for names in named] == PLANTED[kind]
    else:
        assert named == PLANTED[kind]


def test_near_copies_are_paired_with_their_originals(spoilt: tuple[Path, dict[str, Any], str]) -> None:
    """Saved again, brighter, smaller, turned to grey: each is found beside its original."""
    finding = next(finding for finding in spoilt[1]["findings"] if finding["kind"] == "near-copies")
    pairs = {tuple(name.split("/")[1] for name in item["names"]) for item in finding["items"]}
    copies = {("000.png", "again.jpg"), ("001.png", "brighter.png"), ("002.png", "smaller.png")}
    assert copies | {("006.png", "jpeg.png"), ("008.png", "grey.png"), ("007.png", "deep.png")} <= pairs


def test_the_verdict_comes_first_and_errors_before_warnings(spoilt: tuple[Path, dict[str, Any], str]) -> None:
    """Three things must be mended: a torn file, two labels for one picture, and a class of three pictures."""
    _, found, _ = spoilt
    assert found["verdict"].startswith("3 things to mend, ")
    assert [finding["kind"] for finding in found["findings"][:3]] == ["unreadable", "two-labels", "too-few"]
    assert "crack (3)" in found["findings"][2]["text"]
    levels = [finding["level"] for finding in found["findings"]]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    assert {"imbalance", "leak"} <= {finding["kind"] for finding in found["findings"]}


def test_the_contact_sheet_is_a_picture_of_the_findings(spoilt: tuple[Path, dict[str, Any], str]) -> None:
    """It is a PNG with a row for each class at least, and where it lies is said."""
    folder, _, said = spoilt
    with Image.open(folder / "a.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width < 1600
        assert sheet.height > 800
    assert f"contact sheet: {folder / 'a.png'}" in said


def test_text_is_short_and_strict_fails(spoilt: tuple[Path, dict[str, Any], str]) -> None:
    """The text names few pictures of each finding; --strict ends with the code of a data set that cannot be used."""
    result = run("data", "check", spoilt[0] / "parts", "--weights", "none", "--strict")
    assert result.returncode == DataError.exit_code
    assert "3 to mend, the first: 1 unreadable file; copy them again" in result.stderr.splitlines()[-1]
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{spoilt[0] / 'parts'}: 3 things to mend, ")
    assert "compared by plain features" in lines[3]
    assert "To mend" in lines
    assert len(lines) < 70


def test_a_clean_set_has_nothing_to_mend(tmp_path: Path) -> None:
    """Forty drawn parts of each class pass --strict without a warning."""
    result = run("data", "check", make_folder(tmp_path, each=40), "--weights", "none", "--strict", "--json")
    assert result.returncode == 0, result.stderr
    assert [finding for finding in json.loads(result.stdout)["findings"] if finding["level"] != "note"] == []


def test_without_weights_the_check_falls_back_and_says_so(tmp_path: Path) -> None:
    """By default a failed download means plain features, named with the reason; asked for, it is an error."""
    folder = make_folder(tmp_path / "data", each=6)
    offline = {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path / "keras")}
    result = run("data", "check", folder, **offline)
    assert result.returncode == 0, result.stderr
    assert "compared by plain features" in result.stdout
    assert "cannot be downloaded" in result.stdout
    assert run("data", "check", folder, "--weights", "imagenet", **offline).returncode == DataError.exit_code


def test_flipped_labels_reach_the_report(tmp_path: Path) -> None:
    """Drawn parts in the wrong folder are listed with the class that they look like."""
    folder = make_folder(tmp_path, each=40)
    for number in range(2):
        (folder / "spot" / f"{number:03}.png").rename(folder / "scratch" / f"wrong{number}.png")
    found = json.loads(run("data", "check", folder, "--weights", "none", "--json").stdout)["findings"]
    suspected = {
        (name, item["suggested"])
        for finding in found
        if finding["kind"] in ("label-errors", "odd-neighbours")
        for item in finding["items"]
        for name in item["names"]
    }
    assert {("scratch/wrong0.png", "spot"), ("scratch/wrong1.png", "spot")} <= suspected


def test_parts_photographed_often_are_a_leak(tmp_path: Path) -> None:
    """With --group-by folder the share of pictures that have siblings is told, and what to do."""
    folder = make_folder(tmp_path, each=24)
    for path in sorted(folder.glob("*/*.png")):
        place = path.parent / f"part-{path.parent.name}-{int(path.stem) // 3}"
        place.mkdir(exist_ok=True)
        path.rename(place / path.name)
    result = run("data", "check", folder, "--weights", "none", "--group-by", "folder", "--json")
    leak = next(finding for finding in json.loads(result.stdout)["findings"] if finding["kind"] == "leak")
    assert "100% of the pictures have a sibling" in leak["text"]
    assert "--group-by folder" in leak["remedy"]


def test_pictures_that_give_their_class_away_are_told(tmp_path: Path) -> None:
    """A class with pictures of a size and format of its own is a shortcut that a model will take."""
    folder = make_folder(tmp_path, each=20)
    for path in sorted((folder / "spot").iterdir()):
        with Image.open(path) as picture:
            picture.resize((96, 80)).save(path.with_suffix(".bmp"))
        path.unlink()
    found = json.loads(run("data", "check", folder, "--weights", "none", "--json").stdout)["findings"]
    texts = {finding["kind"]: finding["text"] for finding in found}
    assert "all 20 pictures of 96x80 pixels are spot" in texts["telltale-size"]
    assert "all 20 BMP files are spot" in texts["telltale-format"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["/nowhere"], DataError.exit_code, "/nowhere: no such folder"),
        ([".", "--group-by", "part"], ConfigError.exit_code, "no such rule"),
        ([".", "--weights", "gone.h5"], DataError.exit_code, "--weights gone.h5: no such file"),
        ([".", "--alpha", "0.4"], ConfigError.exit_code, "--alpha 0.4 is not one of 0.35, 0.5, 0.75, 1, 1.3, 1.4"),
        (["."], DataError.exit_code, "loose.png in no class folder"),
        ([], 2, "DIR"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    """A wrong folder, rule or option ends with its documented code."""
    (tmp_path / "loose.png").write_bytes(b"")
    places = [str(tmp_path) if argument == "." else argument for argument in arguments]
    result = run("data", "check", *places)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_the_smallest_sets_are_told_what_they_lack(tmp_path: Path) -> None:
    """Two classes of one picture each end in findings, not in a crash."""
    folder = make_folder(tmp_path / "data", each=1, classes=("intact", "spot"))
    result = run("data", "check", folder, "--weights", "none", "--out", tmp_path / "a.png")
    assert result.returncode == 0, result.stderr
    assert "too few distinct parts to divide (4 are needed): intact (1), spot (1)" in result.stdout
    assert "labels could not be checked: it takes two classes of at least 5 distinct parts each" in result.stdout


def test_a_sheet_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A folder that is not there is named with the option."""
    folder = make_folder(tmp_path / "data", each=4)
    result = run("data", "check", folder, "--weights", "none", "--out", tmp_path / "gone" / "a.png")
    assert result.returncode == ConfigError.exit_code
    assert f"--out {tmp_path / 'gone' / 'a.png'}: {tmp_path / 'gone'} is no folder" in result.stderr.splitlines()[-1]


def test_headers_tell_what_files_are(tmp_path: Path) -> None:
    """16-bit colour, turned pictures and endings in capitals are read from the header, upright size included."""
    picture = Image.new("RGB", (30, 20))
    exif = Image.Exif()
    exif[0x112] = 8
    picture.save(tmp_path / "a.JPG", exif=exif)
    picture.save(tmp_path / "b.tif")
    picture.convert("CMYK").save(tmp_path / "c.jpeg")
    one, two, three = describe_all([tmp_path / name for name in ("a.JPG", "b.tif", "c.jpeg")])
    assert (one.format, one.width, one.height, one.turned, one.misnamed) == ("JPEG", 20, 30, True, False)
    assert (two.format, two.turned, two.misnamed, two.grey, two.deep) == ("TIFF", False, False, False, False)
    assert (three.mode, three.alpha, three.grey) == ("CMYK", False, False)


def test_findings_read_well() -> None:
    """Plural, order and length of what is listed."""
    many = Finding(level="warning", kind="x", text="some", items=tuple(Item((f"a/{i}",), "b") for i in range(9)))
    one = Finding(level="error", kind="y", text="one", remedy="mend it", items=(Item(tuple("pqrst")),))
    assert verdict([]) == "nothing to mend, nothing to look at"
    assert verdict([one, many, many]) == "1 thing to mend, 2 things to look at"
    assert counted(1, "file") == "1 file"
    told = text("set", ["facts"], in_order([many, one])).splitlines()
    assert told[:7] == ["set: 1 thing to mend, 1 thing to look at", "facts", "", "To mend", "- one",
                        "    p = q = r and 2 more", "  > mend it"]  # fmt: skip
    assert told[-2:] == ["    a/2 -> b", "    and 6 more"]
