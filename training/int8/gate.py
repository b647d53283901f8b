"""Did int8 cost a class its recall? Float and int8 predictions on held-out pictures, class by class.

The pictures must be held out from training but not be the test part: a gate that chooses between models by the
test pictures would make the report's figures too good.

Pictures on the edge between two classes flip by chance, in both directions, and of 30 pictures one is already 3.3
points. So a class has lost its recall if it fell by more than `allow_drop` and its lost pictures outnumber the gained
ones by more than chance allows (an exact sign test at 0.1: four to none, six to one). Below 4 / allow_drop pictures
(400 for 1 point) the gate is therefore coarser than `allow_drop`; each row states its resolution, and "too few to
tell" where the drop is above `allow_drop` but may be chance. Such a row refuses nothing, and is never silent either:
`doubts` has a sentence for each.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from importlib.util import find_spec
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

Engine: TypeAlias = Literal["litert", "tflite-runtime"]
_PACKAGES: dict[Engine, str] = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
ALLOWED_DROP = 0.01
"""Of a class' recall, 0-1."""
_FEWEST = 2
"""Pictures that two runtimes must at least differ in to be worth a word."""
_CHANCE = 0.1
"""Four lost pictures against none gained are 0.06, three are 0.13."""
_HALF = 0.5
"""P(defect) from which a picture counts as damaged here: the bundle's thresholds are chosen later, on int8 logits."""
_FEWEST_LOST = 2
"""Pictures of a row, gained ones set off, from which on a loss that may be chance is worth minutes of retraining."""
_FAR = 2
"""Times the allowed drop: likewise."""
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
    verdict: Literal["kept", "lost", "too few to tell", "no pictures"]

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

    def __str__(self) -> str:
        """Return the row for a person."""
        return (
            f"{self.recall_float:.1%} in float, {self.recall_int8:.1%} in int8: {100 * self.drop:.1f} points lost, "
            f"{self.lost} of {self.pictures} pictures lost and {self.gained} gained"
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
        """The rows that lost more than allowed, but not more than chance may take."""
        return tuple(row for row in self.rows if row.verdict == "too few to tell")

    @property
    def suspect(self) -> tuple[Row, ...]:
        """Those of them that lost so much that an attempt to mend it is worth its minutes, the worst first.

        At least two pictures net, as a single one on the edge flips easily, and more than twice what is allowed.
        """
        far = _FAR * self.allow_drop
        rows = [r for r in self.doubtful if r.lost - r.gained >= _FEWEST_LOST and r.drop > far + _EPSILON]
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
        shares = ("recall_float", "recall_int8", "drop", "resolution")
        return {
            "allow_drop": self.allow_drop,
            "passed": self.passed,
            "rows": [asdict(row) | {name: round(getattr(row, name), _DIGITS) for name in shares} for row in self.rows],
        }


def _line(row: Row, width: int) -> str:
    figures = f"{row.recall_float:7.1%} {row.recall_int8:7.1%} {row.drop:7.1%} {row.resolution:12.1%}"
    return f"{row.name:{width}} {row.pictures:9} {figures}  {row.verdict}"


def compare(
    truth: Integers,
    float_logits: Floats,
    int8_logits: Floats,
    labels: Sequence[Label],
    *,
    allow_drop: float = ALLOWED_DROP,
) -> Gate:
    """Compare two models' logits [n, classes] of the same pictures with the truth [n]; pure.

    `allow_drop` is the share of a class' recall, 0-1, that int8 may cost.
    """
    right = [logits.argmax(axis=1) == truth for logits in (float_logits, int8_logits)]
    classes = tuple(_row(label.name, truth == index, right, allow_drop) for index, label in enumerate(labels))
    everything = _row("all pictures", np.ones(len(truth), np.bool_), right, allow_drop)
    damaging = np.array([label.verdict == "DEFECT" for label in labels])
    if damaging.all():
        return Gate(classes, everything, None, allow_drop)
    found = [softmax(logits)[:, damaging].sum(axis=1) >= _HALF for logits in (float_logits, int8_logits)]
    damaged = _row("damaged parts found", damaging[truth], found, allow_drop)
    return Gate(classes, everything, damaged, allow_drop)


def _row(name: str, rows: npt.NDArray[np.bool_], right: Sequence[npt.NDArray[np.bool_]], allow_drop: float) -> Row:
    pictures = int(rows.sum())
    before, after = (int(hits[rows].sum()) for hits in right)
    first, second = (hits[rows] for hits in right)
    lost, gained = int((first & ~second).sum()), int((second & ~first).sum())
    verdict: Literal["kept", "lost", "too few to tell", "no pictures"] = "kept"
    if not pictures:
        verdict = "no pictures"
    elif before - after > allow_drop * pictures + _EPSILON:
        verdict = "lost" if by_chance(lost, gained) <= _CHANCE else "too few to tell"
    counts = {"pictures": pictures, "right_float": before, "right_int8": after, "lost": lost, "gained": gained}
    return Row(name=name, verdict=verdict, **counts)


def by_chance(lost: int, gained: int) -> float:
    """Return how likely at least `lost` of all flipped pictures are lost ones if int8 only tosses a coin about them.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions (1947), exact form.
    """
    flips = lost + gained
    return float(sum(math.comb(flips, count) for count in range(lost, flips + 1)) / 2**flips)


def engines() -> tuple[Engine, ...]:
    """Return the runtimes that are installed here, LiteRT first."""
    return tuple(engine for engine, package in _PACKAGES.items() if find_spec(package) is not None)


def disagreements(by_engine: Mapping[Engine, Floats], *, allow_drop: float = ALLOWED_DROP) -> list[str]:
    """Name each runtime that sees another class than the first one in more than `allow_drop` of the pictures.

    Runtimes round differently, so single pictures may differ; two at least must.
    """
    (first, expected), *others = by_engine.items()
    lines = []
    for engine, found in others:
        differing = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
        if differing >= _FEWEST and differing > allow_drop * len(found) + _EPSILON:
            furthest = float(np.abs(softmax(found) - softmax(expected)).max())
            lines.append(
                f"{engine} sees another class than {first} in {differing} of {len(found)} pictures "
                f"(scores differ by up to {furthest:.2f})"
            )
    return lines


def doubts(gates: Mapping[Engine, Gate]) -> list[str]:
    """Say of each row what it lost more than allowed though it may be chance, once for runtimes that agree."""
    found: dict[Row, list[Engine]] = {}
    for engine, gate in gates.items():
        for row in gate.doubtful:
            found.setdefault(row, []).append(engine)
    return [
        f"int8 may cost {row.name} recall on {' and '.join(engines)} ({row}): too few pictures to tell it from chance."
        for row, engines in found.items()
    ]


def require(gates: Mapping[Engine, Gate], *, also: str = "") -> None:
    """Raise BundleError, one line with the worst row and the remedy, unless every runtime's gate passed.

    `also` is what has been tried already, such as ", retrained for int8 too,".
    """
    for engine, gate in gates.items():
        if gate.passed:
            continue
        worst, more = gate.refused[0], len(gate.refused) - 1
        rest = f"; {more} more lost too much" if more else ""
        accepted = math.ceil(100 * worst.drop - _EPSILON) / 100
        raise BundleError(
            f"int8{also} costs {worst.name} more recall than the allowed {100 * gate.allow_drop:g} points on {engine} "
            f"({worst}{rest}); add pictures, take another alpha or backbone, or accept it: --allow-drop {accepted:g}"
        )
