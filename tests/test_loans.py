"""Buffers on loan: each goes back once, no picture is another's, and the camera always has some left."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera.loans import MOST, Loans
from edge.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.contract.preprocess import Pixels


class Buffer:
    """One buffer, which shows garbage from its release on."""

    def __init__(self, shown: int) -> None:
        self.pixels = np.full(3, shown, np.uint8)
        self.released = 0

    def release(self) -> None:
        self.released += 1
        self.pixels[:] = 0


def lending() -> Loans:
    return Loans(lambda request: request.pixels.copy())  # type: ignore[attr-defined] - they are Buffers here


@given(steps=st.lists(st.sampled_from(["take", "ask", "drop oldest", "drop newest"]), max_size=60))
def test_however_frames_come_and_go(steps: list[str]) -> None:
    """Never are more than MOST out, whoever asks sees the right picture, and in the end each went back once."""
    loans, buffers, held = lending(), list[Buffer](), list[tuple[int, "Callable[[], Pixels]"]]()
    for step in steps:
        if step == "take":
            buffers.append(Buffer(len(buffers) + 1))
            loans.collect()
            held.append((len(buffers), loans.lend(buffers[-1])))
            loans.collect()
        elif held and step == "ask":
            number, picture = held[len(buffers) % len(held)]
            assert picture().tolist() == [number] * 3
        elif held:
            held.pop(0 if step == "drop oldest" else -1)
        assert sum(not buffer.released for buffer in buffers) <= MOST
    loans.settle()
    assert [buffer.released for buffer in buffers] == [1] * len(buffers)
    assert all(picture().tolist() == [number] * 3 for number, picture in held)


def test_nothing_is_copied_for_frames_that_come_and_go() -> None:
    """Thousands of frames of which nobody wants the whole picture cost not one copy of it."""
    copies: list[object] = []

    def copy(request: object) -> Pixels:
        copies.append(request)
        return np.zeros(3, np.uint8)

    loans, last = Loans(copy), None
    for _ in range(1000):
        loans.collect()
        last = loans.lend(Buffer(1))
    assert last is not None
    assert copies == []


def test_a_frame_that_is_forgotten_calls_no_driver() -> None:
    """Whoever drops the last reference, even the garbage collector within the driver's lock, only leaves a note."""
    loans, buffer, driver = lending(), Buffer(1), threading.Lock()
    knot: list[object] = [loans.lend(buffer)]
    knot.append(knot)
    del knot
    with driver:
        gc.collect()
        assert buffer.released == 0
    loans.collect()
    assert buffer.released == 1


def test_a_copy_that_fails_is_told_to_each_who_asks() -> None:
    """The buffer goes back, and nobody gets what is in it afterwards."""

    def fail(_: object) -> Pixels:
        raise CameraError("camera.index 0: its picture cannot be read; restart the device")

    loans, buffer = Loans(fail), Buffer(1)
    picture = loans.lend(buffer)
    loans.settle()
    assert buffer.released == 1
    for _ in range(2):
        with pytest.raises(CameraError, match="cannot be read"):
            picture()
