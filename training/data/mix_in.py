"""Pictures that only teach: none may be of what chooses, calibrates or judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.errors import DataError
from training.data.split import require_sound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.data.dataset import Dataset, Integers, Source
    from training.data.divided import Divided
    from training.data.groups import GroupRule, Keys
    from training.data.split import Parts


def require_own(extra: Dataset, data: Dataset, test: Dataset | None) -> None:
    """Raise DataError for a picture that might be judged later, and for one under two labels."""
    require_sound(extra)
    known = {*data.digests, *(test.digests if test else ())}
    shared = [source.name for source, digest in zip(extra.sources, extra.digests, strict=True) if digest in known]
    if shared:
        raise DataError(
            f"--mix-in: {len(shared)} pictures are in --data or --test-data too, the first {shared[0]}: "
            "remove them from one"
        )


def refuse_held(rule: GroupRule, keys: Keys, extra: Dataset, known: Sequence[Source], dealt: Parts) -> None:
    """Raise DataError for a picture of a part that others choose, calibrate or judge by, as the rule says.

    `known` are the pictures that `keys.known` is of.
    """
    taught = set(dealt.train.sources)
    held = {key: source.name for key, source in zip(keys.known, known, strict=True) if source not in taught}
    shared = [(each.name, held[key]) for each, key in zip(extra.sources, keys.extra, strict=True) if key in held]
    if shared:
        other = "" if rule.kind == "near-duplicate" else ", or give other parts other names"
        raise DataError(
            f"--mix-in: {len(shared)} pictures belong with held-out ones by --group-by {rule.text}, "
            f"the first {shared[0][0]} with {shared[0][1]}: remove them{other}"
        )


def refuse_alike(pairs: Integers, divided: Divided) -> None:
    """Raise DataError for a picture that is nearly one that others choose, calibrate or judge by.

    `pairs`, int64 [pairs, 2], the lower row first, are near duplicates among all that were dealt and then what is
    mixed in.
    """
    known, extra = divided.sources, divided.extra.sources
    taught, count = len(divided.dealt.train.sources), len(known)
    # The training part is the first one.
    alike = {extra[high - count].name: known[low].name for low, high in pairs.tolist() if taught <= low < count <= high}
    if alike:
        first = min(alike)
        raise DataError(
            f"--mix-in: {len(alike)} pictures are near duplicates of held-out ones, "
            f"the first {first} of {alike[first]}: remove them"
        )
