"""Has the daemon hear of each of its threads that ends by an exception: else a part of it would be dead, unsaid."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge.errors import InspectError

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

RENEWED = "paho-mqtt-client"
"""How paho names its threads: edge.mqtt.connection looks after them, for no broker may end the judging."""

_ended: list[Exception] = []


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
