"""What a command learns from: folders of labelled pictures, how they belong together, and how they are divided."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.command import to_path
from edge.contract import bundle as bundles
from edge.errors import BundleError, ConfigError
from training import scratch
from training.data import clusters, dataset, file_check, files, groups, mix_in, saved_split, split
from training.data.divided import Divided
from training.data.duplicates import near_pairs
from training.data.groups import GroupRule, Keys

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from pathlib import Path

    from edge.contract.bundle import Label
    from edge.contract.preprocess import Pixels
    from training.data.dataset import Dataset, Integers, Source
    from training.data.saved_split import Split
    from training.recipe import Recipe


_NO_RULE = GroupRule()
_FOLDS = range(2, 21)


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
    _alike: dict[object, Keys] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What belongs together by likeness, by the digests of the pictures."""
    _told: set[str] = field(default_factory=lambda: {""}, init=False, repr=False, compare=False)

    def shape(self) -> tuple[int, int]:
        """Return the usual (height, width) of the pictures in pixels: the medians of a sample."""
        return dataset.usual_shape(self.sources)

    def divide(self, recipe: Recipe) -> Divided:
        """Read every picture at the recipe's canvas and divide them, at every canvas alike; raises DataError."""
        data = self._read(self.sources, recipe, f"reading {self.folder}")
        test = extra = None
        if self.test_sources is not None:
            test = self._read(self.test_sources, recipe, f"reading {self.test_folder}")
        if self.extra:
            extra = self._read(self.extra, recipe, "reading what is mixed in")
        keys = self._relate(recipe, data, test, extra)
        if self.fold:
            dealt = split.fold(data, self.fold.number, self.fold.count, seed=self.seed, groups=keys.data)
        elif self.kept:
            dealt = saved_split.apply(data, self.kept, test, groups=keys.data, test_groups=keys.test)
            self._tell(saved_split.compare(data, self.kept).told(list(self.kept.parts)))
        else:
            dealt = split.divide(data, test, seed=self.seed, groups=keys.data, test_groups=keys.test)
        known = [*data.sources, *(test.sources if test else ())]
        if extra is not None:
            mix_in.require_own(extra, data, test)
            mix_in.refuse_held(self.rule, keys, extra, known, dealt)
        of_source = dict(zip(known, [*keys.data, *(keys.test or ())], strict=True))
        return Divided.of(dealt, data, test, extra, of_source)

    def _tell(self, text: str) -> None:
        """Say what should be known on stderr, however often the pictures are divided only once."""
        if text not in self._told:
            print(text, file=sys.stderr)
        self._told.add(text)

    def again(self, data: Dataset, recipe: Recipe) -> Dataset:
        """Return pictures that could be read before at another recipe's canvas; raises DataError if they cannot now."""
        title = "reading a sample"
        return dataset.read(self.labels, data.sources, canvas=recipe.canvas, spec=recipe.preprocess, title=title)

    def siblings(self, divided: Divided, recipe: Recipe) -> Integers:
        """Return the cluster of each picture of `divided.sources`, int64 [n]: of one group, or nearly alike.

        A rule may be wrong, such as one that takes a running number for the part's. Raises DataError for a picture
        that is mixed in though it is nearly a held-out one.
        """
        keys = [divided.keys[source] for source in divided.sources]
        if self.rule.kind == "near-duplicate":  # All were compared when they were divided.
            return clusters.united(divided.digests, keys)
        pairs = near_pairs(self._standard_pixels(divided, recipe))
        mix_in.refuse_alike(pairs, divided)
        known = pairs[pairs[:, 1] < len(keys)]
        return clusters.united(divided.digests, keys, clusters.linked(len(keys), known).tolist())

    def _standard_pixels(self, divided: Divided, recipe: Recipe) -> Pixels:
        """Return all that were dealt and then what is mixed in as likeness is judged: uint8 [n, h, w, 3]."""
        if _is_standard(recipe):
            return scratch.joined([*(each.pixels for each in divided.dealt), divided.extra.pixels])
        return self._standard([*divided.sources, *divided.extra.sources]).pixels

    def _relate(self, recipe: Recipe, data: Dataset, test: Dataset | None, extra: Dataset | None) -> Keys:
        """Say which pictures belong together; how alike they are is measured once, and never at the model's canvas."""
        if self.rule.kind != "near-duplicate":
            return groups.relate(self.rule, data, test, extra)
        content = (data.digests, test and test.digests, extra and extra.digests)
        if content not in self._alike:
            if not _is_standard(recipe):
                data = self._standard(data.sources)
                test, extra = (each and self._standard(each.sources) for each in (test, extra))
            self._alike[content] = groups.relate(self.rule, data, test, extra)
        return self._alike[content]

    def _standard(self, sources: Sequence[Source]) -> Dataset:
        """Read pictures that could be read before, to compare them."""
        title = "reading to find near duplicates"
        return dataset.read(self.labels, sources, canvas=groups.CANVAS, spec=groups.PREPROCESS, title=title)

    def _read(self, sources: Sequence[Source], recipe: Recipe, title: str) -> Dataset:
        data = dataset.read(
            self.labels, sources, canvas=recipe.canvas, spec=recipe.preprocess, skip_bad=self.skip_bad, title=title
        )
        for found in file_check.shallow(files.shallow(data)):
            self._tell(f"{title}: {found.text}; {found.remedy} (the first: {found.items[0]})")
        return data


def _is_standard(recipe: Recipe) -> bool:
    """Say whether likeness can be judged at the recipe's canvas."""
    return (recipe.canvas, recipe.preprocess) == (groups.CANVAS, groups.PREPROCESS)


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
        help="more pictures for training alone, such as rendered ones, of any of the classes",
    )
    add(
        "--pass", dest="passing", nargs="+", action="extend", default=[], metavar="CLASS",
        help="classes that mean an intact part; without it every class is a defect",
    )  # fmt: skip
    add(
        "--group-by", type=str, metavar="RULE",
        help=f"keep pictures of the same part together: {groups.RULES} (default {groups.NONE}, or as --split-of did)",
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
    kept = _kept(arguments.split_of) if arguments.split_of else None
    asked = arguments.group_by
    rule = kept.rule_with(asked) if kept else groups.read_rule(groups.NONE if asked is None else asked)
    labels = dataset.folder_labels(arguments.data, arguments.passing)
    named = {name: getattr(arguments, name) for name in ("data", "test_data", "mix_in")}
    listed: dict[str, Any] = {
        name: dataset.folder_sources(folder, labels, every=name != "mix_in") if folder else None
        for name, folder in named.items()
    }
    return Inputs(
        labels=labels,
        folder=arguments.data,
        sources=listed["data"],
        test_folder=arguments.test_data,
        test_sources=listed["test_data"],
        extra=listed["mix_in"] or (),
        rule=rule,
        kept=kept,
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
