"""What `edge-inspect top` shows of a snapshot: lines for a terminal of any size. No I/O."""

from __future__ import annotations

import textwrap
import unicodedata
from datetime import timedelta
from itertools import takewhile
from typing import TYPE_CHECKING

from edge.command import printable
from edge.contract.messages import Verdict
from edge.regions import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.contract.messages import Health, Machine, Percentiles
    from edge.live.snapshot import Glance, Snapshot

_GREEN, _RED, _YELLOW = "32", "31", "33"
"""Of ECMA-48's SGR."""
_COLOURS = {
    Verdict.PASS: _GREEN,
    Verdict.DEFECT: _RED,
    Verdict.UNKNOWN: _YELLOW,
    "online": _GREEN,
    "degraded": _YELLOW,
    "offline": _RED,
}
_REASON_LINES = 3
_LEAST_WIDTH = 20
_SILENT_SECONDS = 5.0
"""Longer than any frame takes to be judged."""


def lines(seen: Snapshot, width: int, height: int, *, colour: bool) -> list[str]:
    """Return at most `height` lines, each at most `width` columns wide; the last verdicts take what room is left."""
    width = max(width, _LEAST_WIDTH)
    shown = [*_head(seen, width), "", *_figures(seen.health), ""]
    shown.append(f"{'time':8} {'verdict':7} {'label':16} {'score':>5} {'ms':>7}  what")
    room = max(0, height - len(shown))
    shown += [_row(each) for each in reversed(seen.last[-room:] if room else [])]
    return [_painted(clip(line, width), colour=colour) for line in shown[:height]]


def wrapped(text: str, width: int, height: int) -> list[str]:
    """Return a message in lines of this width, as many as fit."""
    return textwrap.wrap(printable(text), max(width, _LEAST_WIDTH))[:height]


def clip(text: str, width: int) -> str:
    """Return as much of a text as fits into so many columns of a terminal, as one line that it survives."""
    plain = printable(text)
    ends: list[int] = []
    for letter in plain:
        ends.append((ends[-1] if ends else 0) + _columns(letter))
    return plain[: sum(1 for _ in takewhile(lambda end: end <= width, ends))].rstrip()


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _painted(line: str, *, colour: bool) -> str:
    """Colour the first word that has one."""
    if colour:
        for word, number in _COLOURS.items():
            if f" {word}" in line:
                return line.replace(f" {word}", f" \x1b[{number}m{word}\x1b[0m", 1)
    return line


def _head(seen: Snapshot, width: int) -> Iterator[str]:
    status, model, info = seen.status, seen.model, seen.info
    up = str(timedelta(seconds=int(seen.health.uptime_s)))
    yield f"{seen.site}/{seen.device} {status.state}{', paused' if status.paused else ''}, judging for {up}"
    if seen.silent_s is not None and seen.silent_s > _SILENT_SECONDS:
        yield f"NOTHING IS JUDGED: the line hangs for {seen.silent_s:.0f} s"
    yield from wrapped(status.reason, width, _REASON_LINES)
    yield f"broker {seen.broker} {'connected' if seen.connected else 'away: verdicts wait in the ledger'}"
    yield f"model  {model.name} {model.sha256[:8]} of {model.created:%Y-%m-%d}, {info.runtime}, {info.version}"


def _figures(health: Health) -> Iterator[str]:
    counts = "  ".join(f"{verdict} {health.verdicts.get(verdict, 0)}" for verdict in Verdict)
    yield f"judged   {health.frames_judged} frames, {health.fps:g} a second   {counts}"
    dropped = f"dropped {health.frames_dropped} of {health.frames_captured}"
    yield f"frames   {dropped}  camera failures {health.camera_failures}  triggers waiting {health.triggers_waiting}"
    stages = health.stages_ms
    table = {"wait": stages.wait, "prepare": stages.preprocess, "invoke": stages.invoke, "total": health.latency_ms}
    yield "ms       " + "".join(f"{name:>12}" for name in table)
    for name in ("p50", "p95", "p99"):
        yield f"  {name}    " + "".join(f"{_figure(stage, name):>12}" for stage in table.values())
    queues = f"disk {health.verdicts_unwritten}  broker {health.messages_waiting}  pictures {health.pictures_waiting}"
    yield f"waiting  {queues}  notes {health.notes_waiting}"
    refused = f"commands refused {health.commands_refused}  overlooked {health.commands_overlooked}"
    yield f"lost     verdicts {health.messages_lost}  pictures {health.pictures_lost}  {refused}"
    yield from _machine(health, health.machine)
    if (chip := health.accelerator) is not None:
        heat = "" if chip.temperature_c is None else f"  {chip.temperature_c:.0f} °C"
        yield f"edgetpu  {chip.state}  answered {chip.invokes}  failures {chip.failures}{heat}"


def _machine(health: Health, machine: Machine | None) -> Iterator[str]:
    share = f"judges {health.judging_share:.0%} of the time"
    if machine is None:
        yield f"device   {share}  daemon {health.rss_mib:g} MiB  not looked at yet, or a driver or the disk hangs"
        return
    heat = "no sensor" if machine.cpu_c is None else f"{machine.cpu_c:.0f} °C"
    flags = "  SLOWED" * machine.slowed + "  UNDER-VOLTAGE" * machine.under_voltage
    yield f"device   {heat}{flags}  {share}  busy {machine.cpu_share:g} of {machine.cores} cores, load {machine.load:g}"
    worker = "" if machine.worker_rss_mib is None else f"  worker {machine.worker_rss_mib:g}"
    left = f"available {_size(machine.memory_available_mib)}  disk free {_size(machine.disk_free_mib)}"
    own = f"files {machine.descriptors}  threads {machine.threads}"
    yield f"MiB      daemon {health.rss_mib:g}{worker}  {left}  {own}"


def _size(mib: float | None) -> str:
    return "?" if mib is None else f"{mib:.0f}"


def _figure(percentiles: Percentiles, name: str) -> str:
    return f"{percentiles[name]:.1f}" if name in percentiles else "-"


def _row(seen: Glance) -> str:
    score = "" if seen.score is None else f"{seen.score:.2f}"
    region = "" if seen.region == WHOLE else f"{seen.region}: "
    when, label = f"{seen.time.astimezone():%H:%M:%S}", clip(seen.label or "", 16)
    return f"{when} {seen.verdict:7} {label:16} {score:>5} {seen.ms:7.1f}  {region}{seen.reason or seen.source}"
