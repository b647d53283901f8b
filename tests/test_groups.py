from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_parts import make_folder, read_folder

from edge.errors import ConfigError, DataError
from edge.synthetic import LABELS, render
from training.data.groups import GroupRule, group_keys, read_rule

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.dataset import Dataset


def by_part(folder: Path) -> Dataset:
    """Return a set whose pictures lie in a folder for each part, two of a part, one of them deeper."""
    make_folder(folder, each=4)
    for path in sorted(folder.glob("*/*.png")):
        place = path.parent / f"part-{int(path.stem) // 2}" / ("side" if int(path.stem) % 2 else "")
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / path.name)
    return read_folder(folder)


def test_the_folder_below_the_class_is_the_part(tmp_path: Path) -> None:
    """crack/part-1/3.png belongs to part-1, as do pictures deeper in it and those of part-1 in another class."""
    data = by_part(tmp_path)
    assert group_keys(read_rule("folder"), data) == [("part-0", "part-0", "part-1", "part-1") * 3]


def test_pictures_in_no_folder_are_counted_and_named(tmp_path: Path) -> None:
    """A picture that lies directly in its class belongs to no known part, which is said and not guessed."""
    by_part(tmp_path)
    for number in range(7):
        shutil.copy(tmp_path / "spot" / "part-0" / "000.png", tmp_path / "spot" / f"loose{number}.png")
    message = r"7 pictures lie in no folder below their class: spot/loose0\.png, .* and 2 more; put each part's"
    with pytest.raises(DataError, match=message):
        group_keys(read_rule("folder"), read_folder(tmp_path))


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        (r"(\d)\.png", ("0", "1", "2", "3") * 3),
        (r"\d\.png", ("0.png", "1.png", "2.png", "3.png") * 3),
        (r"^[a-z]+", ("intact",) * 4 + ("scratch",) * 4 + ("spot",) * 4),
        (r"(?:00)(.)", ("0", "1", "2", "3") * 3),
    ],
)
def test_a_pattern_gives_its_first_group_or_all_that_it_matches(
    tmp_path: Path, pattern: str, keys: tuple[str, ...]
) -> None:
    """The pattern is searched in the name from the class folder on."""
    assert group_keys(read_rule(f"regex:{pattern}"), read_folder(make_folder(tmp_path, each=4))) == [keys]


@pytest.mark.parametrize("pattern", ["spot|intact", "(spot)|intact|scr(a)", "(spot)?"])
def test_pictures_that_a_pattern_does_not_match_are_counted_and_named(tmp_path: Path, pattern: str) -> None:
    """Neither no match, nor a group that took no part, nor an empty match is a part's name."""
    data = read_folder(make_folder(tmp_path, each=4))
    with pytest.raises(DataError, match=r"--group-by regex:.*: \d pictures do not match: .*/000\.png, .*; rename them"):
        group_keys(read_rule(f"regex:{pattern}"), data)


def test_a_pattern_that_matches_nothing_is_a_wrong_setting(tmp_path: Path) -> None:
    """The error shows a name that it should have matched."""
    data = read_folder(make_folder(tmp_path, each=1))
    with pytest.raises(ConfigError, match=r"--group-by regex:part: matches no picture, such as intact/000\.png"):
        group_keys(read_rule("regex:part"), data)


@pytest.mark.parametrize("text", ["", "Folder", "regex", "regex:(", "regex:a{99999999999}", "near"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    """An unknown rule lists the known ones, a bad pattern says why."""
    with pytest.raises(ConfigError, match=r"--group-by .*: (no such rule; say none, folder|not a regular expression)"):
        read_rule(text)


@given(st.text() | st.text().map(lambda text: f"regex:{text}"))
def test_any_text_ends_in_a_rule_that_reads_back_or_a_typed_error(text: str) -> None:
    """Whatever follows --group-by, it is a rule or a ConfigError."""
    try:
        rule = read_rule(text)
    except ConfigError:
        return
    assert read_rule(rule.text) == rule


def test_without_a_rule_no_two_pictures_belong_together(tmp_path: Path) -> None:
    """The same name in two data sets is not the same picture."""
    data, test = (read_folder(make_folder(tmp_path / name, each=2)) for name in "ab")
    mine, theirs = group_keys(GroupRule(), data, test)
    assert len({*mine, *theirs}) == 12


def rendered(folder: Path, seeds: range) -> Path:
    """Write rendered parts into two classes; other seeds are other parts."""
    for seed in seeds:
        (folder / LABELS[seed % 2]).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(render(1, seed, height=96, width=96, label=LABELS[seed % 2]).pixels)
        picture.save(folder / LABELS[seed % 2] / f"{seed:03}.png")
    return folder


def test_near_duplicates_are_found_across_two_sets(tmp_path: Path) -> None:
    """A copy in the test data has the key of its original, and nobody else's."""
    rendered(tmp_path / "a", range(20))
    rendered(tmp_path / "b", range(20, 40))
    with Image.open(tmp_path / "a" / LABELS[1] / "007.png") as picture:
        picture.save(tmp_path / "b" / LABELS[1] / "copy.jpg", quality=85)
    data, test = read_folder(tmp_path / "a"), read_folder(tmp_path / "b")
    mine, theirs = group_keys(read_rule("near-duplicate"), data, test)
    place = [source.name for source in data.sources].index(f"{LABELS[1]}/007.png")
    twin = [source.name for source in test.sources].index(f"{LABELS[1]}/copy.jpg")
    assert set(mine) & set(theirs) == {mine[place]} == {theirs[twin]}
    assert len({*mine, *theirs}) == 40
