"""Motion: one verdict for each part that came and lay still, none for what stays as it is."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera.base import BadFrame, Frame
from edge.capture import Capture
from edge.sections.triggers import MotionConfig
from edge.trigger import motion
from edge.trigger.motion import MotionTriggered, Rest, thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.contract.preprocess import Pixels
    from edge.trigger.base import Shot

CONFIG = MotionConfig(settle_s=0.3, deadline_s=2.0)
RATE = 20
HEIGHT, WIDTH = 180, 320


class Film:
    """A camera of pictures that are there, one after the other, at RATE by the clock that it sets."""

    keeps_pace, live = True, False

    def __init__(self, pictures: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
        self._pictures = pictures
        self._now = 100.0
        monkeypatch.setattr(motion.time, "monotonic", lambda: self._now)

    def frames(self) -> Iterator[Frame]:
        """As in Camera."""
        for number, pixels in enumerate(self._pictures, start=1):
            yield Frame(number, str(number), 0.0, pixels)

    def close(self) -> None:
        """As in Camera."""

    def judge(self) -> list[Shot]:
        """Return what the trigger has judged of the whole film."""
        capture = Capture(lambda: self)
        trigger, found = MotionTriggered(capture, CONFIG), []
        while not trigger.ended:
            if (shot := trigger.next(5)) is not None:
                found.append(shot)
            self._now += 1 / RATE
        return [*found, *trigger.give_up("over")]


def belt(*places: float) -> list[Pixels]:
    """Return what a noisy camera sees of a part at these places, in the frame's widths; outside 0-1 there is none."""
    dice, seen = np.random.default_rng(1), []
    for place in places:
        scene = np.full((HEIGHT, WIDTH, 3), 60.0)
        left = round(place * WIDTH)
        scene[60:120, max(0, left) : max(0, left + 60)] = (200, 180, 160)
        seen.append(np.clip(scene + dice.normal(0, 4, scene.shape), 0, 255).astype(np.uint8))
    return seen


def numbers(shots: list[Shot]) -> list[int]:
    return [shot.frame.number for shot in shots]


def test_a_part_is_judged_once_when_it_lies_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while it comes, and not again while it stays; the next one is judged again."""
    empty, come, leave = [-1.0] * 20, list(np.linspace(-0.2, 0.4, 10)), list(np.linspace(0.4, 1.2, 10))
    still = [0.4] * 30
    film = Film(belt(*empty, *come, *still, *leave, *come, *still), monkeypatch)
    shots = film.judge()
    first_still = len(empty) + len(come)
    settled = round(CONFIG.settle_s * RATE)
    assert [shot.trigger for shot in shots] == ["motion-1", "motion-2"]
    assert abs(numbers(shots)[0] - first_still - settled) <= 1
    assert not any(isinstance(shot.frame, BadFrame) for shot in shots)


def test_what_stays_as_it_is_triggers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an empty station nor a part that was there from the beginning, however noisy the camera is."""
    assert Film(belt(*[-1.0] * 100), monkeypatch).judge() == []
    assert Film(belt(*[0.4] * 100), monkeypatch).judge() == []


def test_what_never_comes_to_rest_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, at the deadline: the same motion is no second trigger, but the next one behind a rest is."""
    swing = [0.3, 0.5] * 50
    shots = Film(belt(*[-1.0] * 10, *swing, *[0.5] * 20, *np.linspace(0.5, 0.2, 6), *[0.2] * 20), monkeypatch).judge()
    assert len(shots) == 2
    first, second = (shot.frame for shot in shots)
    assert isinstance(first, BadFrame)
    assert first.reason == "what moved did not come to rest within 2 s"
    assert not isinstance(second, BadFrame)


def test_an_end_in_the_middle_of_a_motion_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that came and was not judged gets its verdict, with the reason."""
    shots = Film(belt(*[-1.0] * 10, 0.1, 0.2, 0.3), monkeypatch).judge()
    assert [shot.frame.reason for shot in shots if isinstance(shot.frame, BadFrame)] == ["over"]


@pytest.mark.parametrize("seconds", [1, 4, 8])
def test_a_part_that_comes_slowly_is_seen(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """However little it moves from one frame to the next: it is judged where it comes to rest, or told of in time."""
    come = list(np.linspace(-0.2, 0.6, seconds * RATE))
    shots = Film(belt(*[-1.0] * 10, *come, *[0.6] * 2 * RATE), monkeypatch).judge()
    assert len(shots) == 1
    assert isinstance(shots[0].frame, BadFrame) is (seconds > CONFIG.deadline_s)


def test_a_part_that_was_coming_when_the_pause_began_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a verdict, with the reason; what comes within the pause has none."""
    film = Film(belt(-1.0, 0.1, 0.2, *[0.5] * RATE), monkeypatch)
    trigger = MotionTriggered(Capture(lambda: film), CONFIG)
    assert [trigger.next(5) for _ in range(3)] == [None] * 3
    shot = trigger.leave(0)
    assert shot is not None
    assert isinstance(shot.frame, BadFrame)
    assert shot.frame.reason == "paused by command"
    assert trigger.leave(0) is None
    while not trigger.ended:
        assert trigger.next(5) is None


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.booleans()), max_size=200))
def test_each_motion_ends_once_and_in_time(steps: list[tuple[float, bool]]) -> None:
    """Whatever moves and whenever it is looked at: between two answers something moved behind a rest."""
    rest, now, log = Rest(0.3, 2.0), 0.0, list[tuple[float, bool]]()
    moves: list[float] = []
    for pause, is_moving in steps:
        now += pause
        deadline = rest.deadline
        answer = rest.look(now, moves=is_moving)
        moves += [now] * is_moving
        if answer is not None:
            log.append((now, answer))
            assert answer or now >= deadline
        assert rest.deadline > now
    for (earlier, _), (later, _) in pairwise(log):
        assert any(earlier < moved <= later for moved in moves)


@given(st.tuples(st.integers(1, 200), st.integers(1, 400)), st.sampled_from([None, 1, 3]))
def test_a_thumbnail_of_any_picture(size: tuple[int, int], channels: int | None) -> None:
    """Has some 80 columns at most twice that, and the picture's own level."""
    pixels = np.full(size if channels is None else (*size, channels), 77, np.uint8)
    small = thumbnail(pixels)
    assert small.ndim == 2
    assert 1 <= small.shape[1] <= 400
    assert (small == 77).all()


def test_a_part_that_came_in_a_rest_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changed while the device cooled down is a part that came; in a pause it is none."""
    for goes_by, expected in (("rest", 1), ("leave", 0)):
        film = Film(belt(-1.0, *[0.5] * RATE), monkeypatch)
        trigger = MotionTriggered(Capture(lambda film=film: film), CONFIG)  # type: ignore[misc]
        assert trigger.next(5) is None
        getattr(trigger, goes_by)(0)
        found = 0
        while not trigger.ended:
            found += trigger.next(5) is not None
            film._now += 1 / RATE
        assert found == expected
