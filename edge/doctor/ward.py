"""Runs each check in a process of its own, for a bounded time: what it touches may crash, hang or eat all memory."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from edge.contract.json import NOT_JSON
from edge.doctor.finding import Finding, blame, problem, shorten, skipped
from edge.errors import InspectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge.doctor.finding import Patient

REPORT = "report it, with what `edge-inspect doctor --json` prints"
_DYING_SECONDS = 1.0
"""For a killed process to be gone; one that is not is held by a driver, and is left to it."""
_MOST = 1 << 20
"""Bytes of what one check may say."""
_LOG_BYTES = 4096
_DONE = b"done"
"""What a child says last, without an end of line: what it says before that is JSON."""
_MEMORY = "memory is short: stop other programs"
_PR_SET_PDEATHSIG = 1
"""linux/prctl.h."""


class Check(NamedTuple):
    """One examination."""

    name: str
    function: str
    """`module:function` in edge.doctor, which yields findings about a Patient. It is imported in the child."""
    kind: type[InspectError] = InspectError
    """What a problem of it is, for the exit code."""
    seconds: float = 10.0
    configured: bool = False
    """Whether it needs the configuration."""
    needs: tuple[str, ...] = ()
    """Checks before it whose problem would only be told again."""

    def load(self) -> Callable[[Patient], Iterator[Finding]]:
        """Import it."""
        module, _, function = self.function.partition(":")
        loaded: Callable[[Patient], Iterator[Finding]] = getattr(import_module(f"edge.doctor.{module}"), function)
        return loaded


def examine(check: Check, patient: Patient) -> list[Finding]:
    """Return what a check finds within its time; a crash and a hang are findings too, after those before it."""
    reads, writes = os.pipe()
    log = os.memfd_create("doctor")
    child = os.fork()
    if not child:
        _be_the_child(check, patient, writes, log)
    os.close(writes)
    try:
        said, in_time = _listen(reads, check.seconds)
    finally:  # After an interrupt too.
        status = _end(child, reads)
        last = _last_line(log)
        os.close(reads)
        os.close(log)
    *lines, done = said.split(b"\n")
    ended = _how_it_ended(check, status if in_time else None, last, finished=done == _DONE)
    return [*_decoded(lines), *ended]


def _be_the_child(check: Check, patient: Patient, writes: int, log: int) -> None:
    """Examine, and end; whatever happens, nothing of the parent's runs on here."""
    try:
        with suppress(OSError):  # Where memory is short the kernel takes this process, not the doctor.
            Path("/proc/self/oom_score_adj").write_text("500", "ascii")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # A crash is told; its memory image would fill the card.
        os.setsid()  # A group of its own: whatever it starts ends with it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        for finding in _findings(check, patient):
            _write(writes, msgspec.json.encode(finding) + b"\n")
        _write(writes, _DONE)
    finally:
        os._exit(0)


def _findings(check: Check, patient: Patient) -> Iterator[Finding]:
    try:
        yield from check.load()(patient)
    except PermissionError as error:
        yield skipped(check.name, f"{error.filename}: this user may not look there; use sudo")
    except InspectError as error:
        yield blame(check.name, error, "see the README")
    except MemoryError:
        yield problem(check.name, "there is not enough memory for it", _MEMORY)
    except Exception as error:  # noqa: BLE001 - one check that fails must not end the others
        yield problem(check.name, shorten(f"the check itself failed ({type(error).__name__}: {error})"), REPORT)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _listen(reads: int, seconds: float) -> tuple[bytes, bool]:
    """Return what the child says until it ends, and whether it ended in time."""
    deadline = time.monotonic() + seconds
    said = b""
    while len(said) < _MOST:
        if not _readable(reads, deadline - time.monotonic()):
            return said, False
        if not (more := os.read(reads, 1 << 16)):
            return said, True
        said += more
    return said, False


def _readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1e3))


def _end(child: int, reads: int) -> int | None:
    """End the child and what it started; return how it ended, as os.waitstatus_to_exitcode; None if it did not."""
    for kill in (os.killpg, os.kill):  # Both: it may not have its group yet.
        with suppress(ProcessLookupError):
            kill(child, signal.SIGKILL)
    deadline = time.monotonic() + _DYING_SECONDS
    # The pipe's end comes with the process': nothing to poll for.
    while _readable(reads, deadline - time.monotonic()):
        if not os.read(reads, 1 << 16):
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None


def _decoded(lines: list[bytes]) -> list[Finding]:
    """Return the findings that are whole: a library may have spoilt the child's memory."""
    found = []
    for line in lines:
        with suppress(*NOT_JSON):
            found.append(msgspec.json.decode(line, type=Finding))
    return found


def _last_line(log: int) -> str:
    size = os.lseek(log, 0, os.SEEK_END)
    lines = os.pread(log, _LOG_BYTES, max(0, size - _LOG_BYTES)).decode(errors="replace").split("\n")
    return shorten(next((line for line in reversed(lines) if line.strip()), ""))


def _how_it_ended(check: Check, status: int | None, last: str, *, finished: bool) -> Iterator[Finding]:
    words = f'; its last words: "{last}"' if last else ""
    if status is None:
        says = f"no answer within {check.seconds:g} s{words}"
        yield problem(check.name, says, "what it looks at hangs: a driver, a disk, the network; restart the device")
    elif status == -signal.SIGKILL and not finished:  # No library does that.
        yield problem(check.name, f"the check was killed{words}", _MEMORY)
    elif not finished:
        how = f"died of signal {-status} ({signal.strsignal(-status)})" if status < 0 else "ended before it was done"
        yield problem(check.name, f"the check {how}{words}", "a library or driver crashes: reinstall what it looks at")
