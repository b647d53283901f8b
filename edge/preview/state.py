"""What the page tells beside the picture: one JSON object. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.guard.fitness import Fitness
from edge.preview.turning import turned, turned_shift
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.camera.base import Frame
    from edge.contract.messages import Event
    from edge.contract.preprocess import Region, Rotation
    from edge.preview.figures import Channel, Focus
    from edge.regions import Place


class View(Record, frozen=True, kw_only=True):
    """One frame that is shown, and what was found in it."""

    number: int
    """Counts from 1 in this preview's life."""
    frame: Frame
    fitness: Fitness | None
    """What the guard says of it; None: nothing, for it does not look."""
    focus: Focus
    channels: list[Channel]
    dark: float
    """As in edge.guard.measures."""
    bright: float
    """As in edge.guard.measures."""


class Opinion(Record, frozen=True, kw_only=True):
    """What the model says of one region."""

    verdict: str
    label: str | None
    score: float | None
    """0-1; None: there is none, and `reason` says why."""
    reason: str


class Spot(Record, frozen=True, kw_only=True):
    """One region: `area` as configured, `shown` where it lies in the picture now, each in fractions of its sides."""

    name: str
    area: Region
    shown: Region
    opinion: Opinion | None


class Look(Record, frozen=True, kw_only=True):
    """What the guard says of the picture."""

    reason: str
    """Why it is not fit to be judged; empty: it is."""
    right: float
    """How far all has moved in the picture, in fractions of its width; 0 also where that is not known."""
    down: float
    """How far it has moved down, in fractions of its height."""


class Picture(Record, frozen=True, kw_only=True):
    """What is told of the picture that is shown."""

    number: int
    width: int
    """Pixels, turned as it is shown, before it was made smaller."""
    height: int
    age_s: float
    source: str
    focus: Focus
    channels: list[Channel]
    dark: float
    """The share of pixels, 0-1, that are too dark to show anything, as the guard counts."""
    bright: float
    """The share of pixels, 0-1, that are too bright, as the guard counts."""
    look: Look | None
    """None: the guard does not look at this camera."""


class Opinions(Record, frozen=True, kw_only=True):
    """What the model said last."""

    model: str = ""
    """Which one it is; empty: none is loaded."""
    trouble: str = "the model is being loaded"
    """Why it says nothing; empty: it does."""
    at: float = 0.0
    """When it looked, by time.monotonic()."""
    by_region: Mapping[str, Opinion] = {}


class Model(Record, frozen=True, kw_only=True):
    """Whether the model judges."""

    name: str
    trouble: str
    age_s: float | None
    """Of its last opinions; None: there are none."""


class Camera(Record, frozen=True, kw_only=True):
    """How the camera fares."""

    name: str
    rotate: Rotation
    rate: float
    """Frames per second that it gives."""
    trouble: str
    """Why no picture comes; empty: they come."""


class State(Record, frozen=True, kw_only=True):
    """All of it."""

    camera: Camera
    picture: Picture | None
    """None: there was none yet."""
    spots: list[Spot]
    model: Model


def opinion_of(event: Event) -> Opinion:
    """Return what an event says."""
    return Opinion(verdict=event.verdict, label=event.label, score=event.score, reason=event.reason)


def compose(now: float, camera: Camera, view: View | None, opinions: Opinions, places: Sequence[Place]) -> State:
    """Put together what is known at `now`, in seconds of time.monotonic().

    Opinions about a picture that is no longer live are not told: a person would take them for the present part's.
    """
    told = {} if camera.trouble else opinions.by_region
    fitness = (view.fitness if view else None) or Fitness()
    return State(
        camera=camera,
        picture=_picture(now, view, camera.rotate) if view else None,
        spots=[_spot(place, fitness, camera.rotate, told.get(place.name)) for place in places],
        model=Model(name=opinions.model, trouble=opinions.trouble, age_s=max(0.0, now - opinions.at) if told else None),
    )


def _spot(place: Place, fitness: Fitness, rotate: Rotation, opinion: Opinion | None) -> Spot:
    return Spot(name=place.name, area=place.area, shown=turned(fitness.follow(place.area), rotate), opinion=opinion)


def _picture(now: float, view: View, rotate: Rotation) -> Picture:
    height, width = view.frame.pixels.shape[:2]
    if rotate in (90, 270):
        height, width = width, height
    return Picture(
        number=view.number,
        width=width,
        height=height,
        age_s=max(0.0, now - view.frame.exposed),
        source=view.frame.source,
        focus=view.focus,
        channels=view.channels,
        dark=view.dark,
        bright=view.bright,
        look=_look(view.fitness, rotate) if view.fitness else None,
    )


def _look(fitness: Fitness, rotate: Rotation) -> Look:
    right, down = turned_shift(fitness.dx, fitness.dy, rotate)
    return Look(reason=fitness.reason, right=right, down=down)
