"""`edge-inspect preview`, as a process and as a server in this one, for tests."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from device import inspect_command

from edge.camera.base import Frame
from edge.config import parse
from edge.preview.board import Board
from edge.preview.server import serving
from edge.preview.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from edge.contract.preprocess import ChannelOrder, Pixels
    from edge.preview.state import View

SECONDS = 60.0
TRAY = {"name": "tray", "x": 0.5, "y": 0.0, "width": 0.5, "height": 0.25, "rows": 1, "columns": 2}


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask a server on this machine, on a connection of its own."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        link.request(method, path, headers=headers)
        answer = link.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        link.close()


def state(port: int) -> dict[str, Any]:
    """Return what the page is told."""
    found: dict[str, Any] = json.loads(ask(port, "/state").body)
    return found


def wait_for(port: int, enough: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return the state once it is enough."""
    deadline = time.monotonic() + SECONDS
    while not enough(found := state(port)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


class Preview(NamedTuple):
    """A running command."""

    process: subprocess.Popen[str]
    port: int
    said: str


@contextmanager
def running_preview(config: Path, environment: Mapping[str, str] | None = None, port: int = 0) -> Iterator[Preview]:
    """Run the command until its page can be had; it is gone afterwards, whatever the test did."""
    process = subprocess.Popen(
        inspect_command("preview", "--config", config, "--port", port),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            raise AssertionError(process.communicate()[1])
        yield Preview(process, int(said.partition("localhost:")[2].partition(",")[0]), said + process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def board_for(folder: Path, **table: Any) -> Board:
    """Return the board of a device with such a configuration."""
    return Board(parse({"bundle": "b", "camera": {"kind": "synthetic"}, **table}, folder / "device.toml"))


def view_of(pixels: Pixels, order: ChannelOrder = "RGB", watcher: Watcher | None = None) -> View:
    """Measure one frame, with these pixels."""
    return (watcher or Watcher(None)).view(Frame(1, "1", time.monotonic(), pixels, order))


@contextmanager
def served(board: Board) -> Iterator[int]:
    """Serve a board in this process; yields the port."""
    with serving(board, 0) as port:
        yield port
