"""All that is to be seen of a running daemon at one moment, and where it is asked for."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

import msgspec

from edge.contract.json import NOT_JSON
from edge.contract.messages import Health, Info, Message, Model, Status, Time, Verdict
from edge.errors import InspectError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.contract.messages import Event

FILE = "live.sock"
"""In the folder of the device's state: who may look there may ask."""
_SECONDS = 2.0
_LARGEST = 1 << 20
_REMEDY = "is it running (systemctl status edge-inspect), judging already, and may this user look there (sudo)?"


class Glance(Message, frozen=True, kw_only=True):
    """Of an event what a table shows. It has no number yet: the ledger gives it one later."""

    time: Time
    region: str
    source: str
    verdict: Verdict
    reason: str
    label: str | None
    score: float | None
    ms: float
    """From the exposure until the verdict."""


class Snapshot(Message, frozen=True, kw_only=True):
    """The retained messages as they would be now, and the last verdicts, the newest last."""

    site: str
    device: str
    broker: str
    """host:port."""
    connected: bool
    """Whether it is connected to the broker."""
    silent_s: float | None
    """Since the line last said that nothing hangs, which it does once a second; null: it never did yet."""
    status: Status
    info: Info
    model: Model
    health: Health
    last: list[Glance]


def glance(event: Event) -> Glance:
    """Return what a table shows of a verdict."""
    return Glance(
        time=event.time,
        region=event.region,
        source=event.source,
        verdict=event.verdict,
        reason=event.reason,
        label=event.label,
        score=event.score,
        ms=event.latency_ms.total,
    )


def fetch(path: Path) -> Snapshot:
    """Ask the daemon whose socket this is; raises InspectError, one line, if it does not answer, or not so."""
    try:
        data = _read(path)
    except OSError as error:
        raise InspectError(f"no daemon answers at {path} ({error.strerror or error}); {_REMEDY}") from error
    return decode(data, path)


def decode(data: bytes, path: Path) -> Snapshot:
    """Read an answer; raises InspectError for one that this version does not understand."""
    try:
        return msgspec.json.decode(data, type=Snapshot)
    except NOT_JSON as error:
        problem = f"the daemon at {path} answers what this version does not understand ({error})"
        raise InspectError(f"{problem}; restart it if it was updated, or use its own edge-inspect") from error


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """Have a name of a socket for a while that is as short as the kernel wants it, 107 bytes (unix(7))."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _read(path: Path) -> bytes:
    deadline = time.monotonic() + _SECONDS
    data = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link, short(path) as name:
        link.settimeout(_SECONDS)
        link.connect(name)
        while part := link.recv(1 << 16):
            data += part
            if len(data) > _LARGEST or time.monotonic() > deadline:
                raise TimeoutError("it does not come to an end")
    return bytes(data)
