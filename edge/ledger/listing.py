"""A ledger as a person reads it, or a script: a line each, the newest last."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from edge.command import printable
from edge.contract.messages import Event, Gap, encode
from edge.ledger.rows import Row, last_of, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, tzinfo

    from edge.ledger.audit import Audited

_TIME = 30
_VERDICTS = f"{{:{_TIME}}} {{:>9}}  {{:8}} {{:9}} {{:>6}}  {{:16}} {{:12}} {{}}"
_COMMANDS = f"{{:{_TIME}}} {{:10}} {{:10}} {{:>5}}  {{:20}} {{:26}} {{}}"
_UNSURE = "?"
"""Behind a time of a clock that was not synchronised."""


def event_of(row: Row) -> Event:
    """Return the verdict of a row; raises DamagedLedgerError for what is none."""
    return parse(row.seq, row.json, Event)


def verdict_lines(entries: Iterable[Row | Gap], delivered: int, zone: tzinfo | None) -> Iterator[str]:
    """Yield a table of verdicts and gaps, with times of a zone; None: this machine's."""
    yield _VERDICTS.format(_time_title(zone), "seq", "verdict", "broker", "score", "label", "camera", "source")
    for entry in entries:
        broker = "delivered" if last_of(entry) <= delivered else "waiting"
        if isinstance(entry, Gap):
            numbers = f"{entry.first}" if entry.first == entry.last else f"{entry.first}-{entry.last}"
            yield _VERDICTS.format("", numbers, "gap", broker, "", describe(entry), "", "").rstrip()
        else:
            event = event_of(entry)
            score = "" if event.score is None else f"{event.score:.3f}"
            time = _shown(event.time, zone, synced=event.clock_synced)
            words = (event.label or event.reason or "-", event.camera, event.source)
            yield _VERDICTS.format(time, entry.seq, event.verdict, broker, score, *map(printable, words))


def verdict_objects(entries: Iterable[Row | Gap], delivered: int) -> Iterator[bytes]:
    """Yield each verdict as it is published, and each gap, as JSON, with `delivered`."""
    for entry in entries:
        json = encode(entry) if isinstance(entry, Gap) else entry.json
        known = b"true" if last_of(entry) <= delivered else b"false"
        yield json[:-1] + b',"delivered":' + known + b"}"


def command_lines(commands: Iterable[Audited], zone: tzinfo | None) -> Iterator[str]:
    """Yield a table of what was asked of the device."""
    yield _COMMANDS.format(_time_title(zone), "outcome", "command", "count", "transaction", "boot", "error").rstrip()
    for audit in (each.audit for each in commands):
        time = _shown(audit.time, zone, synced=audit.clock_synced)
        words = map(printable, (audit.outcome, audit.name or "-", str(audit.count), audit.transaction or "-"))
        yield _COMMANDS.format(time, *words, audit.boot_id, printable(audit.error)).rstrip()


def command_objects(commands: Iterable[Audited]) -> Iterator[bytes]:
    """Yield each as JSON."""
    return (msgspec.json.encode(each.audit) for each in commands)


def describe(gap: Gap) -> str:
    """Return what a gap says, in words: how many of which, and why."""
    count = gap.last - gap.first + 1
    kinds = ", ".join(f"{verdict} {number}" for verdict, number in gap.verdicts.items())
    return f"{count} verdict{'s' * (count > 1)} {gap.reason}: {kinds or 'unknown which'}"


def say(lines: Iterable[str] | Iterable[bytes]) -> None:
    """Print lines; JSON is UTF-8 whatever the terminal speaks."""
    for line in lines:
        if isinstance(line, bytes):
            sys.stdout.buffer.write(line + b"\n")
        else:
            print(line)
    sys.stdout.flush()


def _time_title(zone: tzinfo | None) -> str:
    return f"time ({zone or 'local'})"


def _shown(time: datetime, zone: tzinfo | None, *, synced: bool) -> str:
    try:
        local = time.astimezone(zone)
    except (OverflowError, ValueError, OSError):  # A year that this machine's calendar does not have.
        local = time
    return local.isoformat(" ", "milliseconds") + ("" if synced else _UNSURE)
