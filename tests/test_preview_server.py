"""The preview's server as browsers, and what is none, meet it: real HTTP over loopback."""

from __future__ import annotations

import socket
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from previewing import TRAY, ask, board_for, served, view_of

from edge.preview import server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.preview.board import Board

PART = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A board that shows a frame."""
    made = board_for(tmp_path, camera={"kind": "synthetic", "rotate": 90}, regions=[TRAY])
    made.show(view_of(PART))
    return made


@pytest.fixture
def port(board: Board) -> Iterator[int]:
    """Its server."""
    with served(board) as port:
        yield port


@pytest.fixture(scope="module")
def lasting() -> Iterator[int]:
    """A server for many examples of one test."""
    with served(board_for(Path())) as port:
        yield port


def raw(port: int, request: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        link.sendall(request)
        return b"".join(iter(lambda: link.recv(1 << 16), b""))


class Parts(HTMLParser):
    """What a page loads, and what runs in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "action"}]
        self.inline += [f"{tag} {name}" for name, _ in attrs if name == "style" or name.startswith("on")]


def test_the_page_is_whole_and_its_policy_lets_nothing_else_in(port: int) -> None:
    """It loads nothing from anywhere, and no script or style but its own may run, in no frame of another page."""
    answer = ask(port, "/")
    page = answer.body.decode()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    parts = Parts(page)
    assert (parts.addresses, parts.inline) == (["data:,"], [])
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "innerHTML" not in page
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert policy.endswith("frame-ancestors 'none'")


def test_the_policy_is_of_the_pages_own_script() -> None:
    """Another script has another hash (the example is that of the specification's authors, for an alert)."""
    assert "script-src 'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='" in server.content_policy(
        "<script>alert('Hello, world.');</script>"
    )


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8765", "[::1]", "[::1]:9"])
def test_it_is_reached_by_the_names_of_this_device_itself(port: int, host: str) -> None:
    """At whatever port: ssh may bring it to another one."""
    assert ask(port, "/state", Host=host).status == 200


@pytest.mark.parametrize(
    "lines",
    [
        b"Host: evil.example\r\n",
        b"Host: localhost.evil.example\r\n",
        b"Host: 127.0.0.1.evil.example:8765\r\n",
        b"Host: localhost:8765, evil.example\r\n",
        b"Host: localhost@evil.example\r\n",
        b"Host: 127.0.0.2\r\n",
        b"Host: localhost\r\nHost: evil.example\r\n",
        b"Host:\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("path", [b"/", b"/state", b"/frame.jpg", b"/nothing"])
def test_another_name_is_refused(port: int, lines: bytes, path: bytes) -> None:
    """A website whose name was made to mean this device gets nothing of it (DNS rebinding), only the remedy."""
    head, _, body = raw(port, b"GET " + path + b" HTTP/1.1\r\n" + lines + b"\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close" in head
    assert body.startswith(b"Host ")
    assert body.endswith(b"open the page as http://localhost\n")
    assert body.count(b"\n") == 1


@pytest.mark.parametrize(
    "path",
    [
        "/..",
        "/../../etc/passwd",
        "/%2e%2e/page.html",
        "/page.html",
        "//etc/passwd",
        "/state/",
        "/frame.jpg/../state",
        "http://localhost/state",
        "*",
        "/\x7f",
        "/regions/%00",
    ],
)
def test_there_is_nothing_but_the_page(port: int, path: str) -> None:
    """No path leads to a file."""
    answer = raw(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"nothing is here; the page is at /\n")


@pytest.mark.parametrize("path", ["/", "/state", "/frame.jpg", "/regions", "/nothing"])
def test_a_head_is_the_same_without_its_body(port: int, path: str) -> None:
    """HEAD says what GET would, but for the time that went by."""
    whole, head = ask(port, path), ask(port, path, "HEAD")
    moving = {"Date", "Content-Length"} if path == "/state" else {"Date"}
    assert head.status == whole.status
    assert head.body == b""
    assert {k: v for k, v in head.headers.items() if k not in moving} == {
        k: v for k, v in whole.headers.items() if k not in moving
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(port: int, method: str) -> None:
    """Other methods are refused, and what follows on the connection is not taken for a request."""
    body = b"GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answer = raw(port, head + body)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET, HEAD\r\n" in answer
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"501"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nGET /", b"403"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"403"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
    ],
)
def test_what_is_no_request_is_refused(port: int, request_: bytes, status: bytes) -> None:
    """In one line, and the connection ends."""
    answer = raw(port, request_)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert body.count(b"\n") == 1


def test_what_is_no_http_gets_no_more_than_a_line() -> None:
    """Nothing of it is repeated, for whatever may read it."""
    with served(board_for(Path())) as port:
        assert raw(port, b"<script>\r\n\r\n") == b"Bad Request\n"


@given(data=st.binary(max_size=200))
def test_bytes_of_any_kind_do_not_end_it(lasting: int, data: bytes) -> None:
    """Whatever one connection sends, the next is served."""
    with socket.create_connection(("127.0.0.1", lasting), timeout=30) as link:
        link.sendall(data)
    assert ask(lasting, "/state").status == 200


def test_regions_are_told_as_configuration(port: int) -> None:
    """What is drawn on the turned picture comes back as text, counted in the frame; a mistake as one line."""
    drawn = '[{"name":"a","x":0,"y":0,"width":0.5,"height":0.25,"rows":3,"columns":1}]'
    answer = ask(port, f"/regions?drawn={drawn}".replace('"', "%22"))
    text = '[[regions]]\nname = "a"\nx = 0\ny = 0.5\nwidth = 0.25\nheight = 0.5\nrows = 1\ncolumns = 3\n'
    assert (answer.status, answer.body.decode()) == (200, text)
    for query in ("drawn=[{}]", "drawn=", "drawn=[]&drawn=[]", "drawn=%ff"):
        refused = ask(port, f"/regions?{query}")
        assert refused.status == 400
        assert refused.body.count(b"\n") == 1
    assert ask(port, "/regions").body == b""
