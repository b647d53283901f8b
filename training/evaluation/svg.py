"""Charts as inline SVG, drawn by hand: small, styled by the page's CSS, the same for the same numbers."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Warp = Literal["linear", "root", "log-odds"]
FURTHEST = 0.0001
"""Shares nearer to 0 or 1 are drawn here on a scale of log-odds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From a value to a place on the page."""

    low: float
    high: float
    start: float
    """Where `low` lies, in pixels."""
    end: float
    warp: Warp = "linear"

    def __call__(self, value: float) -> float:
        """Return the place in pixels; values off the scale lie at its ends."""
        low, high, there = (self._warped(v) for v in (self.low, self.high, min(max(value, self.low), self.high)))
        return self.start + (self.end - self.start) * (there - low) / (high - low)

    def _warped(self, value: float) -> float:
        if self.warp == "root":
            return math.sqrt(value)
        if self.warp == "log-odds":
            kept = min(max(value, FURTHEST), 1 - FURTHEST)
            return math.log(kept / (1 - kept))
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A scale with its ticks and what it measures."""

    scale: Scale
    ticks: Mapping[float, str]
    title: str


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about so many round values from `low` to `high`."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * i, 10) for i in range(first, last + 1)]


def shares(low: float, high: float) -> dict[float, str]:
    """Return round ticks for shares from `low` to `high`, labelled in per cent."""
    return {tick: percent(tick) for tick in ticks(low, high)}


def percent(share: float) -> str:
    """Return a share in per cent: two digits below 10%, else three; 100% only for all of them."""
    text = f"{100 * share:.{2 if share < 0.1 else 3}g}%"  # noqa: PLR2004 - where a third digit begins to mean something
    if share < 1 and text == "100%":
        # All but a few: as many nines as it takes.
        text = f"{math.floor(1e4 * share) / 100:.2f}%"
        return text if text != "100.00%" else "> 99.99%"
    return f"{float(text[:-1]):g}%"


def picture(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """Return one chart; the title is what a screen reader says and what hovering shows."""
    body = "".join(parts)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" style="max-width:{width:g}px">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def frame(x: Axis, y: Axis) -> str:
    """Draw grid lines, tick labels and titles."""
    left, right, bottom, top = x.scale.start, x.scale.end, y.scale.start, y.scale.end
    parts = []
    for value, label in x.ticks.items():
        at = x.scale(value)
        parts += [line([(at, top), (at, bottom)], "lattice"), text(at, bottom + 15, label, "tick mid")]
    for value, label in y.ticks.items():
        at = y.scale(value)
        parts += [line([(left, at), (right, at)], "lattice"), text(left - 5, at + 4, label, "tick end")]
    parts += [text((left + right) / 2, bottom + 33, x.title, "axis mid"), text(left, top - 9, y.title, "axis")]
    return "".join(parts)


def line(points: Sequence[tuple[float, float]], style: str) -> str:
    """Draw through points in pixels."""
    return f'<path class="{style}" d="M{_path(points)}"/>'


def area(points: Sequence[tuple[float, float]], style: str) -> str:
    """Fill a polygon."""
    return f'<path class="{style}" d="M{_path(points)}Z"/>'


def steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of a staircase through points: first along x, then along y."""
    corners = list(points[:1])
    for (_, before), (x, y) in itertools.pairwise(points):
        corners += [(x, before), (x, y)]
    return corners


def box(x: float, y: float, width: float, height: float, style: str) -> str:
    """Fill a rectangle."""
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"/>'


def dot(x: float, y: float, style: str, radius: float = 3.5) -> str:
    """Draw a point."""
    return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'


def text(x: float, y: float, content: str, style: str) -> str:
    """Write; the style says where the text is anchored."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(content)}</text>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Return a path's points to a tenth of a pixel, without those that repeat the one before."""
    rounded = [f"{x:.1f} {y:.1f}".replace(".0 ", " ").removesuffix(".0") for x, y in points]
    return "L".join(point for i, point in enumerate(rounded) if not i or point != rounded[i - 1])
