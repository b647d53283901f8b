"""Has the daemon hear of each of its threads that ends by an exception, or hangs: else it would be dead, unsaid."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge.errors import InspectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

RENEWED = "paho-mqtt-client"
"""How paho names its threads: edge.mqtt.connection looks after them, for no broker may end the judging."""

_ended: list[Exception] = []
HANG_SECONDS = 60.0
"""For one turn of a thread without which the daemon is none. A disk that holds it up may come back after seconds."""
_LOOK_SECONDS = 1.0
"""Between two looks at a pulse at most; of a longer time nobody knows whether the thread had any of it."""


class Pulse:
    """Tells a thread that hangs from one that goes on: it beats, and whoever relies on it looks, often."""

    def __init__(self) -> None:
        self._beats = self._known = 0
        self._silent = 0.0
        self._looked = time.monotonic()

    def beat(self) -> None:
        """Show that the thread goes on."""
        self._beats += 1

    @property
    def silent(self) -> float:
        """Seconds without a beat. A process that was stopped as a whole saw no time pass."""
        now, beats = time.monotonic(), self._beats
        self._silent = self._silent + min(now - self._looked, _LOOK_SECONDS) if beats == self._known else 0.0
        self._known, self._looked = beats, now
        return self._silent

    def check(self, name: str, *, is_idle: bool) -> None:
        """Raise InspectError if the thread of this name hangs for good; one that is idle may wait for ever."""
        if is_idle:
            self.beat()
        if self.silent > HANG_SECONDS:
            problem = f"the thread {name} has not come back for {HANG_SECONDS:g} s; a new start may free it"
            raise InspectError(f"{problem}; if it comes again, look at the disk that holds state_dir")


def within(seconds: float, act: Callable[[], object]) -> bool:
    """Do what a disk may hold up, and say whether it was done in this time; else it goes on by itself."""
    thread = threading.Thread(target=act, name="disk", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


@contextmanager
def watched() -> Iterator[None]:
    """Hear of the threads of this process, the libraries' own among them, as long as the block runs."""
    before, threading.excepthook = threading.excepthook, _hear
    try:
        yield
    finally:
        threading.excepthook = before
        _ended.clear()


def check() -> None:
    """Raise what ended a thread, if one ended: a daemon without a part of it must end, and be started anew."""
    if _ended:
        raise _ended[0]


def fatal(error: BaseException) -> Exception:
    """Return what ended this thread as what may end the daemon: a bare SystemExit would do it as if all were well."""
    return error if isinstance(error, Exception) else _death(threading.current_thread(), error)


def _hear(end: threading.ExceptHookArgs) -> None:
    thread, error = end.thread or threading.current_thread(), end.exc_value or end.exc_type()
    if not thread.name.startswith(RENEWED):
        _ended.append(_death(thread, error))  # First: whatever else befalls this thread.
    log.error("the thread %s ended", thread.name, exc_info=error)


def _death(thread: threading.Thread, error: BaseException) -> InspectError:
    return InspectError(f"the thread {thread.name} ended ({error!r}); only a new start brings it back")
