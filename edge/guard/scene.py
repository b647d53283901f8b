"""Compares what a frame shows with the baseline: the part, the fixture's place, the light, the focus. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.guard.baseline import PLACED
from edge.guard.fitness import Fitness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.guard.baseline import Baseline
    from edge.guard.measures import Floats, Measures
    from edge.guard.reference import Placement
    from edge.sections.guard import Guard as Rules


class Scene:
    """What one camera should see, by its baseline, and the checks that are wanted."""

    def __init__(self, baseline: Baseline, rules: Rules) -> None:
        self._baseline = baseline
        self._checks = frozenset(rules.checks)
        self._max_shift = rules.max_shift
        self._part = baseline.reference("part") if PLACED & self._checks else None
        self._empty = baseline.reference("empty") if baseline.empty and "part" in self._checks else None

    def judge(self, measures: Measures) -> Fitness:
        """Compare a frame of the baseline's size: the part first, for without it light and sharpness are others."""
        placement = self._part.place(measures.picture) if self._part else None
        if placement and self._is_empty(measures.picture, placement):
            return Fitness("no part under the camera", idle=True)
        if reason := next(self._faults(measures, placement), ""):
            return Fitness(reason)
        if placement is None or "fixture" not in self._checks:
            return Fitness()
        return Fitness(dx=placement.dx, dy=placement.dy)

    def _is_empty(self, picture: Floats, placement: Placement) -> bool:
        """Say whether a picture is more like the empty fixture than like a part in it."""
        return self._empty is not None and self._empty.place(picture).likeness > placement.likeness

    def _faults(self, measures: Measures, placement: Placement | None) -> Iterator[str]:
        if placement and "part" in self._checks:
            yield from self._of_part(placement)
        if placement and "fixture" in self._checks:
            yield from self._of_fixture(placement)
        if "light" in self._checks:
            yield from self._of_light(measures)
        if "focus" in self._checks and measures.sharpness < (least := self._baseline.least_sharpness):
            yield f"out of focus: sharpness {measures.sharpness:.1f}, at least {least:.1f} expected"

    def _of_part(self, placement: Placement) -> Iterator[str]:
        least = self._baseline.least_likeness
        if placement.likeness < least:
            found = f"likeness {placement.likeness:.2f}, at least {least:.2f} expected"
            yield f"no part under the camera, or another scene: {found}"

    def _of_fixture(self, placement: Placement) -> Iterator[str]:
        if not placement.known:
            yield "the fixture is not where it was, nor near it"
        for moved, side in ((placement.dx, "width"), (placement.dy, "height")):
            if abs(moved) > self._max_shift:
                yield f"the fixture moved by {abs(moved):.1%} of the {side}, at most {self._max_shift:.1%} expected"

    def _of_light(self, measures: Measures) -> Iterator[str]:
        baseline = self._baseline
        if measures.bright > baseline.most_bright:
            yield f"over-exposed: {measures.bright:.0%} of the pixels, at most {baseline.most_bright:.0%} expected"
        if measures.dark > baseline.most_dark:
            yield f"under-exposed: {measures.dark:.0%} of the pixels, at most {baseline.most_dark:.0%} expected"
        low, high = baseline.luma_limits
        if not low <= measures.luma <= high:
            yield f"the light changed: {measures.luma:.0f}, {baseline.luma.median:.0f} expected"
