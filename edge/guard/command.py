"""`edge-inspect baseline`: learns from the configured camera what frames of good parts look like."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING

from edge import config as configs
from edge.camera import open_camera
from edge.camera.base import BadFrame
from edge.capture import HANG_SECONDS, Capture
from edge.command import add_config, to_count
from edge.errors import CameraError, DataError
from edge.guard import baseline_file
from edge.guard.baseline import FEWEST, MOST, PLACED
from edge.guard.guard import Guard, may_be_still_s
from edge.guard.lesson import Lesson
from edge.state import daemons_state, hand_over

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from edge.camera.base import Frame
    from edge.config import Config
    from edge.guard.baseline import Baseline

FRAME_SECONDS = 10.0
SETTLING_SECONDS = 2.0
"""What a camera shows while its exposure and white balance still find their levels is not learned from."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    add_config(parser)
    parser.add_argument("--frames", type=to_count, default=50, metavar="N", help="of good parts, changed meanwhile")
    parser.add_argument("--empty", action="store_true", help="add the empty fixture, to tell it from other faults")


def run(arguments: argparse.Namespace) -> int:
    """Learn, and return 0; raises as `learn`."""
    learn(arguments.config, arguments.frames, empty=arguments.empty)
    return 0


def learn(path: Path, frames: int, *, empty: bool) -> None:
    """Take frames of good parts, or of the empty fixture, keep what they teach for the daemon, and print it.

    Raises DataError, one line, for frames that teach nothing, CameraError if none come, and OSError if the baseline
    cannot be kept.
    """
    if not FEWEST <= frames <= MOST:
        raise DataError(f"--frames {frames} teaches too little, or takes too long; set {FEWEST} to {MOST}")
    config = configs.load(path)
    file = daemons_state(config) / baseline_file.FILE
    before = _before(file, config) if empty else None
    lesson = _take(config, frames)
    baseline = lesson.of_the_empty_fixture(before) if before else lesson.of_good_parts(config)
    baseline_file.write(file, baseline)
    hand_over(file)
    print("\n".join(_table(baseline, config)))
    print(f"kept in {file}; the daemon's next start uses it")


def _before(file: Path, config: Config) -> Baseline:
    """Return the baseline that the empty fixture belongs to; raises DataError if there is none for this camera."""
    before = baseline_file.read(file)
    if before is None:
        raise DataError(f"{file}: no baseline yet; take one of good parts, then one with --empty")
    if reason := before.misfit(config.camera, PLACED):
        raise DataError(reason)
    return before


def _take(config: Config, count: int) -> Lesson:
    """Measure frames until there are enough or no more; raises CameraError, or DataError for one that is unfit."""
    lesson = Lesson()
    guard = Guard(config.guard, None, still_s=may_be_still_s(config.camera))
    for frame in _frames(config, count):
        if reason := guard.inspect(frame).reason:
            raise DataError(f"camera {config.camera.name}: {reason}; a baseline needs frames that can be judged")
        lesson.add(frame)
        _show(len(lesson), count)
    return lesson


def _frames(config: Config, count: int) -> Iterator[Frame]:
    capture = Capture(partial(open_camera, config.camera))
    try:
        capture.wait_until_open(HANG_SECONDS)
        if may_be_still_s(config.camera) < math.inf:
            capture.leave(SETTLING_SECONDS)
        for _ in range(count):
            frame = capture.take(FRAME_SECONDS)
            if frame is None and capture.ended:
                return
            if frame is None:
                raise CameraError(f"camera {config.camera.name}: no frame within {FRAME_SECONDS:g} s; check its cable")
            if isinstance(frame, BadFrame):
                raise CameraError(f"camera {config.camera.name}: {frame.reason}")
            yield frame
    finally:
        capture.stop(FRAME_SECONDS)


def _show(done: int, count: int) -> None:
    """Say how far it is: on a terminal in one line."""
    if sys.stderr.isatty():
        print(f"{done} of {count} frames", end="\n" if done == count else "\r", file=sys.stderr, flush=True)
    elif done % (count // 5 or 1) == 0:
        print(f"{done} of {count} frames", file=sys.stderr, flush=True)


def _table(baseline: Baseline, config: Config) -> Iterator[str]:
    """Yield the lines that tell a person what was learned."""
    low, high = baseline.luma_limits
    yield f"{baseline.frames} frames of {baseline.width}x{baseline.height} pixels, camera {baseline.camera}"
    yield f"{'':<14}{'usual':>9}   accepted"
    yield f"{'luma':<14}{baseline.luma.median:>9.0f}   {max(0.0, low):.0f} to {min(255.0, high):.0f}"
    yield f"{'dark pixels':<14}{baseline.dark.median:>9.1%}   up to {baseline.most_dark:.1%}"
    yield f"{'bright pixels':<14}{baseline.bright.median:>9.1%}   up to {baseline.most_bright:.1%}"
    yield f"{'sharpness':<14}{baseline.usual_sharpness:>9.1f}   from {baseline.least_sharpness:.1f}"
    yield f"{'likeness':<14}{baseline.likeness.median:>9.3f}   from {baseline.least_likeness:.2f}"
    yield f"{'shift':<14}{'':>9}   up to {config.guard.max_shift:.1%} of the frame"
    yield f"empty fixture: {'known' if baseline.empty else 'not known; --empty takes it'}"
