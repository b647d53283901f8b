"""A ledger's verdicts as a table: CSV that spreadsheets may open, or Parquet. One column a label, whatever models ran.

Verdicts are read twice, for the labels and for the rows: a ledger does not fit in memory.
"""

from __future__ import annotations

import csv
import io
import os
import re
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import msgspec

from edge.errors import ConfigError
from edge.ledger.listing import event_of
from edge.ledger.reading import counted, entries
from edge.ledger.rows import Row
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from edge.contract.messages import Event, Verdict
    from edge.ledger.reading import Reader
    from edge.ledger.store import Span

Cells: TypeAlias = dict[str, Any]

SCORE = "score_"
_LATENCY = "latency_"
_TEXTS = (
    *("id", "boot_id", "camera", "region", "trigger", "source", "verdict", "frame_verdict", "reason", "label"),
    "model",
)
_FLAGS = ("clock_synced", "delivered")
_NUMBERS = ("score", "threshold", *(f"{_LATENCY}{stage}_ms" for stage in ("wait", "preprocess", "invoke", "total")))
_COLUMNS = ("seq", "time", *_TEXTS, *_FLAGS, *_NUMBERS)
_GROUP = 5_000
"""Rows in one group of a Parquet file."""
_FORMULA = re.compile(r"(^|[;,|\x22\t\r\n])('*)([=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet may begin a formula: at a cell's begin, or behind what it may take for the end of one."""


def as_cell(text: str) -> str:
    """Return a text with an apostrophe before what a spreadsheet could take for a formula (OWASP: CSV Injection)."""
    return _FORMULA.sub(r"\1\2'\3", text)


def from_cell(cell: str) -> str:
    """Return the text that `as_cell` had."""
    return _FORMULA.sub(lambda found: found[1] + found[2][1:] + found[3], cell)


class Selection(Record, frozen=True):
    """Verdicts of a ledger: of a span, of one kind or of all; the broker has those up to `delivered`."""

    store: Reader
    span: Span
    verdict: Verdict | None
    delivered: int

    def rows(self) -> Iterator[Row]:
        """Yield them in order."""
        return (entry for entry in entries(self.store, self.span, self.verdict) if isinstance(entry, Row))


def export(chosen: Selection, path: Path) -> int:
    """Write a table to a file ending in .csv or .parquet, all of it or nothing; returns how many verdicts that are."""
    parquet = path.suffix.lower() == ".parquet"
    if parquet:
        _need_pyarrow()
    labels: dict[str, None] = {}
    for event in map(event_of, counted(chosen.rows(), "looking for labels")):
        labels.update(dict.fromkeys(event.scores))
    scores = [f"{SCORE}{label}" for label in labels]
    write = _write_parquet if parquet else _write_csv
    count = 0

    def cells() -> Iterator[Cells]:
        nonlocal count
        for count, row in enumerate(counted(chosen.rows(), "writing"), start=1):  # noqa: B007 - it is returned
            yield _cells(event_of(row), row.seq, row.seq <= chosen.delivered)

    with _whole(path) as file:
        write(file, scores, cells())
    return count


def _cells(event: Event, seq: int, delivered: bool) -> Cells:  # noqa: FBT001 - what the broker has
    cells = {name: getattr(event, name) for name in ("time", "clock_synced", "score", "threshold")}
    cells |= {name: None if (value := getattr(event, name)) is None else str(value) for name in _TEXTS}
    cells |= {f"{_LATENCY}{stage}_ms": took for stage, took in msgspec.structs.asdict(event.latency_ms).items()}
    cells |= {f"{SCORE}{label}": score for label, score in event.scores.items()}
    return {**cells, "seq": seq, "delivered": delivered}


def _write_csv(file: BinaryIO, scores: list[str], rows: Iterable[Cells]) -> None:
    # Spreadsheets take a file for Unicode by its byte order mark only.
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    columns = (*_COLUMNS, *scores)
    writer = csv.writer(text)
    writer.writerow(map(as_cell, columns))
    for cells in rows:
        writer.writerow(_csv_cell(cells.get(column)) for column in columns)
    text.flush()
    text.detach()


def _csv_cell(value: Any) -> Any:
    match value:
        case str():
            return as_cell(value)
        case bool():
            return str(value).lower()
        case None | int() | float():
            return value
    return value.isoformat()


def _need_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401 - 40 MB, not of a device
    except ImportError as error:
        raise ConfigError("Parquet needs pyarrow: pip install 'edge-inspect[export]'; or export a .csv") from error


def _write_parquet(file: BinaryIO, scores: list[str], rows: Iterator[Cells]) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    kinds = [("seq", pa.int64()), ("time", pa.timestamp("us", tz="UTC")), *((name, pa.string()) for name in _TEXTS)]
    kinds += [(name, pa.bool_()) for name in _FLAGS] + [(name, pa.float64()) for name in (*_NUMBERS, *scores)]
    schema = pa.schema(kinds)
    with ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, _GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside, that takes this name when all is written, and else leaves nothing."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with fresh.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
