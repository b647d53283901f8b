"""Exports of a ledger: every value comes back, no cell is a formula, the file is whole or not there."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import pytest
from device import assert_one_clear_line, run_inspect
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import event
from test_ledger_command import contents, spoil, write

from edge.ledger.export import as_cell, from_cell
from edge.ledger.ledger import FILE

if TYPE_CHECKING:
    from pathlib import Path

FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def test_csv_comes_back_exactly(tmp_path: Path) -> None:
    """Each verdict is a row, labels of all models are columns, and Python reads back every value that was given."""
    nasty = ['=HYPERLINK("x")', "a;=1+1", "'=x", "''@y", 'q"=1', "\t+1", "line\r\n-2", "Gr\u00fc\u00dfe", "", "x,y"]
    events = [
        msgspec.structs.replace(event(seq, labels=seq % 4 + 1), source=source)
        for seq, source in enumerate(nasty, start=1)
    ]
    write(tmp_path / FILE, events, 5)
    done = run_inspect("ledger", "export", "--ledger", tmp_path, tmp_path / "all.csv")
    assert done.returncode == 0, done.stderr
    assert "10 verdicts" in done.stderr
    with (tmp_path / "all.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for given_one, cells in zip(events, rows, strict=True):
        assert from_cell(cells["source"]) == given_one.source
        assert datetime.fromisoformat(cells["time"]) == given_one.time
        assert (cells["id"], int(cells["seq"]), cells["verdict"]) == (given_one.id, given_one.seq, given_one.verdict)
        scores = {name[6:]: float(cell) for name, cell in cells.items() if name.startswith("score_") and cell}
        assert scores == given_one.scores
        assert cells["delivered"] == str(given_one.seq <= 5).lower()
        assert cells["model"] == ""


@given(st.text(st.sampled_from("=+-@'\";,|\t\r\n ab1\uff1d"), max_size=12))
def test_no_cell_is_a_formula(text: str) -> None:
    """Whatever a spreadsheet takes for the end of a cell, none begins a formula, and the text comes back."""
    assert from_cell(as_cell(text)) == text
    line = io.StringIO()
    csv.writer(line).writerow([1, as_cell(text), "end"])
    for delimiter in ",;|\t":
        for cells in csv.reader(io.StringIO(line.getvalue(), newline=""), delimiter=delimiter):
            assert not any(cell.lstrip("\t\r\n").startswith(FORMULAS) for cell in cells), cells


def test_an_export_is_whole_or_not_there(tmp_path: Path) -> None:
    """Where a verdict cannot be read, the file of that name stays what it was, and nothing is left beside it."""
    write(tmp_path / FILE, [event(seq) for seq in range(1, 1_001)])
    spoil(tmp_path / FILE, 800)
    out = tmp_path / "out"
    out.mkdir()
    (out / "all.csv").write_text("before")
    done = run_inspect("ledger", "export", "--ledger", tmp_path, out / "all.csv")
    assert_one_clear_line(done, 10, "row 800", "ledger verify")
    assert contents(out) == {"all.csv": b"before"}
    part = run_inspect("ledger", "export", "--ledger", tmp_path, "--verdict", "DEFECT", out / "all.csv")
    assert part.returncode == 0, part.stderr
    assert_one_clear_line(run_inspect("ledger", "export", "--ledger", tmp_path, out / "no" / "a.csv"), 10, "row 800")
    wrong = run_inspect("ledger", "export", "--ledger", tmp_path, "--verdict", "DEFECT", out / "no" / "a.csv")
    assert_one_clear_line(wrong, 1, "No such file", "another path")


def test_parquet_or_one_clear_line(tmp_path: Path) -> None:
    """With pyarrow the table has every verdict with its types; without it one line names what to install."""
    write(tmp_path / FILE, [event(seq, labels=seq % 3 + 1) for seq in range(1, 12_001)], 5)
    target = tmp_path / "all.parquet"
    done = run_inspect("ledger", "export", "--ledger", tmp_path, target)
    if done.returncode:
        assert_one_clear_line(done, 3, "pip install 'edge-inspect[export]'")
        assert not target.exists()
        return
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(target).to_pylist()
    assert [each["seq"] for each in rows] == list(range(1, 12_001))
    assert rows[0]["score_label 0"] == 0.5
    assert rows[2]["score_label 2"] is None
    assert (rows[4]["delivered"], rows[5]["delivered"]) == (True, False)
    assert isinstance(rows[0]["time"], datetime)


def test_a_large_ledger_is_exported_in_little_memory(tmp_path: Path) -> None:
    """Memory does not grow with the number of verdicts."""
    code = (
        "from edge.__main__ import main; main(); "
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    peaks = []
    for count in (1_000, 40_000):
        path = tmp_path / f"{count}.db"
        write(path, [event(seq) for seq in range(1, count + 1)])
        command = [sys.executable, "-c", code, "ledger", "export", "--ledger", path, tmp_path / "x.csv"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 8
