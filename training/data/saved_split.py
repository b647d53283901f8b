"""A split by names: saved with the bundle, so that a model made later is judged on the same pictures."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec
import numpy as np

from edge.errors import BundleError, ConfigError, DataError
from training.data import groups as grouping
from training.data.deal import FREE, deal
from training.data.split import Parts, group_rows, in_order, require_all, require_sound, shares_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from training.data.dataset import Dataset, Integers
    from training.data.groups import GroupRule

FILE = "split.json"
"""Its name in the bundle."""
Names: TypeAlias = tuple[Annotated[str, msgspec.Meta(min_length=1)], ...]


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pictures were in which part, by name, and how that was decided."""

    version: Literal[1] = 1
    seed: Annotated[int, msgspec.Meta(ge=0)]
    group_by: str
    """The rule, as `--group-by` takes it."""
    train: Names
    validation: Names
    calibration: Names
    test: Names | None
    """None: the test pictures came from a folder of their own."""

    def __post_init__(self) -> None:
        """Refuse an unknown rule and a picture that is named twice; raises ValueError."""
        _ = self.rule
        twice = [
            name for name, count in Counter(name for part in self.parts.values() for name in part).items() if count > 1
        ]
        if twice:
            raise ValueError(f"{len(twice)} pictures are named more than once, the first {twice[0]!r}")

    @property
    def rule(self) -> GroupRule:
        """By which pictures were kept together."""
        return grouping.read_rule(self.group_by)

    def rule_with(self, text: str | None) -> GroupRule:
        """Return the rule for new pictures, where `--group-by` said `text`, or None: nothing.

        A split without groups may get a rule later, though its own pictures stay where they are. Raises ConfigError
        for another rule than the split's own: its test part would then hold parts that are learnt from.
        """
        asked = self.rule if text is None else grouping.read_rule(text)
        if self.rule not in (asked, grouping.GroupRule()):
            raise ConfigError(
                f"--group-by {asked.text}: the split of --split-of was made with --group-by {self.rule.text}; "
                "leave --group-by out, or divide anew without --split-of"
            )
        return asked

    @property
    def parts(self) -> dict[str, Names]:
        """The names of each part that was cut from the data."""
        parts = {"train": self.train, "validation": self.validation, "calibration": self.calibration}
        return parts if self.test is None else {**parts, "test": self.test}

    def encode(self) -> bytes:
        """Return the file's content: JSON, a line for each picture."""
        return json.dumps(msgspec.to_builtins(self), indent=1).encode() + b"\n"


def record(parts: Parts, *, seed: int, group_by: str, own_test: bool) -> Split:
    """Write down a split; `own_test` says that its test part is not of the same folder and has no names in it."""
    train, validation, calibration, test = (tuple(sorted(source.name for source in part.sources)) for part in parts)
    return Split(
        seed=seed,
        group_by=group_by,
        train=train,
        validation=validation,
        calibration=calibration,
        test=None if own_test else test,
    )


def read_split(content: bytes) -> Split:
    """Read split.json; raises BundleError for anything but what `Split.encode` writes."""
    try:
        return msgspec.convert(json.loads(content), Split)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"{FILE}: not a saved split ({reason}); build the bundle again without it") from error


def apply(
    data: Dataset,
    split: Split,
    test: Dataset | None = None,
    *,
    groups: Sequence[str] | None = None,
    test_groups: Sequence[str] | None = None,
) -> Parts:
    """Divide `data` as it was divided before; pictures that are new are dealt by group.

    A new picture of a group that the split names goes where the group is: if it is in several parts, to the test
    part before calibration, validation and training. Other new groups are dealt so that the shares come out right.
    Raises DataError as `divide` does, and for pictures that are gone, or test pictures where the split has its own.
    """
    _require_test(split, test)
    require_sound(data, test, groups, test_groups)
    named = {name: part for part, names in enumerate(split.parts.values()) for name in names}
    _refuse_gone(data, named)
    ordered, counts = in_order(data, group_rows(data, groups))
    row_part = np.array([named.get(source.name, FREE) for source in data.sources], np.int64)
    group_part = np.full(len(counts), FREE)
    np.maximum.at(group_part, ordered, row_part)
    parts = list(split.parts)
    dealt = deal(counts, shares_of(parts), rng=np.random.default_rng(split.seed), fixed=group_part)
    row_part = np.where(row_part == FREE, dealt[ordered], row_part)
    require_all(data, counts, _pictures(data, row_part, len(parts)), parts)
    taken = {name: data.take(np.flatnonzero(row_part == part)) for part, name in enumerate(parts)}
    return Parts(**taken) if test is None else Parts(**taken, test=test)


def _pictures(data: Dataset, row_part: Integers, parts: int) -> Integers:
    """Count the pictures of each class in each part, int64 [parts, classes]."""
    have = np.zeros((parts, len(data.labels)), np.int64)
    np.add.at(have, (row_part, data.truth), 1)
    return have


def _require_test(split: Split, test: Dataset | None) -> None:
    if test is None and split.test is None:
        raise DataError(f"{FILE} was made with test pictures of their own; name their folder again with --test-data")
    if test is not None and split.test is not None:
        raise DataError(f"{FILE} has its own test part; leave --test-data out")


def _refuse_gone(data: Dataset, named: Iterable[str]) -> None:
    there = {source.name for source in data.sources}
    gone = sorted(name for name in named if name not in there)
    if gone:
        raise DataError(
            f"{len(gone)} pictures of {FILE} are gone from the data, the first {gone[0]}: "
            "put them back, or divide the data anew"
        )
