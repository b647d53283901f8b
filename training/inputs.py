"""What a command learns from: folders of labelled pictures, how they belong together, and how they are divided."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.command import to_path
from edge.contract import bundle as bundles
from edge.errors import BundleError, ConfigError, DataError
from training.data import dataset, groups, saved_split, split
from training.data.groups import GroupRule

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from pathlib import Path

    from edge.contract.bundle import Label
    from training.data.dataset import Dataset, Source
    from training.data.saved_split import Split
    from training.data.split import Parts
    from training.recipe import Recipe


_NO_RULE = GroupRule()
_FOLDS = range(2, 21)


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided:
    """A data set at a recipe's canvas, and its parts."""

    data: Dataset
    test: Dataset | None
    groups: tuple[str, ...]
    """The key of each picture of `data`."""
    dealt: Parts
    """What these pictures were divided into."""
    parts: Parts
    """The same, with what is mixed in for training."""

    @property
    def learnable(self) -> tuple[Dataset, list[str]]:
        """The pictures that models may be chosen by, those of training and validation, and their groups."""
        seen = {*self.dealt.train.digests, *self.dealt.validation.digests}
        rows = [row for row, digest in enumerate(self.data.digests) if digest in seen]
        return self.data.take(np.array(rows)), [self.groups[row] for row in rows]


@dataclass(frozen=True, slots=True)
class Fold:
    """Share `number`, from 1, of `count`, at least 2."""

    number: int
    count: int

    def __str__(self) -> str:
        """As --fold takes it."""
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Listed pictures, not yet read."""

    labels: tuple[Label, ...]
    folder: Path
    sources: Sequence[Source]
    test_folder: Path | None = None
    test_sources: Sequence[Source] | None = None
    extra: Sequence[Source] = ()
    """Pictures for the training part alone, such as rendered ones."""
    rule: GroupRule = _NO_RULE
    kept: Split | None = None
    """A split that earlier pictures keep."""
    fold: Fold | None = None
    """Which share of the pictures judges, instead of a part of the usual size."""
    seed: int = 1
    skip_bad: bool = False

    def shape(self) -> tuple[int, int]:
        """Return the usual (height, width) of the pictures in pixels: the medians of a sample."""
        return dataset.usual_shape(self.sources)

    def divide(self, recipe: Recipe) -> Divided:
        """Read every picture at the recipe's canvas and divide them; raises DataError."""
        data = self._read(self.sources, recipe, f"reading {self.folder}")
        test = None
        if self.test_sources is not None:
            test = self._read(self.test_sources, recipe, f"reading {self.test_folder}")
        keys = groups.group_keys(self.rule, data, *([] if test is None else [test]))
        test_keys = None if test is None else keys[1]
        if self.fold:
            dealt = split.fold(data, self.fold.number, self.fold.count, seed=self.seed, groups=keys[0])
        elif self.kept:
            dealt = saved_split.apply(data, self.kept, test, groups=keys[0], test_groups=test_keys)
        else:
            dealt = split.divide(data, test, seed=self.seed, groups=keys[0], test_groups=test_keys)
        parts = dealt
        if self.extra:
            more = self._read(self.extra, recipe, "reading what is mixed in")
            parts = dealt._replace(train=dataset.joined(dealt.train, _unseen(more, data, test)))
        return Divided(data=data, test=test, groups=keys[0], dealt=dealt, parts=parts)

    def _read(self, sources: Sequence[Source], recipe: Recipe, title: str) -> Dataset:
        return dataset.read(
            self.labels, sources, canvas=recipe.canvas, spec=recipe.preprocess, skip_bad=self.skip_bad, title=title
        )


def _unseen(extra: Dataset, data: Dataset, test: Dataset | None) -> Dataset:
    """Return `extra`; raises DataError for a picture that might be judged later."""
    known = {*data.digests, *(test.digests if test else ())}
    shared = [source.name for source, digest in zip(extra.sources, extra.digests, strict=True) if digest in known]
    if shared:
        raise DataError(
            f"--mix-in: {len(shared)} pictures are in --data or --test-data too, the first {shared[0]}: "
            "remove them from one"
        )
    return extra


def add_options(parser: ArgumentParser) -> None:
    """Add what says which pictures there are and how they are divided."""
    group = parser.add_argument_group("pictures")
    add = group.add_argument
    add("--data", type=to_path, required=True, metavar="DIR", help="labelled pictures, a folder per class")
    add("--test-data", type=to_path, metavar="DIR", help="held-out pictures with the same class folders")
    add(
        "--mix-in",
        type=to_path,
        metavar="DIR",
        help="more pictures for training alone, such as rendered ones",
    )
    add(
        "--pass", dest="passing", nargs="+", action="extend", default=[], metavar="CLASS",
        help="classes that mean an intact part; without it every class is a defect",
    )  # fmt: skip
    add(
        "--group-by", type=str, default=groups.NONE, metavar="RULE",
        help=f"keep pictures of the same part together: {groups.RULES} (default {groups.NONE})",
    )  # fmt: skip
    add(
        "--fold", type=parse_fold, metavar="K/N",
        help="judge by the Kth of N equal shares of each class: N builds judge every picture once",
    )  # fmt: skip
    add("--split-of", type=to_path, metavar="BUNDLE", help="keep an earlier bundle's split; new pictures are dealt")
    add("--seed", type=int, default=1, help="the same seed and pictures give the same split (default 1)")
    add("--skip-bad", action="store_true", help="leave out unreadable pictures and count them in the report")


def read_options(arguments: Namespace) -> Inputs:
    """List all folders before the first picture is read; raises DataError, ConfigError or BundleError."""
    for other in ("test_data", "split_of"):
        if arguments.fold and getattr(arguments, other):
            raise ConfigError(f"--fold and --{other.replace('_', '-')} both say which pictures judge; leave one out")
    labels = dataset.folder_labels(arguments.data, arguments.passing)
    named = {name: getattr(arguments, name) for name in ("data", "test_data", "mix_in")}
    listed: dict[str, Any] = {
        name: dataset.folder_sources(folder, labels) if folder else None for name, folder in named.items()
    }
    return Inputs(
        labels=labels,
        folder=arguments.data,
        sources=listed["data"],
        test_folder=arguments.test_data,
        test_sources=listed["test_data"],
        extra=listed["mix_in"] or (),
        rule=groups.read_rule(arguments.group_by),
        kept=_kept(arguments.split_of) if arguments.split_of else None,
        fold=arguments.fold,
        seed=arguments.seed,
        skip_bad=arguments.skip_bad,
    )


def parse_fold(text: str) -> Fold:
    """Read "2/5"; raises ArgumentTypeError."""
    found = re.fullmatch(r"(\d{1,2})/(\d{1,2})", text, re.ASCII)
    number, count = map(int, found.groups()) if found else (0, 0)
    if count not in _FOLDS or not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f"{text!r} is not a fold such as 1/5, of {_FOLDS[0]} to {_FOLDS[-1]}")
    return Fold(number, count)


def _kept(path: Path) -> Split:
    bundle = bundles.read(path)
    if saved_split.FILE not in bundle.files:
        raise BundleError(f"--split-of {path}: the bundle has no {saved_split.FILE}; leave the option out")
    return saved_split.read_split(bundle.files[saved_split.FILE])
