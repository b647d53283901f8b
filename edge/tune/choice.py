"""What was measured of each setting, and which is best: pure."""

from __future__ import annotations

from math import ceil, inf, isnan
from statistics import median
from typing import TYPE_CHECKING, Literal

from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.runtime import EngineName

GAIN = 0.15
"""By so much a costlier setting must be faster to be worth it. At work the cores are not idle as they are here:
capture, ledger, pictures and network have their share, and a thread that waits for its core makes the others wait too.
What more threads win on idle cores by less is lost then. 15% is also what the medians of a few seconds may differ by on
a device that is not quite quiet."""


class Setting(Record, frozen=True, kw_only=True):
    """What is tried: keys of [runtime]."""

    engine: EngineName
    threads: int
    accelerator: Literal["none", "edgetpu"] = "none"

    @property
    def name(self) -> str:
        """In words."""
        chip = "" if self.accelerator == "none" else " + edgetpu"
        return f"{self.engine}{chip}, {self.threads} thread{'s' * (self.threads > 1)}"


class Round(Record, frozen=True, kw_only=True):
    """What one process measured; times in milliseconds."""

    frames: tuple[float, ...]
    """Of each frame, the camera's size, to its scores: all regions, preprocessing included."""
    invokes: tuple[float, ...]
    """What the interpreter took of each."""
    scores: tuple[tuple[float, ...], ...]
    """Of each picture that settings are compared by."""
    memory_mib: float


class Row(Record, frozen=True, kw_only=True):
    """What is known of a setting."""

    setting: Setting
    rounds: tuple[Round, ...] = ()
    failure: str = ""
    """Why there are no more rounds; a setting that failed once is not the one to run for months."""

    @property
    def frame_ms(self) -> tuple[float, float]:
        """Median and 95th percentile of a frame."""
        return _both([each for found in self.rounds for each in found.frames])

    @property
    def invoke_ms(self) -> tuple[float, float]:
        """Median and 95th percentile of the interpreter's part."""
        return _both([each for found in self.rounds for each in found.invokes])

    @property
    def memory_mib(self) -> float:
        """The most that a process had."""
        return max(found.memory_mib for found in self.rounds)

    @property
    def spread(self) -> float:
        """How far apart the rounds' medians are, as a share of their median."""
        middles = [median(found.frames) for found in self.rounds]
        return (max(middles) - min(middles)) / median(middles)


class Verdict(Record, frozen=True):
    """How a setting's scores compare with the expected ones."""

    agreeing: int
    """Pictures with the same label."""
    pictures: int
    worst: float
    """The largest difference of a score."""
    tolerance: float

    @property
    def right(self) -> bool:
        """Whether it may judge."""
        return self.agreeing == self.pictures and self.worst <= self.tolerance


def compare(row: Row, expected: Sequence[Sequence[float]], tolerance: float) -> Verdict:
    """Compare a setting's scores with those expected: its worst round counts."""
    agreeing, worst = len(expected), 0.0
    for found in row.rounds:
        pairs = list(zip(found.scores, expected, strict=True))
        agreeing = min(agreeing, sum(_label(ours) == _label(theirs) for ours, theirs in pairs))
        off = [abs(a - b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True)]
        worst = max([worst, *(inf if isnan(each) else each for each in off)])
    return Verdict(agreeing, len(expected), worst, tolerance)


def best(rows: Sequence[Row]) -> Row | None:
    """Return the best of the settings that judge rightly: the cheapest, or what is faster by more than GAIN at p95.

    Cheaper is the CPU before an accelerator, which may fail, then fewer threads, then the engine that comes first. The
    95th percentile counts, not the median: a verdict that comes late is what a line waits for.
    """
    chosen: Row | None = None
    for row in sorted(rows, key=lambda row: (row.setting.accelerator != "none", row.setting.threads)):
        if chosen is None or row.frame_ms[1] < (1 - GAIN) * chosen.frame_ms[1]:
            chosen = row
    return chosen


def _both(times: Sequence[float]) -> tuple[float, float]:
    return median(times), sorted(times)[ceil(0.95 * len(times)) - 1]


def _label(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)
