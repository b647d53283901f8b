"""How an error leaves a console command."""

from __future__ import annotations

import argparse
import contextlib
import errno
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.command import run_command, to_positive
from edge.errors import CameraError, ConfigError, InspectError, by_exit_code


def ending(error: BaseException) -> int:
    """Run a command that raises an error, and return its exit code."""

    def command() -> int:
        raise error

    return run_command("program", command)


def test_a_deliberate_error_is_its_line_and_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    """The message, the program before it, and nothing else."""
    assert ending(ConfigError("rate is -1: expected a number from 0")) == 3
    assert capsys.readouterr().err == "program: rate is -1: expected a number from 0\n"


def test_a_message_is_one_line_that_a_terminal_survives(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters, from a file's name for example, are shown and not obeyed; other alphabets stay."""
    assert ending(CameraError("a\nb\x1b[31m\u202e Öl ✓")) == 5
    assert capsys.readouterr().err == "program: a\\nb\\x1b[31m\\u202e Öl ✓\n"


def test_a_path_that_the_user_may_not_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever permission is missing, the path and the remedy are said, without a traceback."""
    assert ending(PermissionError(errno.EACCES, "Permission denied", "/some/place")) == 1
    assert capsys.readouterr().err.startswith("program: /some/place: Permission denied; ")


def test_too_little_memory_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An array that does not fit is said with its size."""
    assert ending(MemoryError("Unable to allocate 671 GiB")) == 1
    assert capsys.readouterr().err.startswith("program: not enough memory (Unable to allocate 671 GiB); ")
    assert ending(MemoryError()) == 1
    assert capsys.readouterr().err.startswith("program: not enough memory; ")


def test_no_room_for_a_thread_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the kernel gives no thread the remedy is said, without a traceback."""
    before = threading.stack_size(1 << 62)  # More than any process can address.
    try:
        assert run_command("program", threading.Thread(target=ending).start) == 1
    finally:
        threading.stack_size(before)
    assert capsys.readouterr().err.startswith("program: can't start new thread: memory is short, ")


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "Bad file descriptor"), RuntimeError("x"), PermissionError()])
def test_what_nobody_foresaw_keeps_its_traceback(error: Exception) -> None:
    """An error that is a bug is not dressed up."""
    with pytest.raises(type(error)):
        ending(error)


def test_an_exit_code_names_its_error() -> None:
    """Every class of error is found by the code that its command ends with; any other code is the base."""
    for kind in InspectError.__subclasses__():
        assert by_exit_code(kind.exit_code) is kind
    assert by_exit_code(-9) is InspectError


@given(st.text(max_size=12) | st.floats().map(repr))
def test_a_positive_number_is_read_or_refused(text: str) -> None:
    """Nothing that is not above 0 and finite gets through, not-a-number included."""
    with contextlib.suppress(argparse.ArgumentTypeError):
        assert 0 < to_positive("seconds")(text) < math.inf
