"""A data set that was divided: its parts hold the pictures, and nobody else does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from training.data import split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from training.data.dataset import Dataset, Integers, Source
    from training.data.split import Parts


@dataclass(frozen=True, kw_only=True)
class Divided:
    """Pictures at a recipe's canvas in parts, with what is mixed in for training."""

    parts: Parts
    mixed_in: int
    """How many of the training pictures, the last ones, are mixed in."""
    own_test: bool
    """Whether the test part is a set of its own."""
    keys: Mapping[Source, str]
    """Of each picture that was dealt: the same for those of one part by the rule."""
    sha256: str
    """Of the set that was divided, without test pictures of their own."""
    skipped: tuple[str, ...]
    """Why each unreadable picture is missing."""

    @classmethod
    def of(
        cls, dealt: Parts, data: Dataset, test: Dataset | None, extra: Dataset | None, keys: Mapping[Source, str]
    ) -> Divided:
        """Put together what `data` and `test` were dealt into and what is mixed in; `data` is not kept."""
        train = dealt.train if extra is None else dealt.train.joined(extra)
        return cls(
            parts=dealt._replace(train=train),
            mixed_in=0 if extra is None else len(extra.sources),
            own_test=test is not None,
            keys=keys,
            sha256=data.sha256,
            skipped=tuple(reason for each in (data, test, extra) if each for reason in each.skipped),
        )

    @cached_property
    def dealt(self) -> Parts:
        """The parts without what is mixed in."""
        train = self.parts.train
        return self.parts._replace(train=train.part(slice(len(train.sources) - self.mixed_in)))

    @property
    def extra(self) -> Dataset:
        """What is mixed in."""
        train = self.parts.train
        return train.part(slice(len(train.sources) - self.mixed_in, None))

    @property
    def count(self) -> int:
        """How many pictures were divided, without test pictures of their own."""
        return sum(len(part.sources) for part in (self.dealt[:-1] if self.own_test else self.dealt))

    @property
    def sources(self) -> tuple[Source, ...]:
        """All that were dealt, part by part, as are `truth`, `part` and `digests`."""
        return tuple(source for part in self.dealt for source in part.sources)

    @property
    def digests(self) -> list[str]:
        """As `Dataset` has them."""
        return [digest for part in self.dealt for digest in part.digests]

    @property
    def truth(self) -> Integers:
        """The class of each picture, int64 [n]."""
        return np.concatenate([part.truth for part in self.dealt])

    @property
    def part(self) -> Integers:
        """The part of each picture: int64 [n], an index of `dealt`."""
        return np.repeat(np.arange(len(self.dealt)), [len(part.sources) for part in self.dealt])

    def whole(self) -> Dataset:
        """Return all that were dealt in one: a copy."""
        first, *others = self.dealt
        return first.joined(*others)

    def learnable(self, most: int, *, seed: int) -> tuple[Dataset, list[str]]:
        """Return at most so many pictures that models may be chosen by, of each class about as many, and their keys.

        They are of the training and the validation part.
        """
        train, validation = self.dealt.train, self.dealt.validation
        rows = split.sample(np.concatenate([train.truth, validation.truth]), most, seed=seed)
        mine = rows < len(train.sources)
        some = train.take(rows[mine]).joined(validation.take(rows[~mine] - len(train.sources)))
        return some, [self.keys[source] for source in some.sources]
