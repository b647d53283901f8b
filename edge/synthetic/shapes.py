"""Where things are: the insert's outline, the places on it, and the picture's pixels in its coordinates.

Lengths are in insert units: a rhombic insert's far corners lie about 1 from its centre.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import msgspec
import numpy as np

from edge.record import Record

if TYPE_CHECKING:
    from edge.synthetic.dice import Dice, Floats

Shape: TypeAlias = Literal["rhombic80", "rhombic55", "triangular", "round"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
Point: TypeAlias = tuple[float, float]

_ROUND_RADIUS = 0.8
_MARGIN = 0.04
"""Of half the short side: no insert comes closer to the picture's border."""
_TURN = 0.2
"""Radians: the play of the nest each way."""


class Grid(Record, frozen=True):
    """The pixels' places in insert units: x = xx u + xy v + x0 and so on, with u to the right and v down."""

    u: Floats
    """Float32 [width], picture units: half the short side is 1, the centre 0."""
    v: Floats
    """Float32 [height]."""
    turn: float
    """The insert's rotation in radians."""
    scale: float
    """Picture units per insert unit."""
    centre: Point
    """The insert's centre in picture units."""
    pixel: float
    """A pixel's side in insert units."""

    @property
    def shape(self) -> tuple[int, int]:
        """The picture's (height, width) in pixels."""
        return len(self.v), len(self.u)

    def plane(self, a: float, b: float, c: float = 0.0) -> Floats:
        """Return a x + b y + c of every pixel, float32 [height, width]."""
        along, across = self.direction(a, b)
        along, across = along / self.scale, across / self.scale
        level = c - along * self.centre[0] - across * self.centre[1]
        columns = self.u * along + level
        rows = self.v * across
        field: Floats = rows[:, np.newaxis] + columns
        return field

    def direction(self, a: float, b: float) -> Point:
        """Turn a direction in insert coordinates into the picture's."""
        cosine, sine = math.cos(self.turn), math.sin(self.turn)
        return a * cosine - b * sine, a * sine + b * cosine

    def window(self, x: float, y: float, radius: float) -> tuple[slice, slice]:
        """Return the rows and columns that a disc touches; empty if it lies outside the picture."""
        right, down = self.direction(x, y)
        places = (down * self.scale + self.centre[1], right * self.scale + self.centre[0])
        reach = radius / self.pixel + 1
        middles = [
            place / (self.scale * self.pixel) + (length - 1) / 2
            for place, length in zip(places, self.shape, strict=True)
        ]
        rows, columns = (slice(max(0, int(m - reach)), max(0, int(m + reach) + 2)) for m in middles)
        return rows, columns

    def crop(self, rows: slice, columns: slice) -> Grid:
        """Return the grid of a part of the picture."""
        return msgspec.structs.replace(self, u=self.u[columns], v=self.v[rows])

    def distance(self, x: float, y: float) -> Floats:
        """Return every pixel's distance from a point."""
        dx, dy = self.plane(1, 0, -x), self.plane(0, 1, -y)
        field: Floats = np.sqrt(dx * dx + dy * dy)
        return field


class Site(Record, frozen=True):
    """A place on the outline where damage can begin."""

    x: float
    y: float
    normal: Point
    """Unit vector, outward."""
    room: float
    """How far the edge goes on in both directions; 0 at a corner."""

    @property
    def tangent(self) -> Point:
        """Unit vector along the edge."""
        return -self.normal[1], self.normal[0]

    def inward(self, depth: float, along: float = 0.0) -> Point:
        """Return the point `depth` inside the outline and `along` beside the site."""
        (nx, ny), (tx, ty) = self.normal, self.tangent
        return self.x - depth * nx + along * tx, self.y - depth * ny + along * ty


class Outline(Record, frozen=True):
    """A convex polygon grown by the nose radius; a round insert is a single point grown by its radius."""

    shape: Shape
    points: tuple[Point, ...]
    nose: float

    @property
    def reach(self) -> float:
        """The distance of the farthest place from the centre."""
        return max(math.hypot(*point) for point in self.points) + self.nose

    @property
    def inradius(self) -> float:
        """The radius of the largest circle inside."""
        return self.nose + (_edge_distance(self.points[0], self.points[1]) if len(self.points) > 1 else 0)

    def distance(self, grid: Grid) -> Floats:
        """Return every pixel's signed distance from the outline, negative inside, exact outside and at edges."""
        if len(self.points) == 1:
            return grid.distance(*self.points[0]) - self.nose
        inside = np.full(grid.shape, -np.inf, np.float32)
        outside = np.full_like(inside, np.inf)
        for start, end in pairwise((*self.points, self.points[0])):
            line, beyond = _edge(grid, start, end)
            np.maximum(inside, line, out=inside)
            np.minimum(outside, line * line + beyond * beyond, out=outside)
        field: Floats = np.where(inside > 0, np.sqrt(outside), inside)
        field -= self.nose
        return field

    def corner(self, dice: Dice) -> Site:
        """Draw a corner; of a round insert, any place on its edge."""
        if len(self.points) == 1:
            return self.edge(dice)
        x, y = dice.pick(self.points)
        length = math.hypot(x, y)
        normal = (x / length, y / length)
        return Site(x + self.nose * normal[0], y + self.nose * normal[1], normal, room=0)

    def edge(self, dice: Dice) -> Site:
        """Draw a place along an edge, not too near its corners."""
        if len(self.points) == 1:
            angle = dice.uniform(0, math.tau)
            normal = (math.cos(angle), math.sin(angle))
            return Site(self.nose * normal[0], self.nose * normal[1], normal, room=0.6 * self.nose)
        first = int(dice.uniform(0, len(self.points)))
        (x0, y0), (x1, y1) = self.points[first], self.points[(first + 1) % len(self.points)]
        length, share = math.hypot(x1 - x0, y1 - y0), dice.uniform(0.25, 0.75)
        normal = ((y1 - y0) / length, (x0 - x1) / length)
        x = x0 + share * (x1 - x0) + self.nose * normal[0]
        y = y0 + share * (y1 - y0) + self.nose * normal[1]
        return Site(x, y, normal, room=min(share, 1 - share) * length)


def draw_outline(dice: Dice) -> Outline:
    """Draw one of the shapes with its nose radius."""
    shape = dice.pick(SHAPES)
    nose = dice.uniform(0.05, 0.12)
    if shape == "round":
        return Outline(shape, ((0.0, 0.0),), _ROUND_RADIUS)
    if shape == "triangular":
        angles = (math.pi / 2, math.pi * 7 / 6, math.pi * 11 / 6)
        return Outline(shape, tuple((math.cos(a), math.sin(a)) for a in angles), nose)
    near = math.tan(math.radians(40 if shape == "rhombic80" else 27.5))
    return Outline(shape, ((1.0, 0.0), (0.0, near), (-1.0, 0.0), (0.0, -near)), nose)


def draw_grid(dice: Dice, outline: Outline, height: int, width: int) -> Grid:
    """Draw the pose: a nest holds the insert in the central square, with some play in rotation, height and place."""
    short = min(height, width)
    size = dice.uniform(0.84, 0.93)
    slack, scale = 1 - _MARGIN - size, size / outline.reach
    return Grid(
        u=_axis(width, short),
        v=_axis(height, short),
        turn=dice.uniform(-_TURN, _TURN),
        scale=scale,
        centre=(dice.uniform(-slack, slack), dice.uniform(-slack, slack)),
        pixel=2 / (short * scale),
    )


def _axis(length: int, short: int) -> Floats:
    places: Floats = np.arange(1 - length, length, 2, dtype=np.float32)
    places /= short
    return places


def _edge_distance(start: Point, end: Point) -> float:
    """Return how far the line through two points passes the origin."""
    return abs(start[0] * end[1] - end[0] * start[1]) / math.dist(start, end)


def _edge(grid: Grid, start: Point, end: Point) -> tuple[Floats, Floats]:
    """Return the signed distance from an edge's line (positive outside) and how far a pixel lies past its ends."""
    length = math.dist(start, end)
    tx, ty = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    line = grid.plane(ty, -tx, start[1] * tx - start[0] * ty)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    beyond = np.abs(grid.plane(tx, ty, -middle[0] * tx - middle[1] * ty))
    beyond -= length / 2
    np.maximum(beyond, 0, out=beyond)
    return line, beyond
