"""Serves the page to browsers on this device, and through ssh to those of whoever may log in to it.

Nothing can be changed through it, so that it asks for no password; but what another website makes a browser here ask
for must not get an answer: hence the look at Host (DNS rebinding) and the headers of each answer.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import sys
import threading
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from edge.errors import ConfigError, DataError
from edge.preview.drawn import to_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.preview.board import Board

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page.html")
MOST_CONNECTIONS = 32
"""Open at once, each with a thread; a browser takes two to six. Further ones are told to come back later."""
SILENT_SECONDS = 5.0
"""A browser that takes nothing, or asks for nothing, for so long loses its connection; the page makes a new one."""
WAIT_SECONDS = 2.0
"""For a newer picture, before the page is told that there is none."""
_POLL_SECONDS = 0.1
"""How soon the server notices that it is to end."""
_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
"""Whatever the port: `ssh -L` may use another one."""
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_JSON, _HTML, _TEXT = ("application/json", "text/html; charset=utf-8", "text/plain; charset=utf-8")


@contextmanager
def serving(board: Board, port: int) -> Iterator[int]:
    """Serve what is on the board to this device within this block; yields the port, which is a free one for 0.

    Raises ConfigError if the port is not to be had.
    """
    try:
        server = _Server(board, port)
    except OSError as error:
        problem = f"--port {port} is not to be had ({error.strerror}); name another, or end what uses it"
        raise ConfigError(problem) from error
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="preview", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    """A thread for each connection, and no more than MOST_CONNECTIONS of them."""

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, board: Board, port: int) -> None:
        self.board = board
        self.page = PAGE.read_bytes()
        self.policy = content_policy(self.page.decode())
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(("127.0.0.1", port), _Answer)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, or say that there is none left; waits for nobody."""
        if not self._free.acquire(blocking=False):
            with suppress(OSError):
                request.setblocking(False)
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Leave a browser that went away at that; anything else is a fault of ours."""
        if not isinstance(error := sys.exception(), OSError):
            log.error("the preview page failed", exc_info=error)


class _Answer(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = SILENT_SECONDS
    wbufsize = -1
    """Head and body in one packet."""
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer with the page, or a part of what is on the board."""
        if reason := self._refusal():
            self.close_connection = True
            self._send(HTTPStatus.FORBIDDEN, _TEXT, reason.encode())
            return
        path, _, query = self.path.partition("?")
        routes = {"/": self._page, "/state": self._state, "/frame.jpg": self._frame, "/regions": self._regions}
        route = routes.get(path)
        if route is None:
            self._send(HTTPStatus.NOT_FOUND, _TEXT, b"nothing is here; the page is at /\n")
        else:
            route(query)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def do_POST(self) -> None:
        """Refuse what would change something: nothing can be."""
        self.close_connection = True  # Its body is not read, and must not be taken for the next request.
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"only GET and HEAD\n", Allow="GET, HEAD")

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST  # noqa: N815 - http.server's names

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - http.server's arguments
        """Answer what is no request of ours; nothing of it is repeated."""
        self.close_connection = True
        self._send(HTTPStatus(code), _TEXT, f"{HTTPStatus(code).phrase}\n".encode())

    def version_string(self) -> str:
        """Name the program, not its versions."""
        return "edge-inspect"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing: a page asks several times a second."""

    def _refusal(self) -> str:
        """Return why a request is not answered; empty: it is."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0].strip()):
            named = ", ".join(hosts)[:100] or "none"
            return f"Host {named!a} is not this device's own; open the page as http://localhost\n"
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            return "a request with a body; ask without\n"
        return ""

    def _page(self, _: str) -> None:
        self._send(HTTPStatus.OK, _HTML, self.server.page, Content_Security_Policy=self.server.policy)

    def _state(self, _: str) -> None:
        self._send(HTTPStatus.OK, _JSON, msgspec.json.encode(self.server.board.state()))

    def _frame(self, query: str) -> None:
        """Send a picture that is not `after`, the number of the one that the page has."""
        after = re.fullmatch(r"after=(\d{1,18})", query)
        view = self.server.board.other(int(after[1]) if after else 0, WAIT_SECONDS)
        if view is None:
            self._send(HTTPStatus.NO_CONTENT, "", b"")
        else:
            self._send(HTTPStatus.OK, "image/jpeg", self.server.board.jpeg(view), X_Frame=str(view.number))

    def _regions(self, query: str) -> None:
        """Send the configuration's text for `drawn`."""
        try:
            (drawn,) = parse_qs(query, keep_blank_values=True, errors="strict").get("drawn", ["[]"])
            text = to_toml(drawn, self.server.board.rotate)
        except DataError as error:
            self._send(HTTPStatus.BAD_REQUEST, _TEXT, f"{error}\n".encode("utf-8", "backslashreplace"))
        except ValueError:
            self._send(HTTPStatus.BAD_REQUEST, _TEXT, b"drawn is to be there once, as JSON\n")
        else:
            self._send(HTTPStatus.OK, _TEXT, text.encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        safe = {
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in {**safe, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        if self.close_connection:
            self.send_header("Connection", "close")
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def content_policy(page: str) -> str:
    """Return the Content-Security-Policy (level 3) under which a page's own script and style work, and nothing else."""
    found = {
        kind: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for name, text in _INLINE.findall(page)
            if name == kind
        )
        for kind in ("script", "style")
    }
    inline = f"script-src {found['script']}; style-src {found['style']}; img-src data:; connect-src 'self'"
    return f"default-src 'none'; {inline}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
