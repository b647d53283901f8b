"""Measures settings in turn, each time in a process of its own: a crash or a hang is a row, not the end."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from edge.command import printable
from edge.contract.json import NOT_JSON
from edge.tune.choice import Round, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.tune.choice import Setting
    from edge.tune.task import Task

ROUNDS = 3
_LEAST_SECONDS = 0.2
_OPENING_SECONDS = 180.0
"""Until a process measures, at most: the probe of a model may take 60 s, an accelerator's first start as long."""


class Rounds:
    """What is known so far."""

    def __init__(self, settings: Sequence[Setting], task_of: Callable[[Setting, float], Task], seconds: float) -> None:
        """Name the settings, what a process is to measure of one in so many seconds, and the seconds of all."""
        self.rows = {setting: Row(setting=setting) for setting in settings}
        self._task_of = task_of
        self._each = max(_LEAST_SECONDS, seconds / ROUNDS / max(1, len(settings)))

    def measure(self, say: Callable[[str], None]) -> None:
        """Measure all, every second round backwards: a device that grows warm slows none more than the others."""
        for number in range(ROUNDS):
            order = list(self.rows)
            for setting in order if number % 2 == 0 else reversed(order):
                row = self.rows[setting]
                if not row.failure:
                    say(f"round {number + 1} of {ROUNDS}: {setting.name}")
                    self.rows[setting] = _with(row, _run(self._task_of(setting, self._each)))


def _with(row: Row, found: Round | str) -> Row:
    if isinstance(found, str):
        return msgspec.structs.replace(row, failure=found)
    return msgspec.structs.replace(row, rounds=(*row.rounds, found))


def _run(task: Task) -> Round | str:
    """Return what a process measured, or why it did not."""
    # -P: no module is taken from the working folder, which may be a stranger's bundle.
    command = [sys.executable, "-P", "-m", "edge.tune.worker"]
    seconds = _OPENING_SECONDS + 10 * task.seconds
    try:
        # A session of its own: Ctrl-C is for this process, which then ends that one.
        child = subprocess.run(
            command,
            input=msgspec.json.encode(task),
            capture_output=True,
            timeout=seconds,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return f"hangs: it was not done after {seconds:.0f} s"
    except OSError as error:
        return f"cannot be started ({error})"
    if child.returncode == -signal.SIGKILL:
        return "was killed: is memory short?"
    if child.returncode < 0:
        return f"crashed (signal {-child.returncode}, {signal.strsignal(-child.returncode)})"
    try:
        return msgspec.json.decode(child.stdout, type=Round)
    except NOT_JSON:
        lines = child.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        return printable(lines[-1].removeprefix("edge.tune: "))
