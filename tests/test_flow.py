"""When a stream's packets came that the network held up: by the times at which they are read, and their own clock's."""

from __future__ import annotations

from itertools import count, takewhile
from typing import TYPE_CHECKING

import pytest

from edge.camera.flow import ACCEPTED_SECONDS, HELD_UP_SECONDS, Flow

if TYPE_CHECKING:
    from collections.abc import Iterator

STALL_AT = 20.0
"""Seconds after the first packet."""


class Sent:
    """A packet of a camera behind a network."""

    def __init__(self, flow: Flow, *, taken: float, read: float, stamp: float | None) -> None:
        self.taken, self.read = taken, read
        self.came = flow.came(read, stamp)

    @property
    def is_called_new(self) -> bool:
        return self.came == self.read


def sent(fps: float, *, stall: float, speed: float, clock: float | None = 1.0, dropped: bool = False) -> list[Sent]:
    """Return a minute's packets; in a stall none is read, then those since at `speed` times their pace, or no old one.

    `clock`: the stream's seconds per second; None: it has no clock.
    """
    flow = Flow()

    def read(taken: float) -> float:
        return taken if taken < STALL_AT else max(taken, STALL_AT + stall + (taken - STALL_AT) / speed)

    def stamps() -> Iterator[Sent]:
        for number in takewhile(lambda number: number / fps < 60, count()):
            taken = number / fps
            if dropped and STALL_AT <= taken < STALL_AT + stall:
                continue
            stamp = None if clock is None else taken * clock
            yield Sent(flow, taken=taken, read=taken if dropped else read(taken), stamp=stamp)

    return list(stamps())


@pytest.mark.parametrize("fps", [5, 10, 25, 60])
@pytest.mark.parametrize("stall", [0.6, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("speed", [1.5, 2, 5, 1000])
@pytest.mark.parametrize("clock", [1.0, 1.2, 0.5, None])
def test_no_packet_counts_as_much_newer_than_it_is(fps: float, stall: float, speed: float, clock: float | None) -> None:
    """However long the network held packets up, however slowly it catches up, with a true clock, a false or none."""
    packets = sent(fps, stall=stall, speed=speed, clock=clock)
    assert max(each.came - each.taken for each in packets) <= HELD_UP_SECONDS + 1 / fps
    assert all(each.is_called_new for each in packets[-round(fps) :])


@pytest.mark.parametrize("fps", [1, 5, 25])
@pytest.mark.parametrize("clock", [1.0, 1.5, None])
def test_pictures_that_a_camera_left_out_make_no_later_one_old(fps: float, clock: float | None) -> None:
    """By a true clock the first packet after them is new, without one those after a few times as long."""
    packets = sent(fps, stall=3.0, speed=1, clock=clock, dropped=True)
    gap = 3.0 + 1 / fps
    old = [each.taken for each in packets if not each.is_called_new and each.taken > STALL_AT]
    assert max(old, default=0.0) <= (0.0 if clock == 1.0 else STALL_AT + 4 * gap)


@pytest.mark.parametrize("pause", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("clock", [1.0, 0.1, None])
def test_a_steady_stream_is_new(pause: float, clock: float | None) -> None:
    """Also one of few pictures, once its pace is known; two packets for each picture make no difference."""
    flow = Flow()
    for number in range(100):
        for read in (number * pause, number * pause + 0.001):
            stamp = None if clock is None else read * clock
            assert flow.came(read, stamp) == read or number < 20


def test_a_stream_that_stays_late_is_accepted() -> None:
    """A camera's buffer, or a clock that was set back, may make it later for good: no trigger waits for ever."""
    packets = sent(25, stall=2.0, speed=1.0)
    assert packets[-1].came == pytest.approx(packets[-1].taken, abs=0.1)
    flow, last = Flow(), 0.0
    for number in range(int(25 * (STALL_AT + 2 * ACCEPTED_SECONDS))):
        last = number / 25 + (2.0 if number / 25 > STALL_AT else 0.0)
        came = flow.came(last, number / 25)
    assert came == last
