"""What `--mix-in` adds to training, and what it may not add."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from test_inputs import SMALL, divide, read
from tiny_parts import draw, make_folder

from edge.errors import DataError
from training.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Each part number was photographed in every class."""
    return make_folder(tmp_path / "data", each=10)


def test_what_is_mixed_in_teaches_and_nothing_else(data: Path, tmp_path: Path) -> None:
    """Pictures of --mix-in, even by the names of others, are all in the training part, and not in the saved split."""
    extra = make_folder(tmp_path / "extra", each=3, start=800)
    for seed, path in enumerate(sorted(extra.rglob("*.png"))):
        path.rename(path.with_name(f"{seed % 3:03}.png"))
    alone, mixed = divide("--data", data), divide("--data", data, "--mix-in", extra)
    assert mixed.dealt.train.digests == alone.parts.train.digests
    assert len(mixed.parts.train.sources) == len(alone.parts.train.sources) + 9
    assert mixed.parts[1:] == mixed.dealt[1:]
    assert [part.digests for part in mixed.parts[1:]] == [part.digests for part in alone.parts[1:]]
    assert mixed.count == 30


def test_pictures_of_one_class_can_be_mixed_in(data: Path, tmp_path: Path) -> None:
    """More of a rare defect is what it is for; a folder without any class is refused."""
    extra = make_folder(tmp_path / "extra", each=3, start=800, classes=("spot",))
    alone, mixed = divide("--data", data), divide("--data", data, "--mix-in", extra)
    counts = (alone.parts.train.counts(), mixed.parts.train.counts())
    assert counts[1] == {**counts[0], "spot": counts[0]["spot"] + 3}
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"nothing: no folder for class intact$"):
        divide("--data", data, "--mix-in", tmp_path / "nothing")


@pytest.mark.parametrize("option", ["--data", "--test-data"])
def test_a_picture_to_judge_by_is_not_mixed_in(data: Path, tmp_path: Path, option: str) -> None:
    """A picture that lies in --mix-in and in what may be judged later is refused, by name, with the remedy."""
    extra, test = make_folder(tmp_path / "extra", each=3, start=800), make_folder(tmp_path / "test", each=3, start=300)
    original = (data if option == "--data" else test) / "spot"
    (extra / "spot" / "same.png").write_bytes(next(iter(sorted(original.iterdir()))).read_bytes())
    message = "--mix-in: 1 pictures are in --data or --test-data too, the first spot/same.png: remove them from one"
    with pytest.raises(DataError, match=message):
        divide("--data", data, "--test-data", test, "--mix-in", extra)


def held_out(data: Path, rule: str) -> tuple[str, str]:
    """Return the name of a test and of a training picture."""
    dealt = divide("--data", data, "--group-by", rule).dealt
    return dealt.test.sources[0].name, dealt.train.sources[0].name


def test_a_part_to_judge_by_is_not_mixed_in(data: Path, tmp_path: Path) -> None:
    """Another picture of a held-out part is refused with its name; one of a part that is learnt from is welcome."""
    rule, extra = r"regex:/(\d+)", make_folder(tmp_path / "extra", each=2, start=800)
    judged, learnt = held_out(data, rule)
    Image.fromarray(draw("spot", 900)).save(extra / "spot" / f"{learnt.split('/')[1][:3]}-more.png")
    arguments = ("--data", data, "--group-by", rule, "--mix-in", extra)
    assert len(divide(*arguments).parts.train.sources) == len(divide(*arguments[:4]).parts.train.sources) + 7
    more = f"spot/{judged.split('/')[1][:3]}-more.png"
    Image.fromarray(draw("spot", 901)).save(extra / more)
    message = rf"--mix-in: 1 pictures belong with held-out ones by --group-by regex:.*, the first {more} with .*: rem"
    with pytest.raises(DataError, match=message) as caught:
        divide(*arguments)
    assert "\n" not in str(caught.value)


def test_a_part_of_the_test_folder_is_not_mixed_in(data: Path, tmp_path: Path) -> None:
    """Test pictures of their own hold out their parts too, and rendered pictures without a part are no trouble."""
    rule, extra = r"regex:/(\d+)", make_folder(tmp_path / "extra", each=2, start=800)
    for path in extra.rglob("800.png"):
        path.rename(path.with_name("rendered.png"))
    arguments = ("--data", data, "--group-by", rule, "--mix-in", extra)
    test = make_folder(tmp_path / "test", each=3, start=300)
    divide(*arguments, "--test-data", test)
    Image.fromarray(draw("spot", 1)).resize((50, 50)).save(extra / "spot" / "301.png")
    with pytest.raises(DataError, match=r"--mix-in: 1 pictures belong .* the first spot/301\.png with .*/301\.png"):
        divide(*arguments, "--test-data", test)


def test_what_looks_like_a_picture_to_judge_by_is_not_mixed_in(data: Path, tmp_path: Path) -> None:
    """By likeness too; and what is mixed in does not move the division of the others."""
    rule, extra = "near-duplicate", make_folder(tmp_path / "extra", each=2, start=800)
    judged, _ = held_out(data, rule)
    arguments = ("--data", data, "--group-by", rule, "--mix-in", extra)
    assert divide(*arguments).dealt.test.digests == divide(*arguments[:4]).dealt.test.digests
    Image.open(data / judged).save(extra / "spot" / "again.jpg", quality=90)
    message = rf"1 pictures belong with held-out ones by --group-by {rule}, the first spot/again\.jpg with {judged}:"
    with pytest.raises(DataError, match=message):
        divide(*arguments)


@pytest.mark.parametrize("own_test", [False, True])
@pytest.mark.parametrize("size", [SMALL, Recipe()])
def test_copies_of_what_judges_teach_by_no_rule(data: Path, tmp_path: Path, size: Recipe, *, own_test: bool) -> None:
    """Pictures saved again as JPEG are other files, by no rule of one part: a build still finds them. Others may."""
    extra, test = make_folder(tmp_path / "extra", each=2, start=800), make_folder(tmp_path / "test", each=3, start=300)
    given = read("--data", data, "--mix-in", extra, *(("--test-data", test) if own_test else ()))
    divided = given.divide(size)
    before = given.siblings(divided, size)
    folder = test if own_test else data
    for part, name in ((divided.dealt.train, "welcome"), (divided.dealt.test, "copy")):
        picture = part.sources[0].name
        Image.open((folder if name == "copy" else data) / picture).save(extra / "spot" / f"{name}.jpg", quality=90)
        given = read("--data", data, "--mix-in", extra, *(("--test-data", test) if own_test else ()))
        divided = given.divide(size)
        if name == "welcome":
            assert np.array_equal(given.siblings(divided, size), before)
    message = f"--mix-in: 1 pictures are near duplicates of held-out ones, the first spot/copy.jpg of {picture}: remove"
    with pytest.raises(DataError, match=f"^{message} them$"):
        given.siblings(divided, size)


def test_what_is_mixed_in_has_one_label(data: Path, tmp_path: Path) -> None:
    """A picture in two of its class folders would teach both."""
    extra = make_folder(tmp_path / "extra", each=2, start=800)
    shutil.copy(extra / "spot" / "800.png", extra / "scratch" / "same.png")
    with pytest.raises(DataError, match=r"same\.png .* under two labels"):
        divide("--data", data, "--mix-in", extra)
