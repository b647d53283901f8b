"""`edge-inspect ledger`: what is in a ledger, while the daemon runs or of a copy; nothing in it is changed."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from edge.command import EXIT_CODES, add_command, ended_as_interrupted, to_path

if TYPE_CHECKING:
    from pathlib import Path

    from edge.ledger.reading import Reader
    from edge.ledger.store import Span

_EXAMPLES = """examples:
  edge-inspect ledger list --config /etc/edge-inspect/device.toml            the last 20 verdicts
  edge-inspect ledger list --ledger copy/ledger.db --verdict DEFECT -n 100   of a copy, defects only
  edge-inspect ledger export --config device.toml --since 06:00 shift.csv    this shift, for a spreadsheet
  edge-inspect ledger verify --config device.toml                            is it all there?
  edge-inspect ledger audit --config device.toml                             what was asked of this device?

A running daemon is not disturbed. To take a copy along, copy ledger.db and, if it is there, ledger.db-wal.

"""
_LIST = """examples:
  edge-inspect ledger list --config device.toml -n 50 --utc
  edge-inspect ledger list --config device.toml --verdict DEFECT --since 2026-11-22T02:00 --until 2026-11-22T03:30
  edge-inspect ledger list --config device.toml --json -n 1000 | jq -r .source

A time with a ? is of a clock that was not synchronised: the numbers (seq) are in order, whatever the times say.
With --json each line is a verdict as it was published, or a gap (it has `first` and `last`), and `delivered`.

"""
_EXPORT = """examples:
  edge-inspect ledger export --config device.toml all.csv
  edge-inspect ledger export --ledger /media/stick/ledger.db --verdict DEFECT defects.parquet

A CSV is UTF-8 with a byte order mark (Python: encoding="utf-8-sig"). In its texts an apostrophe stands before = + - @
where a spreadsheet might begin a formula. Each label that occurs has a column score_<label>. Parquet needs pyarrow:
pip install 'edge-inspect[export]', on a workstation.

"""
_VERIFY = """Every row's checksum, the numbers, the gaps and SQLite's own structure are checked. Exit code 10: there are
problems, each in a line with its remedy.

"""
_AUDIT = """Each command that was obeyed (ok, failed) is here, and of those that were refused or came again as
many as 20 at once and one a minute; the rest is counted (overlooked). The newest 1,000 and 200 are kept.

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own commands to its parser."""
    parser.epilog = _EXAMPLES + EXIT_CODES
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = add_command(actions, "list", summary="print the newest verdicts, the last one last", examples=_LIST)
    _add_selection(listing)
    _add_table(listing, "verdicts", 20)
    export = add_command(actions, "export", summary="write verdicts to a .csv or .parquet file", examples=_EXPORT)
    _add_selection(export)
    export.add_argument("file", type=_to_table, metavar="FILE", help="a name ending in .csv or .parquet")
    verify = add_command(actions, "verify", summary="read all of it: is it whole and complete?", examples=_VERIFY)
    _add_place(verify)
    audit = add_command(actions, "audit", summary="print the commands that reached the device", examples=_AUDIT)
    _add_place(audit)
    _add_table(audit, "commands", 50)


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked; raises LedgerError, or ConfigError for a configuration without a ledger."""
    from edge.errors import DamagedLedgerError, LedgerError
    from edge.ledger.reading import ledger_file, opened

    file, budget = _place(arguments)
    file = ledger_file(file)
    if arguments.action == "verify":
        return _verify(file, budget)
    try:
        with ended_as_interrupted(), opened(file) as store:
            act = {"list": _list, "export": _export, "audit": _audit}[arguments.action]
            return act(arguments, store)
    except DamagedLedgerError as error:
        raise LedgerError(f"{error}; edge-inspect ledger verify says what else is, and what to do") from error


def _list(arguments: argparse.Namespace, store: Reader) -> int:
    from edge.contract.messages import Verdict
    from edge.ledger.listing import say, verdict_lines, verdict_objects
    from edge.ledger.reading import entries, newest

    verdict = Verdict(arguments.verdict) if arguments.verdict else None
    span = newest(store, _span(arguments, store), arguments.count, verdict)
    delivered, found = store.marks.delivered, entries(store, span, verdict)
    if arguments.json:
        say(verdict_objects(found, delivered))
    else:
        say(verdict_lines(found, delivered, UTC if arguments.utc else None))
    return 0


def _export(arguments: argparse.Namespace, store: Reader) -> int:
    from edge.contract.messages import Verdict
    from edge.ledger.export import Selection, export

    verdict = Verdict(arguments.verdict) if arguments.verdict else None
    chosen = Selection(store, _span(arguments, store), verdict, store.marks.delivered)
    count = export(chosen, arguments.file)
    print(f"{arguments.file}: {count} verdicts", file=sys.stderr)
    return 0


def _audit(arguments: argparse.Namespace, store: Reader) -> int:
    from edge.ledger.listing import command_lines, command_objects, say

    commands = store.audits(1 << 62, arguments.count)[::-1]
    zone = UTC if arguments.utc else None
    say(command_objects(commands) if arguments.json else command_lines(commands, zone))
    return 0


def _verify(file: Path, budget: int | None) -> int:
    from edge.command import printable
    from edge.errors import LedgerError
    from edge.ledger.verify import verify

    found = verify(file, budget)
    for title, text in found.lines:
        print(f"{title:11} {printable(text)}")
    for problem in found.problems:
        print(f"PROBLEM     {printable(problem)}")
    if found.problems:
        raise LedgerError(f"{file}: {len(found.problems)} problems, see above")
    print("in order")
    return 0


def _place(arguments: argparse.Namespace) -> tuple[Path, int | None]:
    """Return the ledger's file or folder, and its budget in bytes if the configuration says it."""
    if arguments.ledger is not None:
        return arguments.ledger, None
    from edge import config as configs
    from edge.ledger.ledger import FILE
    from edge.state import find_state

    config = configs.load(arguments.config)
    return find_state(config, FILE), config.ledger.events_mib << 20


def _span(arguments: argparse.Namespace, store: Reader) -> Span:
    from edge.ledger.reading import first_at
    from edge.ledger.store import Span

    after = first_at(store, arguments.since) - 1 if arguments.since is not None else 0
    upto = first_at(store, arguments.until) - 1 if arguments.until is not None else store.last
    return Span(after, upto)


def _add_place(command: argparse.ArgumentParser) -> None:
    place = command.add_mutually_exclusive_group(required=True)
    place.add_argument("--config", type=to_path, metavar="FILE", help="the device's TOML file: the ledger it keeps")
    place.add_argument("--ledger", type=to_path, metavar="PATH", help="a ledger's file, or the folder of one")


def _add_selection(command: argparse.ArgumentParser) -> None:
    _add_place(command)
    kinds = ("PASS", "UNKNOWN", "DEFECT")
    command.add_argument("--verdict", type=str.upper, choices=kinds, help="of this kind only")
    when = "2026-11-22, 2026-11-22T03:00, 03:00 for today; local time, unless it ends in Z or +01:00"
    command.add_argument("--since", type=_to_moment, metavar="TIME", help=f"given at this time or later: {when}")
    command.add_argument("--until", type=_to_moment, metavar="TIME", help="given before this time")


def _add_table(command: argparse.ArgumentParser, what: str, usual: int) -> None:
    command.add_argument("-n", "--count", type=_to_count, default=usual, metavar="N", help=f"so many {what} ({usual})")
    command.add_argument("--utc", action="store_true", help="times in UTC, not in this machine's time zone")
    command.add_argument("--json", action="store_true", help="one JSON object a line")


def _to_moment(text: str) -> float:
    """Read a time as seconds since 1970."""
    try:
        if len(text) <= len("00:00:00") and ":" in text:
            return datetime.combine(datetime.now().astimezone(), time.fromisoformat(text)).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-11-22T03:00 or 03:00") from None


def _to_count(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 1 << 62):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _to_table(text: str) -> Path:
    path = to_path(text)
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise argparse.ArgumentTypeError(f"{text!r} ends neither in .csv nor in .parquet")
    return path
