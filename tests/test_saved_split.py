from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_split import made, names

from edge.errors import BundleError, DataError
from training.data import saved_split
from training.data.saved_split import Split, read_split
from training.data.split import divide

if TYPE_CHECKING:
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


def test_pictures_that_are_gone_are_counted_and_named() -> None:
    """A retraining does not quietly go on with less of its test set."""
    with pytest.raises(DataError, match=r"3 pictures of split\.json are gone from the data, the first 0/11: put"):
        saved_split.apply(without(DATA, "0/7", "1/55", "0/11"), SPLIT)


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
