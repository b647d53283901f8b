"""Tells systemd how the daemon fares: the sd_notify protocol, one datagram a message (sd_notify(3))."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from functools import cache
from math import inf
from typing import TYPE_CHECKING

from edge import threads
from edge.command import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

_SAY_SECONDS = 0.1
"""For one word: a systemd that hangs reads nothing more, and judging goes on."""
FEED_SECONDS = 1.0
"""Between two words to a watchdog that waits for tens of seconds."""
_LONGEST_STATUS = 400
"""Characters, of ten bytes at most each: systemd reads 4 KiB of a message (its NOTIFY_BUFFER_MAX)."""
LATE_SECONDS = 10.0
"""For one turn of the line, which may judge many regions; the unit's watchdog waits for three times as long."""
HANGS = (
    f"judging has not come back for {LATE_SECONDS:g} s: the model or a driver hangs; "
    "the service's watchdog starts it anew, where there is none somebody has to"
)


def notify(state: str) -> None:
    """Send e.g. READY=1 or WATCHDOG=1; does nothing when systemd did not start us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_SAY_SECONDS)
            channel.connect(address)
            channel.sendall(state.encode())
    except OSError as error:
        _complain(f"{address!r}: {error.strerror or error}")


def notify_status(text: str) -> None:
    """Have `systemctl status` show a text."""
    notify(f"STATUS={printable(text[:_LONGEST_STATUS])}")


@cache
def _complain(what: str) -> None:
    """Say once that systemd does not listen; its watchdog will act on the silence, judging goes on."""
    log.warning("NOTIFY_SOCKET %s", what)


class Watchdog:
    """systemd's, fed once a second at most by whoever is to go on turning."""

    def __init__(self, status: Callable[[], str] = str) -> None:
        """Take what says how that fares, which systemd is told too where it changes; empty: nothing."""
        self._fed_at = -inf
        self._status = status
        self._told = ""
        self._pulse = threads.Pulse()

    @property
    def silent(self) -> float:
        """Seconds since it was fed; infinite before it ever was. Any thread may ask."""
        return time.monotonic() - self._fed_at

    def feed(self) -> None:
        """Tell systemd that nothing hangs; raises InspectError if a thread of this process ended."""
        threads.check()
        self._pulse.beat()
        if (now := time.monotonic()) - self._fed_at >= FEED_SECONDS:
            self._fed_at = now
            notify("WATCHDOG=1")
            if (status := self._status()) != self._told:
                self._told = status
                notify_status(status)

    @contextmanager
    def watched(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Have `tell` hear, in a thread of its own, what is wrong if nobody feeds it, and nothing while somebody does.

        Who hangs cannot say so, and systemd ends it without a word.
        """
        over = threading.Event()

        def look() -> None:
            while not over.wait(FEED_SECONDS):
                with suppress(Exception):  # The line hears of it too.
                    tell(HANGS if self._pulse.silent > LATE_SECONDS else "")

        threading.Thread(target=look, name="watchdog", daemon=True).start()
        try:
            yield
        finally:
            over.set()
