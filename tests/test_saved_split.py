from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_inputs import SMALL, bundle_of, read
from test_split import made, names
from tiny_parts import make_folder

from edge.errors import BundleError, DataError
from training.data import saved_split
from training.data.dataset import Source
from training.data.saved_split import Split, read_split
from training.data.split import divide

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.dataset import Dataset

DATA = made(list(range(40)), list(range(100, 130)))
SPLIT = saved_split.record(divide(DATA, seed=3), seed=3, group_by="none", own_test=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def without(data: Dataset, *gone: str) -> Dataset:
    """Return the data without these pictures."""
    return data.take(np.flatnonzero([source.name not in gone for source in data.sources]))


def test_a_saved_split_gives_the_same_parts_again() -> None:
    """Written, read and applied to the pictures in another order, every picture is where it was."""
    backwards = DATA.take(np.arange(70)[::-1])
    again = saved_split.apply(backwards, read_split(SPLIT.encode()))
    assert [names(part) for part in again] == [names(part) for part in divide(DATA, seed=3)]


def test_new_pictures_join_their_group_and_the_rest_keeps_the_shares() -> None:
    """A new picture of a part in the test set is tested on; other new ones are dealt, and no old one moves."""
    old = without(DATA, *(f"0/{number}" for number in range(20)), "1/69")
    split = saved_split.record(divide(old, seed=1), seed=1, group_by="folder", own_test=False)
    assert split.test is not None
    assert split.calibration is not None
    sibling = {"1/69": split.test[0], "0/0": split.calibration[0], "0/1": split.train[0]}
    parts = saved_split.apply(DATA, split, groups=[sibling.get(s.name, s.name) for s in DATA.sources])
    assert set(split.test) | {"1/69"} <= names(parts.test)
    assert set(split.calibration) | {"0/0"} <= names(parts.calibration)
    assert set(split.train) | {"0/1"} <= names(parts.train)
    assert [part.counts()["good"] for part in parts] == [24, 4, 4, 8]


def test_a_copy_of_a_test_picture_is_not_trained_on() -> None:
    """Equal pixels under a new name go where their original is, without any group rule."""
    split = saved_split.record(divide(without(DATA, "0/39"), seed=1), seed=1, group_by="none", own_test=False)
    assert split.test is not None
    row = [source.name for source in DATA.sources].index(split.test[0])
    copied = made([*range(39), int(DATA.digests[row].split("-")[1])], list(range(100, 130)))
    assert "0/39" in names(saved_split.apply(copied, split).test)


def test_a_new_picture_between_two_parts_is_kept_from_training() -> None:
    """One that links a group of the test part with a group of the training part goes to the test part."""
    split = saved_split.record(divide(without(DATA, "0/39"), seed=1), seed=1, group_by="none", own_test=False)
    assert split.test is not None
    one = {"0/39", split.test[0], split.train[0]}
    parts = saved_split.apply(DATA, split, groups=["x" if s.name in one else s.name for s in DATA.sources])
    assert "0/39" in names(parts.test)
    assert split.train[0] in names(parts.train)


def relabelled(data: Dataset, name: str, *, to: str, label: int) -> Dataset:
    """Return the data with one picture moved to another class."""
    moved = [Source(to, label, s.load) if s.name == name else s for s in data.sources]
    return dataclasses.replace(data, sources=tuple(moved))


def repainted(data: Dataset, name: str, digest: str) -> Dataset:
    """Return the data with other content under one name."""
    digests = [digest if s.name == name else old for s, old in zip(data.sources, data.digests, strict=True)]
    return dataclasses.replace(data, digests=tuple(digests))


def told(data: Dataset, split: Split) -> str:
    return saved_split.compare(data, split).told(list(split.parts))


@pytest.mark.parametrize("part", ["validation", "calibration", "test"])
def test_held_out_pictures_that_are_gone_are_counted_and_named(part: str) -> None:
    """A retraining does not quietly go on with less of what it chooses, calibrates or is judged by."""
    first, second = SPLIT.parts[part][:2]
    message = f"2 held-out pictures of split.json are gone from the data (2 {part}), the first {first}: put them back"
    with pytest.raises(DataError, match=re.escape(message)):
        saved_split.apply(without(DATA, first, second, SPLIT.train[0]), SPLIT)


@pytest.mark.parametrize("split", [SPLIT, replace(SPLIT, digests={})], ids=["digests", "names alone"])
def test_training_pictures_may_go(split: Split) -> None:
    """What is no longer learnt from changes no figure of others: it is said, with its count, and the rest stays."""
    less = without(DATA, *split.train[:3])
    parts = saved_split.apply(less, split)
    assert names(parts.train) == set(split.train[3:])
    assert names(parts.test) == set(split.test or ())
    assert told(less, split) == "pictures of split.json: 3 gone (3 train)"
    assert told(DATA, split) == ""


@pytest.mark.parametrize("part", [*SPLIT.parts])
def test_a_picture_in_its_right_class_now_stays_in_its_part(part: str) -> None:
    """What `data check` advises to move is known by its content: it keeps its part, and it is said."""
    (name, *_) = SPLIT.parts[part]
    moved = relabelled(DATA, name, to="1/moved", label=1)
    assert "1/moved" in names(saved_split.apply(moved, SPLIT)._asdict()[part])
    assert told(moved, SPLIT) == f"pictures of split.json: 1 moved or renamed, in their old part (1 {part})"


def test_swapped_names_swap_nothing() -> None:
    """Two pictures that took each other's name stay where they were."""
    assert SPLIT.test is not None
    one, other = SPLIT.train[0], next(name for name in SPLIT.test if name[0] == SPLIT.train[0][0])
    swapped = relabelled(DATA, one, to="x", label=int(one[0]))
    swapped = relabelled(swapped, other, to=one, label=int(one[0]))
    swapped = relabelled(swapped, "x", to=other, label=int(one[0]))
    parts = saved_split.apply(swapped, SPLIT)
    assert one in names(parts.test)
    assert other in names(parts.train)


def test_other_content_under_an_old_name_stays_and_is_told() -> None:
    """The same picture saved or photographed anew teaches nobody what others judge; test figures are others then."""
    assert SPLIT.test is not None
    changed = repainted(repainted(DATA, SPLIT.train[0], "new"), SPLIT.test[0], "newer")
    parts = saved_split.apply(changed, SPLIT)
    assert [names(part) for part in parts] == [set(names) for names in SPLIT.parts.values()]
    assert told(changed, SPLIT) == (
        "pictures of split.json: 2 with other content under their old name, in their old part all the same "
        "(1 train, 1 test); figures are of other test pictures than before"
    )
    assert told(repainted(DATA, SPLIT.train[0], "new"), SPLIT).endswith("(1 train)")


def test_a_new_picture_under_the_name_of_one_that_moved_is_new() -> None:
    """Its name says nothing: the old picture is known elsewhere."""
    name = SPLIT.train[0]
    moved = relabelled(DATA, name, to="0/moved", label=0)
    grown = dataclasses.replace(
        moved,
        sources=(*moved.sources, Source(name, int(name[0]), DATA.sources[0].load)),
        digests=(*moved.digests, "new"),
        pixels=np.zeros((71, 1, 1, 3), np.uint8),
    )
    found = saved_split.compare(grown, SPLIT)
    assert found.part[-1] == saved_split.FREE
    assert (found.moved, found.changed, found.gone) == ({name: 0}, {}, {})


@given(st.data())
def test_whatever_happens_to_the_files_every_picture_is_known_or_said(draw: st.DataObject) -> None:
    """Moved, changed, removed and added at random: all known content keeps its part, and every name has one fate."""
    rows = draw.draw(st.lists(st.integers(0, 69), unique=True, max_size=70))
    renamed = draw.draw(st.permutations([DATA.sources[row].name for row in rows]))
    fresh = draw.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    data = DATA.take(np.array(rows, np.int64))
    digests = [f"new {i}" if new else old for i, (new, old) in enumerate(zip(fresh, data.digests, strict=True))]
    sources = [Source(name, s.label, s.load) for name, s in zip(renamed, data.sources, strict=True)]
    data = dataclasses.replace(data, sources=tuple(sources), digests=tuple(digests))
    found = saved_split.compare(data, SPLIT)
    part_of = {digest: SPLIT.part_of[name] for name, digest in SPLIT.digests.items()}
    for part, digest, source in zip(found.part, digests, data.sources, strict=True):
        assert part == part_of.get(digest, SPLIT.part_of[source.name] if source.name in found.changed else -1)
    same = {s.name for s, digest in zip(data.sources, digests, strict=True) if SPLIT.digests[s.name] == digest}
    fates = [*same, *found.moved, *found.changed, *found.gone]
    assert sorted(fates) == sorted(SPLIT.part_of)
    assert {SPLIT.digests[name] for name in [*same, *found.moved]} == set(digests) & part_of.keys()


def test_a_split_without_digests_is_read() -> None:
    """One that an earlier version saved goes by names."""
    content = json.loads(SPLIT.encode())
    del content["digests"]
    old = read_split(json.dumps(content).encode())
    assert old == replace(SPLIT, digests={})
    assert [names(part) for part in saved_split.apply(DATA, old)] == [set(names) for names in SPLIT.parts.values()]


def test_test_pictures_of_their_own_stay_of_their_own() -> None:
    """A split made with --test-data asks for it again, and one without refuses it."""
    test = made([500], [600])
    split = saved_split.record(divide(DATA, test, seed=1), seed=1, group_by="none", own_test=True)
    assert read_split(split.encode()) == split
    parts = saved_split.apply(DATA, split, test)
    assert parts.test is test
    assert set(split.train) == names(parts.train)
    with pytest.raises(DataError, match="name their folder again with --test-data"):
        saved_split.apply(DATA, split)
    with pytest.raises(DataError, match="has its own test part; leave --test-data out"):
        saved_split.apply(DATA, SPLIT, test)


def test_test_pictures_may_have_the_names_of_others() -> None:
    """As in most folders of their own: the split still knows each picture that it cut by its own content."""
    test = made([500, 501, 502], [])
    assert names(test) < names(DATA)
    split = saved_split.record(divide(DATA, test, seed=1), seed=1, group_by="none", own_test=True)
    found = saved_split.compare(DATA, split)
    assert found.told(list(split.parts)) == ""
    assert split.digests == {s.name: digest for s, digest in zip(DATA.sources, DATA.digests, strict=True)}


def test_a_new_class_too_small_for_every_part_is_refused() -> None:
    """A class that came later needs a group for each part, like any other."""
    grown = made(list(range(40)), list(range(100, 130)), [1, 2, 3])
    with pytest.raises(DataError, match=r"class worse has 3 distinct pictures .* at least 4"):
        saved_split.apply(grown, SPLIT)
    assert "worse" in saved_split.apply(made(list(range(40)), list(range(100, 130)), [1, 2, 3, 4]), SPLIT).test.counts()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, r"Expected `int` >= 0"),
        ({"trian": []}, "unknown field `trian`"),
        ({"train": ["a", "a"]}, r"1 pictures are named more than once, the first 'a'"),
        ({"train": ["a"], "test": ["a"]}, r"1 pictures are named more than once"),
        ({"train": [""]}, "length >= 1"),
        ({"train": "abc"}, "Expected `array`"),
        ({"version": 2}, "Invalid enum value 2"),
        ({"digests": {"a": "b"}}, "the digests are not those of the named pictures"),
        ({"digests": {"": "b"}}, "length >= 1"),
        ({"digests": ["a"]}, "Expected `object`"),
        ({"group_by": "parts"}, "--group-by parts: no such rule"),
    ],
)
def test_a_strange_split_is_refused_with_its_reason(change: dict[str, Any], message: str) -> None:
    """Wrong keys, types, values and double names each end in one line."""
    content = json.loads(SPLIT.encode()) | change
    with pytest.raises(BundleError, match=rf"split\.json: not a saved split \(.*{message}"):
        read_split(json.dumps(content).encode())


@given(st.binary() | plain.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_end_in_a_split_or_a_typed_error(content: bytes) -> None:
    """The reader of split.json survives whatever a bundle holds."""
    with pytest.raises(BundleError):
        read_split(content)


@given(key=st.sampled_from(sorted(json.loads(SPLIT.encode()))), value=plain)
def test_any_value_in_a_field_ends_in_a_split_or_a_typed_error(key: str, value: object) -> None:
    """One field of a good file replaced by anything gives a split or a BundleError."""
    try:
        read = read_split(json.dumps(json.loads(SPLIT.encode()) | {key: value}).encode())
    except BundleError:
        return
    assert isinstance(read, Split)


def test_deep_and_odd_json_is_refused() -> None:
    """Nesting without end, endless digits and broken text are typed errors too."""
    for content in (b"[" * 100_000, b"9" * 10_000, b"\xff\xfe\x00", b'{"seed": NaN}'):
        with pytest.raises(BundleError):
            read_split(content)


def test_names_that_are_not_text_survive() -> None:
    """A file name of bytes that are no UTF-8 is written and read back."""
    split = Split(seed=1, group_by="none", train=("a\udc80",), validation=("b",), calibration=("c",), test=None)
    assert read_split(split.encode()) == split


def test_what_became_of_the_pictures_is_said_once(
    demo_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --split-of a picture that was moved to its right class is tested on at every size, and that is one line."""
    data = make_folder(tmp_path / "data", each=10)
    kept = bundle_of(demo_bundle, tmp_path / "b", data, "none")
    split = read("--data", data, "--split-of", kept).kept
    assert split is not None
    name = next(name for name in split.test or () if name.startswith("spot/"))
    (data / name).rename(data / "scratch" / "moved.png")
    capsys.readouterr()
    given = read("--data", data, "--split-of", kept)
    dealt = [given.divide(recipe).dealt for recipe in (SMALL, SMALL)]
    assert all("scratch/moved.png" in names(each.test) for each in dealt)
    told = [line for line in capsys.readouterr().err.splitlines() if "split.json" in line]
    assert told == ["pictures of split.json: 1 moved or renamed, in their old part (1 test)"]
