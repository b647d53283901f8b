"""Which pictures show the same part, and so must not be divided: `--group-by` to a key for each picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge.contract.preprocess import PreprocessSpec
from edge.errors import ConfigError, DataError
from training import scratch

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.data.dataset import Dataset

NONE = "none"
RULES = f"{NONE}, folder, near-duplicate or regex:PATTERN"
CANVAS = (224, 224)
"""(height, width) at which likeness is judged, whatever the model's: its limits were measured there."""
PREPROCESS = PreprocessSpec()
"""How a picture becomes that canvas."""
_REGEX = "regex:"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class GroupRule:
    """How pictures are grouped; `text` reads back as the same rule."""

    kind: Literal["none", "folder", "near-duplicate", "regex"] = "none"
    pattern: str = ""

    @property
    def text(self) -> str:
        """The rule as --group-by takes it."""
        return f"{_REGEX}{self.pattern}" if self.kind == "regex" else self.kind


def read_rule(text: str) -> GroupRule:
    """Read what --group-by says; raises ConfigError for an unknown rule or a bad pattern.

    `none`: only equal pictures belong together. `folder`: the pictures of one folder below the class folders, such
    as crack/part-17/3.png and intact/part-17/1.png. `near-duplicate`: pictures of one exposure or burst.
    `regex:PATTERN`: what the pattern's first group, or without groups the whole pattern, finds in the name
    crack/part-17/3.png.
    """
    if text.startswith(_REGEX):
        pattern = text.removeprefix(_REGEX)
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigError(f"--group-by {text}: not a regular expression ({error}); mend the pattern") from error
        return GroupRule("regex", pattern)
    plain = (GroupRule(), GroupRule("folder"), GroupRule("near-duplicate"))
    if found := next((rule for rule in plain if rule.text == text), None):
        return found
    raise ConfigError(f"--group-by {text}: no such rule; say {RULES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Which pictures belong together: a key for each picture, the same for those of one part."""

    data: tuple[str, ...]
    test: tuple[str, ...] | None
    """None: there are no test pictures of their own."""
    known: tuple[str, ...]
    """Of `data`, then of `test`, to be compared with `extra` alone: likeness may link more through it."""
    extra: tuple[str | None, ...]
    """Of what is mixed in; None: the rule knows of no part, as of rendered pictures in no part's folder."""


def relate(rule: GroupRule, data: Dataset, test: Dataset | None, extra: Dataset | None) -> Keys:
    """Return all keys; those of `data` and `test` do not depend on `extra`. Raises as `group_keys` does.

    For near duplicates all canvases are those of CANVAS and PREPROCESS.
    """
    sets = [data] if test is None else [data, test]
    keys = group_keys(rule, *sets)
    known = [key for some in keys for key in some]
    mixed: tuple[str | None, ...] = ()
    if extra is not None and rule.kind == "near-duplicate":
        *linked, mixed = group_keys(rule, *sets, extra)
        known = [key for some in linked for key in some]
    elif extra is not None:
        mixed = tuple(_find(rule, extra))
    return Keys(data=keys[0], test=None if test is None else keys[1], known=tuple(known), extra=mixed)


def group_keys(rule: GroupRule, *sets: Dataset) -> list[tuple[str, ...]]:
    """Return the key of each picture of each data set; the same key in two sets is the same group.

    Raises DataError for pictures that the rule has no key for, and ConfigError for a pattern that no name matches.
    """
    if rule.kind == "near-duplicate":
        return _near_duplicates(sets)
    if rule.kind == "none":
        return [tuple(f"{number}/{source.name}" for source in data.sources) for number, data in enumerate(sets)]
    found = [_find(rule, data) for data in sets]
    names = [source.name for data in sets for source in data.sources]
    _require_all(rule, names, [text for some in found for text in some])
    return [tuple(text or "" for text in some) for some in found]


def _find(rule: GroupRule, data: Dataset) -> list[str | None]:
    """Return what the names say."""
    if rule.kind == "none":
        return [None] * len(data.sources)
    key = _folder if rule.kind == "folder" else _matcher(rule)
    return [key(source.name) for source in data.sources]


def _folder(name: str) -> str | None:
    """Return the first folder below the class: what lies deeper, such as views of the part, belongs to it too."""
    _, *folders, _ = ("", *PurePosixPath(name).parts[1:]) if "/" in name else ("", "")
    return folders[0] if folders else None


def _matcher(rule: GroupRule) -> Callable[[str], str | None]:
    pattern = re.compile(rule.pattern)

    def find(name: str) -> str | None:
        match = pattern.search(name)
        # A group that took no part and an empty match say nothing about the part.
        return (match[1 if pattern.groups else 0] or None) if match else None

    return find


def _require_all(rule: GroupRule, names: list[str], keys: list[str | None]) -> None:
    lost = [name for name, key in zip(names, keys, strict=True) if key is None]
    if not lost:
        return
    shown = ", ".join(lost[:_SHOWN]) + (f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else "")
    if rule.kind == "folder":
        remedy = "put each part's pictures in a folder of its own, or group by regex:PATTERN"
        raise DataError(
            f"--group-by folder: {len(lost)} pictures lie in no folder below their class: {shown}; {remedy}"
        )
    if len(lost) == len(names):
        raise ConfigError(f"--group-by {rule.text}: matches no picture, such as {lost[0]}; mend the pattern")
    raise DataError(
        f"--group-by {rule.text}: {len(lost)} pictures do not match: {shown}; rename them, or mend the pattern"
    )


def _near_duplicates(sets: tuple[Dataset, ...]) -> list[tuple[str, ...]]:
    from training.data.clusters import linked
    from training.data.duplicates import near_pairs

    pixels = scratch.joined([data.pixels for data in sets])
    keys = [str(number) for number in linked(len(pixels), near_pairs(pixels))]
    ends = np.cumsum([len(data.sources) for data in sets])
    return [tuple(keys[end - len(data.sources) : end]) for data, end in zip(sets, ends, strict=True)]
