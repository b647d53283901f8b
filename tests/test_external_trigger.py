"""Triggers from outside: each gets one answer, in order, with the frame that was exposed for it, or with the reason."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ledger_samples import BOOT
from spark_host import until

from edge.camera.base import BadFrame, Frame
from edge.capture import Capture
from edge.errors import CameraError
from edge.trigger.external import MOST_WAITING, External
from edge.trigger.journal import FILE, Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.trigger.base import Shot

PIXELS = np.zeros((2, 2, 3), np.uint8)
LONG = 20.0


class Stage:
    """A camera that shows a frame when the test says so."""

    keeps_pace = False

    def __init__(self, *, live: bool = True) -> None:
        self.live = live
        self.shown = 0
        self._frames: SimpleQueue[Frame | CameraError | None] = SimpleQueue()

    def show(self, exposed: float | None = None) -> None:
        """Expose a frame, now unless it is said when."""
        self.shown += 1
        self._frames.put(Frame(self.shown, str(self.shown), time.monotonic() if exposed is None else exposed, PIXELS))

    def end(self, error: CameraError | None = None) -> None:
        """Have no more frames, or fail."""
        self._frames.put(error)

    def frames(self) -> Iterator[Frame]:
        """As in Camera."""
        while (frame := self._frames.get()) is not None:
            if isinstance(frame, CameraError):
                raise frame
            yield frame

    def close(self) -> None:
        """As in Camera."""
        self._frames.put(None)


@pytest.fixture
def stage() -> Stage:
    """Return a live camera."""
    return Stage()


def triggered(stage: Stage, folder: Path, deadline_s: float = LONG, delay_s: float = 0.0) -> External:
    """Return a trigger on a camera."""
    journal = Journal(folder / FILE, BOOT)
    return External(Capture(lambda: stage, on_demand=True), journal, delay_s=delay_s, deadline_s=deadline_s)


def answer(trigger: External) -> Shot:
    shot = trigger.next(LONG)
    assert shot is not None
    return shot


def test_the_first_frame_after_the_trigger_answers_it(stage: Stage, tmp_path: Path) -> None:
    """Not one that was exposed before it, however late that came; and not a newer one, however late it is taken."""
    trigger, before = triggered(stage, tmp_path), time.monotonic()
    assert trigger.fire() == "gpio-1"
    stage.show(before)
    for _ in range(3):
        stage.show()
    shot = answer(trigger)
    assert (shot.trigger, shot.frame.number) == ("gpio-1", 2)
    assert trigger.next(0) is None


def test_who_tells_of_a_trigger_late_gets_no_newer_part(stage: Stage, tmp_path: Path) -> None:
    """Neither the frame nor the deadline waits for whoever was held up on the way: a verdict before, a full queue."""
    trigger = triggered(stage, tmp_path)
    now = time.monotonic()
    trigger.fire("soon", now - 1.0)
    stage.show(now - 1.5)
    stage.show(now - 0.5)
    stage.show(now)
    assert answer(trigger).frame.number == 2
    trigger.fire("late", now - LONG)
    shot = answer(trigger)
    assert isinstance(shot.frame, BadFrame)
    assert shot.frame.reason == "no frame within 20 s of the trigger"


def test_a_delay_counts_from_the_trigger(stage: Stage, tmp_path: Path) -> None:
    """A part that is to travel on to the camera is judged by the first frame behind the delay."""
    trigger = triggered(stage, tmp_path, delay_s=5.0)
    trigger.fire()
    now = time.monotonic()
    for later in (1.0, 4.9, 5.1, 6.0):
        stage.show(now + later)
    assert answer(trigger).frame.number == 3


def test_a_journal_that_is_slow_loses_no_frame(stage: Stage, tmp_path: Path) -> None:
    """While a card takes its time with the trigger's name the part passes by: its picture answers, not a later one."""

    class Slow(Journal):
        def note(self, name: str) -> None:
            shown = capture.captured
            stage.show()
            until(lambda: capture.captured > shown or time.monotonic() - began > 1.0)
            super().note(name)

    capture, began = Capture(lambda: stage, on_demand=True), time.monotonic()
    trigger = External(capture, Slow(tmp_path / FILE, BOOT), deadline_s=LONG)
    trigger.fire()
    stage.show()
    assert answer(trigger).frame.number == 1


def test_several_triggers_are_answered_in_order(stage: Stage, tmp_path: Path) -> None:
    """Two that came before one frame share it; each is answered once, in the order in which they came."""
    trigger = triggered(stage, tmp_path)
    names = [trigger.fire(), trigger.fire("part-7")]
    stage.show()
    names.append(trigger.fire())
    stage.show()
    shots = [answer(trigger) for _ in names]
    assert [shot.trigger for shot in shots] == names == ["gpio-1", "part-7", "gpio-2"]
    assert [shot.frame.number for shot in shots[:2]] == [1, 1]


def test_a_trigger_without_a_frame_is_answered_at_its_deadline(stage: Stage, tmp_path: Path) -> None:
    """With the reason; the frame that comes afterwards is nobody's."""
    trigger = triggered(stage, tmp_path, deadline_s=0.05)
    trigger.fire()
    started = time.monotonic()
    shot = answer(trigger)
    assert time.monotonic() - started < LONG / 2
    assert isinstance(shot.frame, BadFrame)
    assert shot.frame.reason == "no frame within 0.05 s of the trigger"
    stage.show()
    assert trigger.next(0.01) is None


def test_a_trigger_while_the_camera_is_away_says_why(tmp_path: Path) -> None:
    """Its verdict names what is wrong with the camera."""

    def away() -> Stage:
        raise CameraError("no camera there")

    capture = Capture(away, reopens=True, on_demand=True)
    trigger = External(capture, Journal(tmp_path / FILE, BOOT), deadline_s=0.05)
    capture.wait_until_open()
    trigger.fire()
    shot = answer(trigger)
    assert isinstance(shot.frame, BadFrame)
    assert shot.frame.reason == "no camera there"
    assert capture.stop(LONG)


def test_a_camera_that_failed_for_good_answers_first_and_then_says_so(stage: Stage, tmp_path: Path) -> None:
    """Who was fired before gets a verdict; then the failure is raised."""
    trigger = triggered(stage, tmp_path, deadline_s=0.05)
    trigger.fire()
    stage.end(CameraError("it broke"))
    assert isinstance(answer(trigger).frame, BadFrame)
    with pytest.raises(CameraError, match="it broke"):
        trigger.next(LONG)


def test_a_camera_that_failed_for_good_is_heard_of_however_often_is_fired(stage: Stage, tmp_path: Path) -> None:
    """Who fires again before each answer gets them at once, with the failure as reason; the failure is raised then."""
    trigger = triggered(stage, tmp_path)
    names = [trigger.fire() for _ in range(3)]
    stage.end(CameraError("it broke"))
    shots = [answer(trigger) for _ in names]
    assert [shot.trigger for shot in shots] == names
    assert {shot.frame.reason for shot in shots if isinstance(shot.frame, BadFrame)} == {"it broke"}
    assert time.monotonic() < shots[0].deadline
    with pytest.raises(CameraError, match="it broke"):
        trigger.next(LONG)


def test_a_line_that_fires_faster_than_it_is_judged(stage: Stage, tmp_path: Path) -> None:
    """No trigger is forgotten: those beyond MOST_WAITING are answered in their turn, with the reason."""
    trigger = triggered(stage, tmp_path)
    names = [trigger.fire() for _ in range(MOST_WAITING + 5)]
    stage.show()
    shots = [answer(trigger) for _ in names]
    assert [shot.trigger for shot in shots] == names
    reasons = [shot.frame.reason for shot in shots if isinstance(shot.frame, BadFrame)]
    assert reasons == [f"more than {MOST_WAITING} triggers wait for their verdict"] * 5


def test_triggers_during_a_pause_are_answered(stage: Stage, tmp_path: Path) -> None:
    """Each is UNKNOWN, because of the pause, and not judged after it."""
    trigger = triggered(stage, tmp_path)
    trigger.fire()
    shot = trigger.leave(LONG)
    assert shot is not None
    assert isinstance(shot.frame, BadFrame)
    assert shot.frame.reason == "paused by command"
    assert trigger.leave(0) is None
    assert trigger.next(0) is None


def test_what_is_fired_behind_the_end_of_a_pause_is_judged(stage: Stage, tmp_path: Path) -> None:
    """Who waits out a pause is woken by the command that ends it before a trigger behind that is given up."""
    trigger = triggered(stage, tmp_path)
    trigger.wake()
    trigger.fire("behind")
    assert trigger.leave(LONG) is None
    stage.show()
    assert (shot := answer(trigger)).trigger == "behind"
    assert not isinstance(shot.frame, BadFrame)


def test_an_end_answers_what_waits(stage: Stage, tmp_path: Path) -> None:
    """What was fired and not judged is told with the reason of the end."""
    trigger = triggered(stage, tmp_path)
    names = [trigger.fire(), trigger.fire()]
    told = list(trigger.give_up("the device stopped"))
    assert [shot.trigger for shot in told] == names
    assert list(trigger.give_up("the device stopped")) == []


def test_a_trigger_from_another_thread_is_heard_at_once(stage: Stage, tmp_path: Path) -> None:
    """Who waits for the next one does not wait until its time is up."""
    trigger = triggered(stage, tmp_path)

    def fire() -> None:
        trigger.fire()
        stage.show()

    threading.Timer(0.05, fire).start()
    started = time.monotonic()
    assert answer(trigger).trigger == "gpio-1"
    assert time.monotonic() - started < LONG / 2


def test_in_a_rest_only_who_is_late_is_answered(stage: Stage, tmp_path: Path) -> None:
    """A trigger in time keeps its frame until the rest is over; one past its deadline has its answer at once."""
    trigger = triggered(stage, tmp_path)
    trigger.fire()
    stage.show()
    assert trigger.rest(0.05) is None
    assert answer(trigger).frame.number == 1
    hurried = triggered(Stage(), tmp_path, deadline_s=0.05)
    hurried.fire("hurried")
    shot = hurried.rest(LONG)
    assert shot is not None
    assert (shot.trigger, isinstance(shot.frame, BadFrame)) == ("hurried", True)


def test_a_rest_does_not_hide_a_camera_that_failed(stage: Stage, tmp_path: Path) -> None:
    """Who waits for nothing hears of it."""
    trigger = triggered(stage, tmp_path)
    stage.end(CameraError("gone"))
    with pytest.raises(CameraError, match="gone"):
        trigger.rest(LONG)


def test_what_waits_and_what_is_too_many_is_counted(stage: Stage, tmp_path: Path) -> None:
    """Of triggers beyond those that may wait each is refused; all wait for their answers."""
    trigger = triggered(stage, tmp_path)
    for _ in range(MOST_WAITING + 3):
        trigger.fire()
    assert (trigger.waiting, trigger.refused) == (MOST_WAITING + 3, 3)
    list(trigger.give_up("over"))
    assert (trigger.waiting, trigger.refused) == (0, 3)
