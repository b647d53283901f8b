"""Shows how far a long run is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_WIDEST = 24
"""Values that a line shows."""


class Advance(Protocol):
    """Reports one step done; `note` is what there is to say about it, such as loss and accuracy."""

    def __call__(self, note: str = "") -> None:
        """Count one step."""


@contextmanager
def stage(title: str, total: int | None, *, done: int = 0) -> Iterator[Advance]:
    """Open one stage of `total` steps (None: nobody knows how many), on stderr; it ends with its time.

    Of these an earlier run has `done` some.
    """
    started = time.monotonic()
    if done:
        print(f"{title}: going on after {done} of {total}", file=sys.stderr)
    with (_bar if sys.stderr.isatty() else _lines)(title, total, done) as advance:
        yield advance
    print(f"{title}: done in {time.monotonic() - started:.1f} s", file=sys.stderr)


@contextmanager
def timed(title: str) -> Iterator[None]:
    """Say how long several stages took together, with what lies between them."""
    started = time.monotonic()
    yield
    print(f"{title}: done in {time.monotonic() - started:.1f} s", file=sys.stderr)


@contextmanager
def _bar(title: str, total: int | None, done: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, completed=done, note="")

        def advance(note: str = "") -> None:
            """Move the bar on by one, with a note beside it."""
            if note:
                progress.update(task, note=note)
            progress.advance(task)

        yield advance


@contextmanager
def _lines(title: str, total: int | None, done: int) -> Iterator[Advance]:
    def advance(note: str = "") -> None:
        """Count one more; what has a note is worth a line."""
        nonlocal done
        done += 1
        if note:
            of = "" if total is None else f"/{total}"
            print(f"{title} {done}{of}: {note}", file=sys.stderr, flush=True)

    yield advance


def sparkline(values: Sequence[float]) -> str:
    """Draw the last values as a line of little bars, the highest of them full; x is what is not finite."""
    last = values[-_WIDEST:]
    finite = [value for value in last if math.isfinite(value)]
    low = min(finite, default=0.0)
    span = max(finite, default=0.0) - low or 1.0
    return "".join(_bar_of((value - low) / span) if math.isfinite(value) else "x" for value in last)


def _bar_of(share: float) -> str:
    return _BARS[min(len(_BARS) - 1, int(len(_BARS) * share))]
