"""The log where it is no journal's: lines go to whoever reads them, and hold up nobody where nobody does."""

from __future__ import annotations

import os
import pty
import threading
import time
from typing import TYPE_CHECKING

import pytest
from spark_host import until
from test_logs import record

from edge.logs import MOST_UNREAD, Calm, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE = "x" * (1 << 17)
"""More than a pipe takes."""


def test_the_last_lines_are_written_before_the_end() -> None:
    """A program that ends waits for what a busy machine has not written yet."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", 0) as read, os.fdopen(writer, "w") as stream:
        handler = Calm(Stream(stream))
        handler.handle(record(LARGE))
        handler.handle(record("the last"))
        said: list[bytes] = []
        slow = threading.Thread(target=lambda: said.extend(iter(lambda: read.read(1 << 12), b"")))
        slow.start()
        handler.close()
        stream.close()
        slow.join()
    assert b"".join(said).decode().splitlines() == [LARGE, "the last"]


def test_an_end_waits_once_for_who_reads_nothing() -> None:
    """An end with a log that nobody reads takes little longer, though it is wound up by several."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as read, os.fdopen(writer, "w") as stream:
        handler = Calm(Stream(stream))
        handler.handle(record(LARGE))
        began = time.monotonic()
        for _ in range(5):
            handler.flush()
        took = time.monotonic() - began
        assert read.readline() == f"{LARGE}\n".encode()
    assert 0.5 <= took < 1


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("pair", [os.pipe, pty.openpty])
def test_a_log_that_nobody_reads_holds_up_no_line(pair: Callable[[], tuple[int, int]], *, waits: bool) -> None:
    """What a terminal or a pipe did not take is written, whole, once somebody reads; what was too much is counted."""
    reader, writer = pair()
    os.set_blocking(writer, waits)  # As another program that has the same terminal may leave it.
    with os.fdopen(reader, "rb", 0) as read, os.fdopen(writer, "w") as stream:
        handler, sent = Stream(stream), 0
        while handler._lost < 3:
            assert sent < 3 * MOST_UNREAD, "lines are lost, and not counted"
            handler.handle(record(f"{sent} {'é' * 3000}"))
            sent += 1
        said = b""
        while b"lost" not in said:
            said += read.read(1 << 16)
        until(lambda: handler._writer is None)
        handler.handle(record("again"))
        more = read.read(1 << 16)
    *lines, last = said.decode().splitlines()
    assert lines == [f"{number} {'é' * 3000}" for number in range(sent - 3)]
    assert len(lines) > MOST_UNREAD
    assert last == "(3 lines behind this one were lost: nobody read them)"
    assert more.split() == [b"again"]
