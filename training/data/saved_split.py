"""A split by names and contents: saved with the bundle, so that a model made later is judged on the same pictures."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec
import numpy as np

from edge.errors import BundleError, ConfigError, DataError
from training.data import groups as grouping
from training.data.deal import FREE, deal
from training.data.split import Parts, group_rows, in_order, require_all, require_sound, shares_of

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from training.data.dataset import Dataset, Integers
    from training.data.groups import GroupRule

FILE = "split.json"
"""Its name in the bundle."""
Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Names: TypeAlias = tuple[Text, ...]


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pictures were in which part, by name and content, and how that was decided."""

    version: Literal[1] = 1
    seed: Annotated[int, msgspec.Meta(ge=0)]
    group_by: str
    """The rule, as `--group-by` takes it."""
    train: Names
    validation: Names
    calibration: Names
    test: Names | None
    """None: the test pictures came from a folder of their own."""
    digests: dict[Text, Text] = {}
    """The SHA-256 of each named picture as `Dataset` has it; empty in a split of a version that saved none."""

    def __post_init__(self) -> None:
        """Refuse an unknown rule, a picture that is named twice and digests of others; raises ValueError."""
        _ = self.rule
        twice = [
            name for name, count in Counter(name for part in self.parts.values() for name in part).items() if count > 1
        ]
        if twice:
            raise ValueError(f"{len(twice)} pictures are named more than once, the first {twice[0]!r}")
        if self.digests and self.digests.keys() != self.part_of.keys():
            raise ValueError("the digests are not those of the named pictures")

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

    @property
    def part_of(self) -> dict[str, int]:
        """The part of each named picture, an index of `parts`."""
        return {name: part for part, names in enumerate(self.parts.values()) for name in names}

    def encode(self) -> bytes:
        """Return the file's content: JSON, a line for each picture."""
        return json.dumps(msgspec.to_builtins(self), indent=1).encode() + b"\n"


def record(parts: Parts, *, seed: int, group_by: str, own_test: bool) -> Split:
    """Write down a split; `own_test` says that its test part is not of the same folder and has no names in it."""
    # A folder of their own may give test pictures the names of others.
    cut = parts[:-1] if own_test else parts
    digests = {s.name: digest for part in cut for s, digest in zip(part.sources, part.digests, strict=True)}
    train, validation, calibration, test = (tuple(sorted(source.name for source in part.sources)) for part in parts)
    return Split(
        seed=seed,
        group_by=group_by,
        train=train,
        validation=validation,
        calibration=calibration,
        test=None if own_test else test,
        digests=dict(sorted(digests.items())),
    )


def read_split(content: bytes) -> Split:
    """Read split.json; raises BundleError for anything but what `Split.encode` writes."""
    try:
        return msgspec.convert(json.loads(content), Split)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"{FILE}: not a saved split ({reason}); build the bundle again without it") from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """What became of a split's pictures."""

    part: Integers
    """Of each row of the data, an index of the split's parts; FREE: the picture is new."""
    moved: Mapping[str, int]
    """The old name and the part of each picture that lies elsewhere now."""
    changed: Mapping[str, int]
    """Likewise of each that is gone, while another, unknown one has its name."""
    gone: Mapping[str, int]

    def told(self, parts: Sequence[str]) -> str:
        """Say in one line what is no longer as it was; empty if nothing is."""
        said = []
        for which, what in (
            (self.moved, "moved or renamed, in their old part"),
            (self.changed, "with other content under their old name, in their old part all the same"),
            (self.gone, "gone"),
        ):
            if which:
                where = _counted(Counter(parts[part] for part in sorted(which.values())))
                said.append(f"{len(which)} {what} ({where})")
        if any(parts[part] == "test" for part in self.changed.values()):
            said.append("figures are of other test pictures than before")
        return f"pictures of {FILE}: {'; '.join(said)}" if said else ""


def compare(data: Dataset, split: Split) -> Comparison:
    """Find the pictures of a split again: by content, then by name; without digests by name alone."""
    part_of = split.part_of
    by_content: dict[str, int] = {}
    for name, digest in split.digests.items():
        by_content[digest] = max(by_content.get(digest, FREE), part_of[name])
    now = {source.name: digest for source, digest in zip(data.sources, data.digests, strict=True)}
    kinds: dict[str, dict[str, int]] = {kind: {} for kind in ("same", "moved", "changed", "gone")}
    known = set(data.digests)
    for name, part in part_of.items():
        kinds[_fate(now.get(name), split.digests.get(name), known, by_content)][name] = part
    by_name = kinds["same"] | kinds["changed"]
    rows = [by_content.get(digest, by_name.get(name, FREE)) for name, digest in now.items()]
    return Comparison(part=np.array(rows, np.int64), **{kind: kinds[kind] for kind in ("moved", "changed", "gone")})


def _fate(now: str | None, before: str | None, known: Container[str], saved: Container[str]) -> str:
    """Say what became of a picture: its name's content now and before, None for none; all contents now, and saved."""
    if now is not None and before in (None, now):
        return "same"
    if before is not None and before in known:
        return "moved"
    return "gone" if now is None or now in saved else "changed"


def apply(
    data: Dataset,
    split: Split,
    test: Dataset | None = None,
    *,
    groups: Sequence[str] | None = None,
    test_groups: Sequence[str] | None = None,
) -> Parts:
    """Divide `data` as it was divided before; pictures that are new are dealt by group.

    A picture is known by its content, wherever it was moved, such as to its right class. If that content is gone, the
    one under its name is taken for the same picture, saved or photographed anew, and stays in its part too.
    A new picture of a group that the split names goes where the group is: if it is in several parts, to the test
    part before calibration, validation and training. Other new groups are dealt so that the shares come out right.
    Raises DataError as `divide` does, and for held-out pictures that are gone, or test pictures where the split has
    its own.
    """
    _require_test(split, test)
    require_sound(data, test, groups, test_groups)
    found = compare(data, split)
    _refuse_gone(found.gone, list(split.parts))
    ordered, counts = in_order(data, group_rows(data, groups))
    row_part = found.part
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


def _refuse_gone(gone: Mapping[str, int], parts: Sequence[str]) -> None:
    """Raise DataError if others than training pictures are gone: figures could not be compared."""
    if held := sorted(name for name, part in gone.items() if parts[part] != "train"):
        where = _counted(Counter(parts[gone[name]] for name in held))
        raise DataError(
            f"{len(held)} held-out pictures of {FILE} are gone from the data ({where}), the first {held[0]}: "
            "put them back, or divide the data anew without --split-of"
        )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {part}" for part, count in counts.items())
