"""`edge-inspect top`: how the daemon of this device fares, live.

It asks the daemon itself, through a file in its state's folder, and not the broker: that may be what is away, and a
device's login cannot read what devices say (deploy/broker/acl). From elsewhere it goes through `ssh -t`.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from edge import config as configs
from edge.command import add_config, ended_as_interrupted
from edge.contract.messages import encode
from edge.errors import InspectError
from edge.live import screen
from edge.live.snapshot import FILE, fetch
from edge.state import candidates

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from edge.config import Config
    from edge.live.snapshot import Snapshot

SECONDS = 1.0
"""Between two looks."""
_WHOLE, _END = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""To a screen of our own without a cursor, and back (xterm's control sequences)."""
_HOME, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
_TALL = 1_000
"""Lines, where there is no terminal that could be full."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    add_config(parser)
    parser.add_argument("--once", action="store_true", help="show it once, as plain text where it goes to a file")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with all that is known")


def run(arguments: argparse.Namespace) -> int:
    """Show it until Ctrl-C, which is how this ends; returns 0.

    With `--once` raises InspectError if no daemon answers, which is waited for else.
    """
    config = configs.load(arguments.config)
    if arguments.once:
        _print(_ask(config), as_json=arguments.json)
        return 0
    try:
        with ended_as_interrupted():
            if _is_screen() and not arguments.json:
                _live(config)
            _follow(config, as_json=arguments.json)
    except KeyboardInterrupt:
        return 0


def _ask(config: Config) -> Snapshot:
    """Ask the daemon: of the service's and of one that was run by hand, whose file may be left, the one that answers.

    Raises InspectError if none does.
    """
    first, *others = candidates(config, FILE)
    try:
        return fetch(first)
    except InspectError:
        for other in others:
            with suppress(InspectError):
                return fetch(other)
        raise


def _follow(config: Config, *, as_json: bool) -> NoReturn:
    """Print again and again, for a file or another program; while no daemon answers one line on stderr says so."""
    said = ""
    while True:
        try:
            _print(_ask(config), as_json=as_json)
            said = ""
        except InspectError as error:
            if str(error) != said:
                print(f"edge-inspect: {error}", file=sys.stderr)
            said = str(error)
        time.sleep(SECONDS)


def _print(seen: Snapshot, *, as_json: bool) -> None:
    if as_json:
        print(encode(seen).decode(), flush=True)
        return
    width = _size().columns if sys.stdout.isatty() else _TALL
    print("\n".join(screen.lines(seen, width, _TALL, colour=_has_colour())), end="\n\n", flush=True)


def _live(config: Config) -> NoReturn:
    """Draw again and again, at once when the terminal gets another size."""
    with _own_screen() as wait:
        while True:
            size = _size()
            # Without the last column and line: no terminal wraps or scrolls then.
            drawn = _drawn(config, size.columns - 1, size.lines - 1)
            sys.stdout.write(_HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in drawn) + _REST)
            sys.stdout.flush()
            wait()


def _size() -> os.terminal_size:
    """Return what the terminal says, and not COLUMNS and LINES, which stay as they were when it gets another size."""
    with suppress(OSError):
        size = os.get_terminal_size(sys.stdout.fileno())
        if size.columns and size.lines:
            return size
    return shutil.get_terminal_size()  # Of a serial line, which knows none, by the variables.


def _drawn(config: Config, width: int, height: int) -> list[str]:
    try:
        return screen.lines(_ask(config), width, height, colour=_has_colour())
    except InspectError as error:
        return screen.wrapped(f"{error}", width, height)


@contextmanager
def _own_screen() -> Iterator[Callable[[], object]]:
    """Take the terminal for a while; gives what waits for the next time to draw."""
    heard, signals = socket.socketpair()
    heard.setblocking(False)
    signals.setblocking(False)
    handler = signal.signal(signal.SIGWINCH, lambda *_: None)  # It only has to be heard of.
    before = signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)

    def wait() -> None:
        if select.select([heard], [], [], SECONDS)[0]:
            heard.recv(4096)

    sys.stdout.write(_WHOLE)
    try:
        yield wait
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGWINCH, handler)
        heard.close()
        signals.close()
        sys.stdout.write(_END)
        sys.stdout.flush()


def _is_screen() -> bool:
    """Say whether it goes to a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _has_colour() -> bool:
    """Say whether it may be coloured: https://no-color.org."""
    return _is_screen() and not os.environ.get("NO_COLOR")
