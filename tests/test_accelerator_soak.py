"""An accelerator that does all that it can do wrong, at random: each frame is judged rightly, and nothing is left."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from accelerators import FRAME, bundle, children, descriptors, engine, line, wait_until_it_judges

from edge.classifier import Classifier
from edge.errors import AcceleratorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerators import Standin

SECONDS, SOAK_SECONDS = 6.0, 600.0
EACH_SECONDS = 1.5
"""How long the stand-in behaves in one way, at most."""
WAYS = [
    *["works"] * 4,
    *["no-device", "crash-load", "hang-load", "refuse-model"],
    *[f"{how}-invoke {number}" for how in ("crash", "hang", "fail") for number in (1, 4, 7, 12)],
]
BLOWS = (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV)


def test_no_frame_is_judged_wrongly(standin: Standin, figure: Callable[[str], None], *, soak: bool) -> None:
    """Crashes, hangs, refusals and blows from outside, one after the other: right scores or an error, never else."""
    parts, dice = bundle(), random.Random(20)  # noqa: S311 - misfortune, not secrets
    expected = Classifier(parts).classify(FRAME).scores
    before = descriptors()
    judging = line(parts, standin.settings(), deadline=0.4, opening=3.0, pause=0.05)
    frames, refused, slowest, change = 0, 0, 0.0, 0.0
    end = time.monotonic() + (SOAK_SECONDS if soak else SECONDS)
    while (began := time.monotonic()) < end:
        if began > change:
            standin.behave(dice.choice(WAYS))
            change = began + dice.random() * EACH_SECONDS
            strike(dice)
        try:
            np.testing.assert_array_equal(judging.classify(FRAME).scores, expected)
        except AcceleratorError:
            refused += 1
        frames += 1
        slowest = max(slowest, time.monotonic() - began)
    told = engine(judging).health()
    figure(f"{frames} frames, {refused} refused, slowest {slowest * 1e3:.0f} ms, {told.failures} failures")
    standin.behave("works")
    wait_until_it_judges(judging)
    judging.close()
    assert told.failures > 0
    assert refused <= told.failures
    assert {*children().values()} <= {"Z"}, "the last one may not have been waited for yet"
    assert descriptors() == before


def strike(dice: random.Random) -> None:
    """Every other time, hit the worker from outside."""
    for pid in children():
        if dice.random() < 0.5:
            with suppress(ProcessLookupError):
                os.kill(pid, dice.choice(BLOWS))
