"""Verdicts and ledgers for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import clock
from edge.contract.commands import Reply
from edge.contract.messages import Event, Latency, Verdict, encode
from edge.contract.ulid import new_ulid
from edge.ledger.audit import Audit, audit_of
from edge.ledger.rows import Row
from edge.ledger.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from edge.ledger.audit import Outcome

BOOT = new_ulid()


def event(seq: int = 0, verdict: Verdict = Verdict.PASS, labels: int = 2) -> Event:
    """Return a verdict as the judge gives it; more labels make it larger."""
    return Event(
        id=new_ulid(),
        seq=seq,
        boot_id=BOOT,
        time=clock.now(),
        clock_synced=True,
        camera="camera",
        region="whole",
        trigger=f"free-{seq}",
        source=str(seq),
        verdict=verdict,
        frame_verdict=verdict,
        reason="",
        label="intact",
        score=1.0,
        scores={f"label {number}": round(1 / (number + 2), 6) for number in range(labels)},
        threshold=0.5,
        model=None,
        latency_ms=Latency(wait=0, preprocess=0, invoke=0, total=0),
    )


def row(seq: int, verdict: Verdict = Verdict.PASS, labels: int = 2) -> Row:
    """Return a verdict as it lies in the ledger."""
    return Row(seq, verdict, encode(event(seq, verdict, labels)))


def audit(transaction: str, outcome: Outcome = "ok", error: str = "") -> Audit:
    """Return the record of a command."""
    reply = Reply(transaction=transaction, status="ok", error=error)
    return audit_of("threshold", reply, outcome, BOOT)


def make_ledger(path: Path, count: int, *, large_every: int = 50) -> list[Row]:
    """Write a ledger of verdicts, every so many larger than a page, and return them."""
    rows = [row(seq, labels=2 if seq % large_every else 200) for seq in range(1, count + 1)]
    store = Store(path)
    for start in range(0, count, 10):
        store.add(rows[start : start + 10])
    store.close()
    return rows
