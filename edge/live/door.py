"""A socket on the device itself, at which the daemon says how it fares. Whoever asks cannot disturb the judging."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, TypeAlias

from edge.live.snapshot import short

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

Place: TypeAlias = "Callable[[], socket.socket]"
Hear: TypeAlias = "Callable[[OSError | None], None]"
Answer: TypeAlias = "Callable[[socket.socket, float], None]"

HOST = "127.0.0.1"
PATIENCE_SECONDS = 1.0
"""For one who asks, from coming to going; whoever is slower has nothing."""
PAUSE_SECONDS = 0.05
"""Behind each: who asks as often as possible still takes little of the processor."""
AGAIN_SECONDS = 10.0
"""Until a file that could not be made, or a port that was taken, is tried again."""
_CLOSE_SECONDS = 0.1
"""At an end: who is just being answered is left to the end of the process."""
_LONGEST_REQUEST = 8 << 10
_BACKLOG = 8
_METRICS = "/metrics"
_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class Door:
    """Answers one caller after the other, in a thread of its own."""

    def __init__(self, place: Place, answer: Answer, hear: Hear = lambda _: None) -> None:
        """Begin to listen at `place`; where that raises OSError it is tried again, and `hear` hears of it, None: it is.

        `answer` speaks to a caller until the deadline on the monotonic clock, and may raise OSError.
        """
        self._place = place
        self._answer = answer
        self._hear = hear
        self._stopped = threading.Event()
        self._listener = self._listening()
        self._thread = threading.Thread(target=self._run, name="door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let nobody in any more."""
        self._stopped.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(_CLOSE_SECONDS)
        if self._listener is not None:
            self._listener.close()

    def _listening(self) -> socket.socket | None:
        try:
            listener = self._place()
        except OSError as error:
            self._hear(error)
            return None
        self._hear(None)
        return listener

    def _run(self) -> None:
        while not self._stopped.is_set():
            if self._listener is not None:
                self._let_in(self._listener)
            elif not self._stopped.wait(AGAIN_SECONDS):
                self._listener = self._listening()

    def _let_in(self, listener: socket.socket) -> None:
        try:
            caller, _ = listener.accept()
        except OSError:  # No more descriptors, or it is closed.
            self._stopped.wait(PATIENCE_SECONDS)
            return
        with caller, contextlib.suppress(OSError):
            caller.settimeout(PATIENCE_SECONDS)
            self._serve(caller)
        self._stopped.wait(PAUSE_SECONDS)

    def _serve(self, caller: socket.socket) -> None:
        try:
            self._answer(caller, time.monotonic() + PATIENCE_SECONDS)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - no caller, and no fault of ours in an answer, ends the judging
            log.warning("who asked how the device fares got no answer: %r", error)


def at_file(path: Path) -> socket.socket:
    """Listen at a file, in the place of an earlier life's; raises OSError. Who may use it, the file's mode says."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short(new) as name:
            listener.bind(name)
        new.chmod(0o600)
        listener.listen(_BACKLOG)
        new.replace(path)  # Only now: whoever finds it is answered.
    except OSError:
        listener.close()
        raise
    return listener


def at_port(port: int) -> socket.socket:
    """Listen at a TCP port, for this device's own programs only; raises OSError."""
    return socket.create_server((HOST, port), backlog=_BACKLOG)


def tell(data: Callable[[], bytes]) -> Answer:
    """Return an answer that says it at once, to whoever comes."""

    def answer(caller: socket.socket, deadline: float) -> None:
        _send(caller, data(), deadline)

    return answer


def serve_metrics(text: Callable[[], str]) -> Answer:
    """Return an answer to HTTP's GET /metrics: as much of HTTP/1.1 (RFC 9112) as Prometheus and a browser need."""

    def answer(caller: socket.socket, deadline: float) -> None:
        status = status_of(_request(caller, deadline))
        body = text().encode() if status.startswith("200") else f"{status}; see {_METRICS}\n".encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {_FORMAT}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        _send(caller, f"{head}\r\n".encode() + body, deadline)

    return answer


def status_of(request: bytes) -> str:
    """Return the status that answers a request's head."""
    words = request.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1.") or b"\r\n\r\n" not in request:  # noqa: PLR2004
        return "400 Bad Request"
    if words[0] != b"GET":
        return "405 Method Not Allowed"
    return "200 OK" if words[1].partition(b"?")[0] == _METRICS.encode() else "404 Not Found"


def _request(caller: socket.socket, deadline: float) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _LONGEST_REQUEST:
        caller.settimeout(_left(deadline))
        part = caller.recv(_LONGEST_REQUEST)
        if not part:
            break
        data += part
    return data


def _send(caller: socket.socket, data: bytes, deadline: float) -> None:
    """Send all of it; Python's `sendall` takes its time-out for the whole."""
    caller.settimeout(_left(deadline))
    caller.sendall(data)


def _left(deadline: float) -> float:
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    return left
