"""Did int8 cost a class its recall? Float and int8 predictions on held-out pictures, class by class.

The pictures must be held out from training but not be the test part: a gate that chooses between models by the
test pictures would make the report's figures too good.

Pictures on the edge between two classes flip by chance, in both directions, and of 30 pictures one is already 3.3
points. So a class has lost its recall if it fell by more than `allow_drop` and its lost parts outnumber the gained
ones by more than chance allows (an exact sign test at 0.1: four to none, six to one). The test alone would pass a class
of three that loses all three, so a gross loss counts whatever chance may do: 10 points and three parts lost net, or a
third of all and two parts. Two of fifteen are neither: where one picture in ten lies on the edge, every sixth model
with five such classes loses as much in one of them by chance.

Below 4 / allow_drop pictures (400 for 1 point) the gate is therefore coarser than `allow_drop`; each row states its
resolution, and "too few to tell" where the drop is above `allow_drop` but small, or a single part, and may be chance.
Such a row refuses nothing, and is never silent either: `doubts` has a sentence for each.

Recall is of pictures, but photographs of one part flip together and are no tosses of their own. What is counted
against chance is therefore parts: one votes lost or gained as most of its photographs that flip do.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from edge.classifier import softmax
from edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from edge.classifier import Floats
    from edge.contract.bundle import Label
    from training.data.dataset import Integers
    from training.int8.engines import Engine

Bools: TypeAlias = "npt.NDArray[np.bool_]"
Verdict: TypeAlias = Literal["kept", "lost", "too few to tell", "no pictures"]
ALLOWED_DROP = 0.01
"""Of a class' recall, 0-1."""
_CHANCE = 0.1
"""Four lost parts against none gained are 0.06, three are 0.13."""
_HALF = 0.5
"""P(defect) from which a picture counts as damaged here: the bundle's thresholds are chosen later, on int8 logits."""
_FEWEST_LOST = 2
"""Parts of a row, gained ones set off, from which on an attempt to mend it is worth minutes: one flips easily."""
_GROSS = ((0.1, 3), (1 / 3, 2))
"""Of a class' recall, 0-1, with so many parts, gained ones set off: what nobody would put down to chance and ship."""
_FAR = 5
"""Times the allowed drop from which on a loss that may be chance is worth minutes of retraining."""
_DIGITS = 6
_EPSILON = 1e-9
"""Keeps a drop that is exactly the allowed one from being refused for its last binary digit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One class, or all damaged parts together: how many the two models get right."""

    name: str
    pictures: int
    right_float: int
    right_int8: int
    lost: int
    """Pictures that float gets right and int8 does not."""
    gained: int
    """The reverse."""
    parts: int
    """That the pictures show, each in one or more of them."""
    parts_lost: int
    """Parts with more lost pictures than gained ones."""
    parts_gained: int
    """The reverse."""
    verdict: Verdict

    @property
    def recall_float(self) -> float:
        """Share of the pictures, 0-1; 0 of none."""
        return self.right_float / max(self.pictures, 1)

    @property
    def recall_int8(self) -> float:
        """Likewise."""
        return self.right_int8 / max(self.pictures, 1)

    @property
    def drop(self) -> float:
        """What int8 costs, as a share of the pictures; negative if it gains."""
        return self.recall_float - self.recall_int8

    @property
    def resolution(self) -> float:
        """What a single picture weighs, as a share of the pictures."""
        return 1 / max(self.pictures, 1)

    @property
    def by_part(self) -> bool:
        """Whether there are several pictures of some of the parts."""
        return self.parts < self.pictures

    @property
    def votes(self) -> str:
        """What the parts say, for a person; empty where they are the pictures."""
        return f"{self.parts_lost} of {self.parts} parts lost and {self.parts_gained} gained" if self.by_part else ""

    def __str__(self) -> str:
        """Return the row for a person."""
        return (
            f"{self.recall_float:.1%} in float, {self.recall_int8:.1%} in int8: {100 * self.drop:.1f} points lost, "
            f"{self.lost} of {self.pictures} pictures lost and {self.gained} gained"
            + (f"; {self.votes}" if self.votes else "")
        )


@dataclass(frozen=True, slots=True)
class Gate:
    """What int8 costs each class, on one runtime."""

    classes: tuple[Row, ...]
    everything: Row
    """All pictures as one: what a few of each class cannot tell, they may tell together."""
    damaged: Row | None
    """All parts with a DEFECT label as one: right is whoever is not passed. None if no class means intact."""
    allow_drop: float

    @property
    def passed(self) -> bool:
        """Whether no class, and no damaged part, is worse off than allowed."""
        return not self.refused

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every row, the classes first."""
        return (*self.classes, self.everything, *([self.damaged] if self.damaged else []))

    @property
    def refused(self) -> tuple[Row, ...]:
        """The rows that lost too much, the worst first."""
        return tuple(sorted((row for row in self.rows if row.verdict == "lost"), key=lambda row: -row.drop))

    @property
    def doubtful(self) -> tuple[Row, ...]:
        """The rows that lost more than allowed, but neither grossly nor more than chance may take."""
        return tuple(row for row in self.rows if row.verdict == "too few to tell")

    @property
    def suspect(self) -> tuple[Row, ...]:
        """Those of them that lost so much that an attempt to mend it is worth its minutes, the worst first.

        At least two parts net, as a single one on the edge flips easily, and more than five times what is allowed.
        """
        far = _FAR * self.allow_drop
        rows = [r for r in self.doubtful if r.parts_lost - r.parts_gained >= _FEWEST_LOST and r.drop > far + _EPSILON]
        return tuple(sorted(rows, key=lambda row: -row.drop))

    @property
    def mean_recall(self) -> float:
        """Int8's recall, 0-1, over classes and damaged parts: what a rare class loses counts as much as a common one's.

        Two int8 models of the same network are compared by it.
        """
        rows = [row for row in (*self.classes, *([self.damaged] if self.damaged else [])) if row.pictures]
        return float(np.mean([row.recall_int8 for row in rows]))

    def table(self) -> list[str]:
        """Return lines for a terminal: a heading and a row for each class."""
        width = max(len(row.name) for row in self.rows)
        heading = f"{'class':{width}}  pictures   float    int8    drop  one picture  verdict"
        return [heading, *(_line(row, width) for row in self.rows)]

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json."""
        return {"allow_drop": self.allow_drop, "passed": self.passed, "rows": [_plain(row) for row in self.rows]}


def _line(row: Row, width: int) -> str:
    figures = f"{row.recall_float:7.1%} {row.recall_int8:7.1%} {row.drop:7.1%} {row.resolution:12.1%}"
    return f"{row.name:{width}} {row.pictures:9} {figures}  {row.verdict}{': ' if row.votes else ''}{row.votes}"


def _plain(row: Row) -> dict[str, Any]:
    shares = ("recall_float", "recall_int8", "drop", "resolution")
    return asdict(row) | {name: round(getattr(row, name), _DIGITS) for name in shares} | {"votes": row.votes}


def compare(  # noqa: PLR0913 - the arguments are the contract
    truth: Integers,
    float_logits: Floats,
    int8_logits: Floats,
    labels: Sequence[Label],
    *,
    part: Integers | None = None,
    allow_drop: float = ALLOWED_DROP,
) -> Gate:
    """Compare two models' logits [n, classes] of the same pictures with the truth [n]; pure.

    `part` [n] says which pictures show the same part; None: each another one. `allow_drop` is the share of a class'
    recall, 0-1, that int8 may cost.
    """
    row = partial(_row, part=np.arange(len(truth)) if part is None else part, allow_drop=allow_drop)
    right = [logits.argmax(axis=1) == truth for logits in (float_logits, int8_logits)]
    classes = tuple(row(label.name, truth == index, right) for index, label in enumerate(labels))
    everything = row("all pictures", np.ones(len(truth), np.bool_), right)
    damaging = np.array([label.verdict == "DEFECT" for label in labels])
    if damaging.all():
        return Gate(classes, everything, None, allow_drop)
    found = [softmax(logits)[:, damaging].sum(axis=1) >= _HALF for logits in (float_logits, int8_logits)]
    return Gate(classes, everything, row("damaged parts found", damaging[truth], found), allow_drop)


def _row(name: str, rows: Bools, right: Sequence[Bools], *, part: Integers, allow_drop: float) -> Row:
    before, after = (hits[rows] for hits in right)
    _, shown = np.unique(part[rows], return_inverse=True)
    votes = np.bincount(shown, before.astype(np.int64) - after)
    counts = {
        "pictures": rows.sum(),
        "right_float": before.sum(),
        "right_int8": after.sum(),
        "lost": (before & ~after).sum(),
        "gained": (after & ~before).sum(),
        "parts": len(votes),
        "parts_lost": (votes > 0).sum(),
        "parts_gained": (votes < 0).sum(),
    }
    row = Row(name=name, verdict="no pictures", **{key: int(count) for key, count in counts.items()})
    return replace(row, verdict=_verdict(row, allow_drop)) if row.pictures else row


def _verdict(row: Row, allow_drop: float) -> Verdict:
    if row.drop <= allow_drop + _EPSILON:
        return "kept"
    net = row.parts_lost - row.parts_gained
    gross = any(row.drop >= share - _EPSILON and net >= parts for share, parts in _GROSS)
    return "lost" if gross or by_chance(row.parts_lost, row.parts_gained) <= _CHANCE else "too few to tell"


def by_chance(lost: int, gained: int) -> float:
    """Return how likely at least `lost` of all flipped parts are lost ones if int8 only tosses a coin about each.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions (1947), exact form.
    """
    flips = lost + gained
    return float(sum(math.comb(flips, count) for count in range(lost, flips + 1)) / 2**flips)


def doubts(gates: Mapping[Engine, Gate]) -> list[str]:
    """Say of each row what it lost more than allowed though it may be chance, once for runtimes that agree."""
    found: dict[Row, list[Engine]] = {}
    for engine, gate in gates.items():
        for row in gate.doubtful:
            found.setdefault(row, []).append(engine)
    return [
        f"int8 may cost {row.name} recall on {' and '.join(engines)} ({row}): "
        f"too few {'parts' if row.by_part else 'pictures'} to tell it from chance."
        for row, engines in found.items()
    ]


def require(gates: Mapping[Engine, Gate], *, also: str = "") -> None:
    """Raise BundleError, one line with the worst row of all and the remedy, unless every runtime's gate passed.

    `also` is what has been tried already, such as ", retrained for int8 too,".
    """
    refused = [(row, engine) for engine, gate in gates.items() for row in gate.refused]
    if not refused:
        return
    worst, engine = max(refused, key=lambda one: one[0].drop)
    more = len({row.name for row, _ in refused}) - 1
    rest = f"; {more} more lost too much" if more else ""
    accepted = math.ceil(100 * worst.drop - _EPSILON) / 100
    remedies = "add pictures, or take another alpha or backbone"
    if accepted < 1:  # The whole class is lost otherwise, which no option accepts.
        remedies = f"add pictures, take another alpha or backbone, or accept it: --allow-drop {accepted:g}"
    raise BundleError(
        f"int8{also} costs {worst.name} more recall than the allowed {100 * gates[engine].allow_drop:g} points on "
        f"{engine} ({worst}{rest}); {remedies}"
    )
