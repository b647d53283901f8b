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
from training.data.split import divide

if TYPE_CHECKING:
    from pathlib import Path

LABELS = (Label(name="good", verdict="PASS"), Label(name="bad", verdict="DEFECT"))


def made(*classes: list[int]) -> Dataset:
    """Return a data set whose pictures are known by their digests alone."""
    rows = [(label, digest) for label, digests in enumerate(classes) for digest in digests]
    return Dataset(
        labels=LABELS,
        sources=tuple(Source(f"{label}/{i}", label, lambda: draw("spot", 0)) for i, (label, _) in enumerate(rows)),
        pixels=np.zeros((len(rows), 1, 1, 3), np.uint8),
        digests=tuple(f"{label}-{digest}" for label, digest in rows),
    )


many = st.lists(st.integers(0, 30), min_size=3, max_size=60).filter(lambda digests: len(set(digests)) >= 3)


@given(good=many, bad=many, seed=st.integers(0, 1000))
def test_every_picture_lands_in_one_part_and_copies_stay_together(good: list[int], bad: list[int], seed: int) -> None:
    """Whatever the copies: nothing is lost, nothing leaks between parts, every part has every class."""
    data = made(good, bad)
    parts = divide(data, None, seed=seed)
    names = [source.name for part in parts for source in part.sources]
    assert sorted(names) == sorted(source.name for source in data.sources)
    digests = [set(part.digests) for part in parts]
    assert not digests[0] & digests[1] | digests[0] & digests[2] | digests[1] & digests[2]
    assert all(min(part.counts().values()) >= 1 for part in parts)


def test_shares_are_a_fifth_and_a_tenth_of_each_class() -> None:
    """300 and 100 distinct pictures give 60 and 20 to test, 30 and 10 to validation."""
    parts = divide(made(list(range(300)), list(range(100))), None, seed=3)
    assert [list(part.counts().values()) for part in parts] == [[210, 70], [30, 10], [60, 20]]


def test_the_seed_alone_decides_the_split() -> None:
    """The same seed gives the same parts, another seed others."""
    data = made(list(range(50)), list(range(50)))
    first, again, other = ([source.name for source in divide(data, None, seed=seed).test.sources] for seed in (1, 1, 2))
    assert first == again != other


def test_given_test_data_is_used_whole_and_nothing_else_is_held_out(tmp_path: Path) -> None:
    """With --test-data the report's pictures are exactly those, and --data gives only training and validation."""
    data = read_folder(make_folder(tmp_path / "a", each=10))
    test = read_folder(make_folder(tmp_path / "b", each=4, start=50))
    parts = divide(data, test, seed=1)
    assert parts.test is test
    assert len(parts.train.sources) + len(parts.validation.sources) == 30


def test_one_picture_under_two_labels_is_refused(tmp_path: Path) -> None:
    """Equal pixels in two classes are an error that names both files, even in different file formats."""
    make_folder(tmp_path, each=4)
    from PIL import Image

    Image.open(tmp_path / "spot" / "001.png").save(tmp_path / "scratch" / "copy.bmp")
    with pytest.raises(DataError, match=r"scratch/copy\.bmp and spot/001\.png are the same picture under two labels"):
        divide(read_folder(tmp_path), None, seed=1)


def test_test_pictures_that_were_learnt_are_refused(tmp_path: Path) -> None:
    """A picture in both folders would flatter the report; it is counted and named."""
    data = read_folder(make_folder(tmp_path / "a", each=4))
    test = read_folder(make_folder(tmp_path / "b", each=4, start=3))
    with pytest.raises(DataError, match=r"3 test pictures are also in --data, the first intact/003\.png"):
        divide(data, test, seed=1)


@pytest.mark.parametrize(("with_test", "need"), [(False, "3 to train, validate and test"), (True, "2 to train and")])
def test_too_few_pictures_say_how_many_it_takes(with_test: bool, need: str) -> None:  # noqa: FBT001 - a case
    """A class too small to split is named with its count (copies count once) and what is needed."""
    data = made(list(range(9)), [7] * 5 if with_test else [7, 8, 8])
    test = made([100], [101]) if with_test else None
    with pytest.raises(DataError, match=rf"class bad has {1 if with_test else 2} distinct pictures; .* {need}"):
        divide(data, test, seed=1)
