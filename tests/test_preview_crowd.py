"""The preview's server with many browsers, slow ones, and ones that never end."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from previewing import ask, board_for, served, view_of

from edge.preview import server
from edge.preview.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.preview.board import Board

NOISE = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), np.uint8)
"""Its JPEG is as large as one gets."""
ASKED = b"GET /frame.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n"
SECONDS = 30.0


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A board that shows a frame."""
    made = board_for(tmp_path)
    made.show(view_of(NOISE))
    return made


@pytest.fixture
def port(board: Board) -> Iterator[int]:
    """Its server."""
    with served(board) as port:
        yield port


def connect(port: int) -> socket.socket:
    """Open a connection of which nothing is read yet."""
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def test_twenty_browsers_see_the_same_picture(port: int) -> None:
    """All are served, and no thread of theirs is left."""
    before = threading.active_count()
    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: ask(port, "/frame.jpg"), range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    deadline = time.monotonic() + SECONDS
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_browser_that_does_not_read_holds_up_nobody(board: Board, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are shown and others served as ever; its connection is ended before it has all that it asked for."""
    monkeypatch.setattr(server._Answer, "timeout", 0.5)
    watcher = Watcher(None)
    with connect(port) as stalled:
        stalled.sendall(ASKED * 50)
        for _ in range(5):
            began = time.monotonic()
            board.show(view_of(NOISE, watcher=watcher))
            assert ask(port, "/frame.jpg").status == 200
            assert time.monotonic() - began < SECONDS / 10
        taken = 0
        with suppress(ConnectionResetError):
            while data := stalled.recv(1 << 20):
                taken += len(data)
                time.sleep(0.6)
    assert 0 < taken < 50 * len(ask(port, "/frame.jpg").body)


def test_more_connections_than_threads_are_turned_away(port: int) -> None:
    """Those that are open stay served; further ones hear that they may come again, and can once others have gone."""
    with ExitStack() as stack:
        links = [stack.enter_context(connect(port)) for _ in range(server.MOST_CONNECTIONS)]
        for link in links:
            link.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for link in links:
            assert link.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        for _ in range(3):
            turned_away = stack.enter_context(connect(port))
            assert turned_away.recv(1 << 16).startswith(b"HTTP/1.1 503 ")
        links[0].sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert links[0].recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    deadline = time.monotonic() + SECONDS
    while ask(port, "/state").status != 200:
        assert time.monotonic() < deadline


def test_a_silent_connection_is_ended(port: int) -> None:
    """One that asks for nothing, or only half, gives its thread back."""
    with ExitStack() as stack:
        links = [stack.enter_context(connect(port)) for _ in range(3)]
        for link, beginning in zip(links, (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: local"), strict=True):
            link.sendall(beginning)
        assert [link.recv(100) for link in links] == [b"", b"", b""]
