from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_parts import draw, make_folder, read_folder

from edge.contract.bundle import Label
from edge.errors import DataError
from training.data.dataset import Dataset, Source
from training.data.split import SHARES, divide, fold

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.split import Parts

LABELS = (Label(name="good", verdict="PASS"), *(Label(name=name, verdict="DEFECT") for name in ("bad", "worse")))


def made(*classes: list[int]) -> Dataset:
    """Return a data set whose pictures are known by their digests alone."""
    rows = [(label, digest) for label, digests in enumerate(classes) for digest in digests]
    return Dataset(
        labels=LABELS[: len(classes)],
        sources=tuple(Source(f"{label}/{i}", label, lambda: draw("spot", 0)) for i, (label, _) in enumerate(rows)),
        pixels=np.zeros((len(rows), 1, 1, 3), np.uint8),
        digests=tuple(f"{label}-{digest}" for label, digest in rows),
    )


def names(part: Dataset) -> set[str]:
    return {source.name for source in part.sources}


def worst_deviation(parts: Parts) -> float:
    """Return how far, at most, a part's share of a class is from what it should be."""
    counts = np.array([list(part.counts().values()) for part in parts])
    wanted = np.array([SHARES[name] for name in parts._fields])
    return float(np.abs(counts / counts.sum(axis=0) - wanted[:, np.newaxis]).max())


many = st.lists(st.integers(0, 30), min_size=4, max_size=60).filter(lambda digests: len(set(digests)) >= 4)


@given(good=many, bad=many, seed=st.integers(0, 1000))
def test_every_picture_lands_in_one_part_and_copies_stay_together(good: list[int], bad: list[int], seed: int) -> None:
    """Whatever the copies: nothing is lost, nothing leaks between parts, every part has every class."""
    data = made(good, bad)
    parts = divide(data, None, seed=seed)
    assert sorted(name for part in parts for name in names(part)) == sorted(names(data))
    digests = [set(part.digests) for part in parts]
    assert len(set().union(*digests)) == sum(map(len, digests))
    assert all(min(part.counts().values()) >= 1 for part in parts)


def test_shares_are_a_fifth_and_two_tenths_of_each_class() -> None:
    """300 and 100 distinct pictures give 60 and 20 to test, 30 and 10 each to validation and calibration."""
    parts = divide(made(list(range(300)), list(range(100))), None, seed=3)
    assert [list(part.counts().values()) for part in parts] == [[180, 60], [30, 10], [30, 10], [60, 20]]


def test_the_seed_alone_decides_the_split() -> None:
    """The same seed gives the same parts, another seed others, and the order of the files none."""
    data = made(list(range(50)), list(range(50)))
    backwards = data.take(np.arange(100)[::-1])
    keys = [source.name[:3] for source in data.sources]
    first, again, other = (names(divide(data, seed=seed, groups=keys).test) for seed in (1, 1, 2))
    assert first == again != other
    assert names(divide(backwards, seed=1, groups=keys[::-1]).test) == first


sizes = st.lists(st.integers(1, 6), min_size=10, max_size=40)


both = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(good=sizes, bad=sizes, mixed=st.lists(both, max_size=10), seed=st.integers(0, 99))
def test_groups_move_as_one_and_shares_stay_near(
    good: list[int], bad: list[int], mixed: list[tuple[int, int]], seed: int
) -> None:
    """Parts photographed one to six times, some before and after their damage: no part is in two places."""
    groups = [(size, 0) for size in good] + [(0, size) for size in bad] + mixed
    rows = [(label, group) for label in (0, 1) for group, size in enumerate(groups) for _ in range(size[label])]
    data = made(*(list(range(sum(size[label] for size in groups))) for label in (0, 1)))
    key = {source.name: str(group) for source, (_, group) in zip(data.sources, rows, strict=True)}
    parts = divide(data, seed=seed, groups=list(key.values()))
    kept = [{key[name] for name in names(part)} for part in parts]
    assert len(set().union(*kept)) == sum(map(len, kept)) == len(groups)
    largest = max(max(size[label] for size in groups) / sum(size[label] for size in groups) for label in (0, 1))
    assert worst_deviation(parts) <= max(largest, 0.02)


def test_equal_pictures_join_groups() -> None:
    """Parts whose folders share one picture are one group, through any number of such links."""
    data = made([0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9], list(range(12)))
    keys = ["a", "a", "b", "b", "c", "c", *"defghi", *"jklmnopqrstu"]
    for seed in range(10):
        parts = divide(data, seed=seed, groups=keys)
        assert sum({"0/0", "0/1", "0/2", "0/3", "0/4", "0/5"} <= names(part) for part in parts) == 1


@given(seed=st.integers(0, 200), size=st.integers(1, 3))
def test_the_smallest_set_still_has_every_class_in_every_part(seed: int, size: int) -> None:
    """Four groups of a class suffice, beside classes of many, though two of them are shared by two classes."""
    keys = [f"g{i // size}" for i in range(4 * size)]
    shared = ["g0", "g1", "h2", "h3"]
    data = made(list(range(4 * size)), [0, 1, 2, 3], list(range(40)))
    parts = divide(data, seed=seed, groups=[*keys, *shared, *map(str, range(40))])
    assert all(min(part.counts().values()) >= 1 for part in parts)


def test_given_test_data_is_used_whole_and_nothing_else_is_held_out(tmp_path: Path) -> None:
    """With --test-data the report's pictures are exactly those, and --data gives a tenth each to the other two."""
    data = read_folder(make_folder(tmp_path / "a", each=10))
    test = read_folder(make_folder(tmp_path / "b", each=4, start=50))
    parts = divide(data, test, seed=1)
    assert parts.test is test
    assert [len(part.sources) for part in parts] == [24, 3, 3, 12]


def test_one_picture_under_two_labels_is_refused(tmp_path: Path) -> None:
    """Equal pixels in two classes are an error that names both files, even in different file formats."""
    make_folder(tmp_path, each=4)
    from PIL import Image

    Image.open(tmp_path / "spot" / "001.png").save(tmp_path / "scratch" / "copy.bmp")
    with pytest.raises(DataError, match=r"scratch/copy\.bmp and spot/001\.png are the same picture under two labels"):
        divide(read_folder(tmp_path), None, seed=1)


def test_test_pictures_that_were_learnt_are_refused(tmp_path: Path) -> None:
    """A picture, or a part, in both folders would flatter the report; it is counted and named."""
    data = read_folder(make_folder(tmp_path / "a", each=4))
    test = read_folder(make_folder(tmp_path / "b", each=4, start=3))
    with pytest.raises(DataError, match=r"3 test pictures are also in --data, the first intact/003\.png"):
        divide(data, test, seed=1)
    other = read_folder(make_folder(tmp_path / "c", each=4, start=90))
    message = r"1 test pictures show parts that are also in --data, the first intact/090\.png as scratch/003\.png"
    with pytest.raises(DataError, match=message):
        divide(data, other, seed=1, groups=[*"abcdefghijkl"], test_groups=[*"hmnopqrstuvw"])


@pytest.mark.parametrize(
    ("with_test", "need"),
    [
        (False, "4, one each for train, validation, calibration and test"),
        (True, "3, one each for train, validation and calibration"),
    ],
)
def test_too_few_pictures_say_how_many_it_takes(with_test: bool, need: str) -> None:  # noqa: FBT001 - a case
    """A class too small to split is named with its count (copies count once), what is needed and the remedy."""
    data = made(list(range(9)), [7, 7, 8] if with_test else [7, 8, 8, 9])
    test = made([100], [101]) if with_test else None
    found = 2 if with_test else 3
    with pytest.raises(DataError, match=rf"class bad has {found} distinct .* at least {need}: photograph more"):
        divide(data, test, seed=1)


def test_groups_that_cannot_be_parted_are_explained() -> None:
    """Two classes of four groups each that cannot both be everywhere end in an error, not in an empty part."""
    data = made([0, 1, 2, 3], [0, 1, 2, 3, 4], list(range(20)))
    with pytest.raises(DataError, match=r"class good has 2 distinct pictures or groups of them; it takes at least 4"):
        divide(data, seed=1, groups=[*"aabb", *"abcde", *map(str, range(20))])


@given(count=st.integers(2, 5), seed=st.integers(0, 50), size=st.integers(1, 3))
def test_folds_test_every_picture_once_and_never_part_a_group(count: int, seed: int, size: int) -> None:
    """The test parts of k folds make up the set, each with its share, and no fold leaks."""
    each = 12 * size
    data = made(list(range(each)), list(range(each)))
    keys = [f"{row // size}" for row in range(2 * each)]
    key = dict(zip((source.name for source in data.sources), keys, strict=True))
    splits = [fold(data, number, count, seed=seed, groups=keys) for number in range(1, count + 1)]
    assert sorted(name for parts in splits for name in names(parts.test)) == sorted(names(data))
    for parts in splits:
        kept = [{key[name] for name in names(part)} for part in parts]
        assert len(set().union(*kept)) == sum(map(len, kept))
        assert all(abs(held / each - 1 / count) <= size / each for held in parts.test.counts().values())


def test_folds_beyond_the_groups_of_a_class_are_refused() -> None:
    """Ten folds of eight pictures would leave two folds without the class."""
    with pytest.raises(DataError, match=r"class bad has 8 .* at least 10, one each for fold 1, "):
        fold(made(list(range(20)), list(range(8))), 1, 10, seed=1)


@given(
    pure=st.tuples(*[st.integers(4, 8)] * 3),
    mixed=st.lists(st.sets(st.integers(0, 2), min_size=2), max_size=6),
    seed=st.integers(0, 99),
)
def test_mixed_groups_never_cost_a_class_its_place(pure: tuple[int, ...], mixed: list[set[int]], seed: int) -> None:
    """Whatever groups of several classes there are beside four pure ones each, every part has every class."""
    rows = sorted(
        [(label, f"{label}-{number}") for label, groups in enumerate(pure) for number in range(groups)]
        + [(label, f"mixed-{number}") for number, labels in enumerate(mixed) for label in labels]
    )
    data = made(*([row for row, (mine, _) in enumerate(rows) if mine == label] for label in range(3)))
    parts = divide(data, seed=seed, groups=[key for _, key in rows])
    assert all(min(part.counts().values()) >= 1 for part in parts)
