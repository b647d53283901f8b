"""Talks to systemd's journal: by its native protocol, or by lines with a priority where it reads our stderr."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

SOCKET = Path("/run/systemd/journal/socket")
_NAMED = "SYSLOG_IDENTIFIER"
"""In the environment, of a unit that has another name for its lines; in an entry, the journal's field for it."""
ERROR, NOTICE = 3, 5
"""Priorities of syslog(3)."""
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, ERROR), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
_LONGEST = 16 << 10
"""Characters of one line; a datagram takes more, but nobody reads that."""


def reads(stream: TextIO) -> bool:
    """Say whether the journal reads what is written there: $JOURNAL_STREAM names device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # Closed, or none that the kernel knows.
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def prefix(priority: int) -> str:
    """Return how a line on stderr begins where the journal reads it (sd-daemon(3)); nothing elsewhere."""
    return f"<{priority}>" if reads(sys.stderr) else ""


def priority_of(level: int) -> int:
    """Return syslog's priority of a level of logging."""
    return next((priority for least, priority in _PRIORITIES if level >= least), _DEBUG)


def datagram(fields: Mapping[str, str]) -> bytes:
    """Return an entry as the journal takes it, each value with its length before it: that form takes line breaks too.

    https://systemd.io/JOURNAL_NATIVE_PROTOCOL
    """
    parts = []
    for name, value in fields.items():
        data = value.encode(errors="replace")
        parts += [name.encode(), b"\n", len(data).to_bytes(8, "little"), data, b"\n"]
    return b"".join(parts)


class JournalHandler(logging.Handler):
    """Gives the journal each record with its fields, and waits for nobody: a journal that hangs stops no line."""

    def __init__(self, address: Path = SOCKET) -> None:
        super().__init__()
        self._address = str(address)
        self._identifier = os.environ.get(_NAMED) or "edge-inspect"
        self._lost = 0
        """Records that the journal did not take in time, since it last took one."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; where there is no such socket it goes to stderr, with its priority before it."""
        lost = f" ({self._lost} lines before it were lost: the journal did not take them)" if self._lost else ""
        line, priority = self.format(record)[:_LONGEST] + lost, priority_of(record.levelno)
        fields = {
            "MESSAGE": line,
            "PRIORITY": str(priority),
            _NAMED: self._identifier,
            "EDGE_INSPECT_PART": record.name.removeprefix("edge."),
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
        }
        try:
            self._socket.sendto(datagram(fields), self._address)
            self._lost = 0
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                self._lost += 1  # stderr would block: the journal reads that too.
                return
            try:
                print(f"<{priority}>{line}", file=sys.stderr, flush=True)
            except OSError:  # A journal that ended has let go of both.
                self._lost += 1

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
        super().close()
