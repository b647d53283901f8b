"""Shows how far a long run is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Advance(Protocol):
    """Reports one step done; `note` is what there is to say about it, such as loss and accuracy."""

    def __call__(self, note: str = "") -> None:
        """Count one step."""


@contextmanager
def stage(title: str, total: int) -> Iterator[Advance]:
    """Open one stage of `total` steps, on stderr; it ends with its time."""
    started = time.monotonic()
    with (_bar if sys.stderr.isatty() else _lines)(title, total) as advance:
        yield advance
    print(f"{title}: done in {time.monotonic() - started:.1f} s", file=sys.stderr)


@contextmanager
def _bar(title: str, total: int) -> Iterator[Advance]:
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
        task = progress.add_task(title, total=total, note="")

        def advance(note: str = "") -> None:
            if note:
                progress.update(task, note=note)
            progress.advance(task)

        yield advance


@contextmanager
def _lines(title: str, total: int) -> Iterator[Advance]:
    done = 0

    def advance(note: str = "") -> None:
        nonlocal done
        done += 1
        if note:
            print(f"{title} {done}/{total}: {note}", file=sys.stderr, flush=True)

    yield advance
