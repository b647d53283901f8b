"""One table of figures, each with its limit beside it; shared by the benchmarks of the training line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Line(NamedTuple):
    """One figure; `met` is None where there is no limit to meet."""

    what: str
    figure: str
    limit: str = ""
    met: bool | None = None


def show(title: str, lines: Sequence[Line]) -> int:
    """Print the table and whether every limit was met; returns the exit code, 1 if one was not."""
    verdicts = {None: "", True: "met", False: "NOT MET"}
    rows = [(line.what, line.figure, line.limit, verdicts[line.met]) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    print(f"\n{title}")
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        print(f"  {'   '.join(cells)}   {row[3]}".rstrip())
    missed = any(line.met is False for line in lines)
    print("NOT MET" if missed else "met", flush=True)
    return int(missed)


def spread(shares: Sequence[float]) -> str:
    """Say the mean of shares 0-1, and between which they lie."""
    mean = sum(shares) / len(shares)
    return f"{mean:.2%}" + (f" ({min(shares):.2%} to {max(shares):.2%})" if len(shares) > 1 else "")


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows a script's docstring as it stands."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def seeds(program: argparse.ArgumentParser, count: int) -> None:
    """Add --seeds: how many runs there are, with the seeds 1, 2, ..."""
    program.add_argument("--seeds", type=int, default=count, metavar="N", help=f"runs, seeds 1 to N (default {count})")
