"""`edge-inspect ledger`: what the operator sees at three in the morning, while the daemon runs or of a copy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from device import assert_one_clear_line, inspect_command, run_inspect, write_config
from ledger_samples import event, make_ledger, row
from test_ledger import opened as writing

from edge.contract.messages import Event, Gap, Verdict, encode
from edge.ledger.ledger import FILE
from edge.ledger.rows import Marks, Row
from edge.ledger.store import Store
from edge.ledger.wal import log_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65_534


def seqs(done: subprocess.CompletedProcess[str]) -> list[int]:
    """Return the numbers of the verdicts that --json printed."""
    assert done.returncode == 0, done.stderr
    return [line["seq"] for line in map(json.loads, done.stdout.splitlines()) if "seq" in line]


def write(path: Path, events: list[Event], delivered: int = 0, gaps: tuple[Gap, ...] = ()) -> None:
    """Write a ledger of these verdicts."""
    store = Store(path)
    store.add([Row(each.seq, each.verdict, encode(each)) for each in events], gaps, Marks(delivered))
    store.close()


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Return a folder that everybody may read: pytest's own are this user's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_live_ledger_is_shown_and_left_alone(tmp_path: Path) -> None:
    """While the daemon writes, what is on the disk is listed and verified, and no file comes, goes or stays locked."""
    with writing(tmp_path) as (ledger, heard):
        for number in range(1, 101):
            ledger.append(event(number))
        heard.wait_for(100)
        ledger.flush(20)
        before = sorted(contents(tmp_path))
        assert seqs(run_inspect("ledger", "list", "--ledger", tmp_path, "--json")) == list(range(81, 101))
        verified = run_inspect("ledger", "verify", "--ledger", tmp_path / FILE)
        assert (verified.returncode, verified.stdout.splitlines()[-1]) == (0, "in order")
        assert sorted(contents(tmp_path)) == before
        ledger.append(event(101, Verdict.DEFECT))
        heard.wait_for(101)
    assert not log_of(tmp_path / FILE).exists(), "somebody still had the file open"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
@pytest.mark.parametrize("beside", ["live", "crashed", "log", "closed"])
def test_whoever_may_read_may_look(open_path: Path, beside: str) -> None:
    """A user who may read the files and write nowhere sees all, of a running daemon, a killed one or a copy."""
    state, copied = open_path / "state", open_path / "copied"
    state.mkdir()
    with writing(state) as (ledger, heard):
        for number in range(1, 31):
            ledger.append(event(number))
        heard.wait_for(30)
        ledger.flush(20)
        shutil.copytree(state, copied)
        if beside == "live":
            assert seqs(as_nobody("ledger", "list", "--ledger", state, "--json", "-n", 30)) == list(range(1, 31))
    if beside == "log":
        (copied / f"{FILE}-shm").unlink()
    shown = state if beside == "closed" else copied
    before = contents(shown)
    assert seqs(as_nobody("ledger", "list", "--ledger", shown, "--json", "-n", 30)) == list(range(1, 31))
    assert contents(shown) == before


def as_nobody(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `edge-inspect` as a user without rights."""
    command = inspect_command(*arguments)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, user=NOBODY, group=NOBODY, extra_groups=[]
    )


def test_a_copy_is_read_and_stays_as_it_is(tmp_path: Path) -> None:
    """A copy of the file, with its log or without, is read to the last verdict, and nothing of it changes."""
    for name in "abc":
        (tmp_path / name).mkdir()
    with writing(tmp_path / "a") as (ledger, heard):
        for number in range(1, 31):
            ledger.append(event(number))
        heard.wait_for(30)
        ledger.flush(20)
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / "a" / f"{FILE}{suffix}", tmp_path / "b" / f"{FILE}{suffix}")
    shutil.copy(tmp_path / "a" / FILE, tmp_path / "c" / "x.db")
    for path in (tmp_path / "b", tmp_path / "c" / "x.db"):
        folder = path if path.is_dir() else path.parent
        before = contents(folder)
        assert seqs(run_inspect("ledger", "list", "--ledger", path, "--json", "-n", "100")) == list(range(1, 31))
        assert run_inspect("ledger", "verify", "--ledger", path).returncode == 0
        assert contents(folder) == before


def test_the_table_says_what_matters(tmp_path: Path) -> None:
    """Time with its zone or a doubt, number, verdict, whether the broker has it, source; and gaps in their place."""
    unsure = msgspec.structs.replace(event(3), clock_synced=False, source="a\x1b[31m\n.png")
    gap = Gap(first=4, last=9, reason="shed", verdicts={Verdict.PASS: 5, Verdict.UNKNOWN: 1})
    write(tmp_path / FILE, [event(1), event(2), unsure, event(10, Verdict.DEFECT)], 2, (gap,))
    done = run_inspect("ledger", "list", "--ledger", tmp_path, "--utc")
    title, *lines = done.stdout.splitlines()
    assert title.startswith("time (UTC) ")
    assert [line.split()[2:5] for line in lines if "shed" not in line] == [
        ["1", "PASS", "delivered"],
        ["2", "PASS", "delivered"],
        ["3", "PASS", "waiting"],
        ["10", "DEFECT", "waiting"],
    ]
    assert lines[3].split() == [*["4-9", "gap", "waiting", "6", "verdicts", "shed:", "PASS", "5,", "UNKNOWN", "1"]]
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+00:00 ", lines[0])
    assert "+00:00? " in lines[2]
    assert r"a\x1b[31m\n.png" in lines[2]


def test_filters_choose_by_kind_count_and_time(tmp_path: Path) -> None:
    """The newest of a kind, or of a time: an unsynchronised verdict belongs to the next that is, whatever it says."""
    begin = datetime(2027, 1, 1, tzinfo=UTC)
    events = [
        msgspec.structs.replace(
            event(seq, Verdict.DEFECT if seq % 10 == 0 else Verdict.PASS),
            time=begin + timedelta(minutes=seq) - timedelta(days=3650 if seq % 7 == 0 else 0),
            clock_synced=seq % 7 != 0,
        )
        for seq in range(1, 501)
    ]
    write(tmp_path / FILE, events)

    def listed(*options: object) -> list[int]:
        return seqs(run_inspect("ledger", "list", "--ledger", tmp_path, "--json", *options))

    assert listed("--verdict", "defect", "-n", 3) == [480, 490, 500]
    since, until = (f"{begin + timedelta(minutes=minute):%Y-%m-%dT%H:%MZ}" for minute in (100, 120))
    assert listed("--since", since, "--until", until, "-n", 1000) == list(range(100, 119))  # 119: as 120
    assert listed("--since", since, "--until", until, "--verdict", "DEFECT") == [100, 110]
    assert listed("--since", "2026-01-01", "-n", 1000) == list(range(1, 501))
    assert listed("--until", "2026-01-01") == []


def spoil(path: Path, seq: int) -> None:
    """Change a byte of a verdict, as a worn card does."""
    store = Store(path)
    body = bytearray(store._all("SELECT body FROM event WHERE seq = ?", seq)[0][0])
    body[2] ^= 0x10
    store._all("UPDATE event SET body = ? WHERE seq = ?", bytes(body), seq)
    store.close()


def test_verify_names_every_problem_and_its_remedy_works(tmp_path: Path) -> None:
    """Damaged rows, numbers that nothing explains: a line each, exit code 10; after the remedy all is in order."""
    path = tmp_path / FILE
    make_ledger(path, 900)
    for seq in (30, 500, 777):
        spoil(path, seq)
    store = Store(path)
    store._all("DELETE FROM event WHERE seq BETWEEN 600 AND 620 OR seq BETWEEN 50 AND 60")
    store.add([row(905)], [Gap(first=901, last=904, reason="shed", verdicts={})], Marks(100))
    store.close()
    (tmp_path / "ledger-damaged-1.db").write_bytes(bytes(1 << 20))
    done = run_inspect("ledger", "verify", "--ledger", tmp_path)
    problems = [line for line in done.stdout.splitlines() if line.startswith("PROBLEM")]
    assert_one_clear_line(done, 10, "4 problems")
    assert [" ".join(line.split()[1:5]) for line in problems] == [
        "row 30 is damaged",
        "row 500 is damaged",
        "row 777 is damaged",
        "no verdict has the",
    ]
    assert "numbers 600 to 620" in problems[3]
    assert "ledger-damaged-1.db, 1.0 MiB" in done.stdout
    assert "901 to 904" in done.stdout
    remedy = f"touch {tmp_path / 'ledger.repair'}, start the daemon anew"
    assert all(remedy in line for line in problems)
    (tmp_path / "ledger.repair").touch()
    with writing(tmp_path):
        pass
    mended = run_inspect("ledger", "verify", "--ledger", tmp_path)
    assert mended.returncode == 0, mended.stdout
    assert [line.split()[1:4] for line in mended.stdout.splitlines() if line.startswith("gap")] == [
        ["500", "to", "500:"],
        ["600", "to", "620:"],
        ["777", "to", "777:"],
        ["901", "to", "904:"],
    ]
    assert not (tmp_path / "ledger.repair").exists()


def test_verify_sees_what_sqlite_sees(tmp_path: Path) -> None:
    """A file cut off, a page blanked, or no ledger at all: one clear end with exit code 10, whatever is broken."""
    make_ledger(tmp_path / FILE, 2_000)
    whole = (tmp_path / FILE).read_bytes()
    spoiled = [whole[: len(whole) // 2], whole[:20_480] + bytes(512) + whole[20_992:], b"", b"no ledger", whole[:100]]
    for number, data in enumerate(spoiled):
        (tmp_path / FILE).write_bytes(data)
        done = run_inspect("ledger", "verify", "--ledger", tmp_path)
        assert_one_clear_line(done, 10, FILE)
        assert "PROBLEM" in done.stdout or number in (2, 3), done.stdout
        assert_one_clear_line(run_inspect("ledger", "list", "--ledger", tmp_path, "-n", 5_000), 10, FILE)
    assert_one_clear_line(run_inspect("ledger", "list", "--ledger", tmp_path / "none"), 10, "no such ledger")


@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal", f"{FILE}-shm"])
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_said_at_once(tmp_path: Path, name: str, kind: str) -> None:
    """A pipe or a folder in a file's place is one line with the remedy, and nothing waits for it."""
    make_ledger(tmp_path / FILE, 10)
    path = tmp_path / name
    path.unlink(missing_ok=True)
    (os.mkfifo if kind == "pipe" else os.mkdir)(path)
    for action in (["list"], ["verify"], ["export", tmp_path / "all.csv"]):
        done = run_inspect("ledger", *action, "--ledger", tmp_path)
        assert_one_clear_line(done, 10, f"{path} is no plain file; move it away")


def test_a_hole_of_gigabytes_is_no_ledger(tmp_path: Path) -> None:
    """4 GiB of nothing is told from a ledger by its beginning."""
    (tmp_path / FILE).touch()
    os.truncate(tmp_path / FILE, 4 << 30)
    for action in (["list"], ["verify"], ["export", tmp_path / "all.csv"]):
        done = run_inspect("ledger", *action, "--ledger", tmp_path)
        assert_one_clear_line(done, 10, f"{tmp_path / FILE} is no ledger; name")


def test_the_configuration_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config finds the daemon's ledger and its budget, and makes no folder where there is none."""
    config = write_config(tmp_path / "d.toml", bundle=tmp_path, camera={"kind": "synthetic"}, mqtt={})
    assert_one_clear_line(run_inspect("ledger", "list", "--config", config), 3, str(tmp_path / "state"), "sudo")
    assert not (tmp_path / "state").exists()
    (tmp_path / "state").mkdir()
    write(tmp_path / "state" / FILE, [event(1)])
    assert "of 512.0 MiB" in run_inspect("ledger", "verify", "--config", config).stdout
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    config.write_text(config.read_text().replace('state_dir = "state"\n', ""))
    (tmp_path / "xdg").mkdir()
    shutil.move(tmp_path / "state", tmp_path / "xdg" / "edge-inspect")
    assert seqs(run_inspect("ledger", "list", "--config", config, "--json")) == [1]


@pytest.mark.parametrize("arguments", [["-n", "0"], ["--since", "noon"], ["--verdict", "BAD"], ["--config", "x"]])
def test_wrong_command_lines_end_with_2(tmp_path: Path, arguments: list[str]) -> None:
    """What no ledger can be asked is a usage line and exit code 2."""
    assert run_inspect("ledger", "list", "--ledger", tmp_path, *arguments).returncode == 2
    assert run_inspect("ledger", "export", "--ledger", tmp_path, "a.xlsx").returncode == 2


def test_looking_while_verdicts_are_shed_is_calm(tmp_path: Path) -> None:
    """While a small ledger sheds and writes at full speed, each look sees numbers in order, and verify no problem."""
    with writing(tmp_path, budget=300_000) as (ledger, heard):
        for start in range(0, 6_000, 1_500):
            for number in range(start, start + 1_500):
                ledger.append(event(number))
            heard.wait_for(start + 1)
            done = run_inspect("ledger", "list", "--ledger", tmp_path, "--json", "-n", 10_000)
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            spans = [(line.get("seq", line.get("first")), line.get("seq", line.get("last"))) for line in lines]
            assert all(one[1] < other[0] for one, other in pairwise(spans))
            verified = run_inspect("ledger", "verify", "--ledger", tmp_path)
            assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize("action", ["list", "export", "verify", "audit"])
def test_each_action_explains_itself(action: str) -> None:
    """Help tells what it does, by examples or words, and the exit codes."""
    done = run_inspect("ledger", action, "--help")
    assert done.returncode == 0
    assert "10  ledger" in done.stdout
    assert "--config FILE" in done.stdout
