"""A ledger and its Sparkplug node in this process, for tests, and what of it a host must have heard."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from ledger_samples import event
from spark_host import GROUP

from edge import config as configs
from edge.contract.messages import Latency, Verdict
from edge.ledger.ledger import Ledger
from edge.ledger.rows import Row
from edge.ledger.store import Span
from edge.sparkplug.node import Node

if TYPE_CHECKING:
    from pathlib import Path

    from spark_host import Heard, SparkHost

    from edge.contract.messages import Event

MIB = 1 << 20
INT64, DOUBLE, BOOLEAN, STRING = 4, 10, 11, 12
"""Sparkplug's numbers of these types (specification 3.0.0, 6.4.16)."""
TOLD = {
    "Inspection/Event ID": (STRING, "id"),
    "Inspection/Sequence": (INT64, "seq"),
    "Inspection/Verdict": (STRING, "verdict"),
    "Inspection/Reason": (STRING, "reason"),
    "Inspection/Label": (STRING, "label"),
    "Inspection/Score": (DOUBLE, "score"),
    "Inspection/Threshold": (DOUBLE, "threshold"),
    "Inspection/Camera": (STRING, "camera"),
    "Inspection/Source": (STRING, "source"),
    "Inspection/Trigger": (STRING, "trigger"),
    "Inspection/Model SHA-256": (STRING, "model"),
    "Inspection/Latency ms": (DOUBLE, "latency_ms.total"),
    "Inspection/Clock Synchronized": (BOOLEAN, "clock_synced"),
}
"""What a host is told of a verdict: the metric's name, its type, and where its value is in the ledger's JSON."""


def distinct(number: int) -> Event:
    """Return a verdict no two of whose values are the same, nor the same as those of the one before."""
    share = 1 / (number + 2)
    return msgspec.structs.replace(
        event(),
        clock_synced=bool(number % 2),
        camera=f"camera-{number}",
        region=f"region-{number}",
        trigger=f"trigger-{number}",
        source=f"source-{number}",
        frame_verdict=Verdict.DEFECT,
        reason=f"reason-{number}",
        label=f"label-{number}",
        score=share / 2,
        scores={f"label-{number}": share / 3},
        threshold=share / 5,
        model=f"{number:064x}",
        latency_ms=Latency(wait=number + 0.1, preprocess=number + 0.2, invoke=number + 0.3, total=number + 0.4),
    )


def expected(row: Row) -> dict[str, Any]:
    """Return what a host must be told of a verdict, by the metrics' names."""
    lies = json.loads(row.json)
    lies |= {f"latency_ms.{name}": value for name, value in lies["latency_ms"].items()}
    return {name: lies[key] for name, (_, key) in TOLD.items()}


class Line:
    """A ledger and its node in this process; all it judges is judged at once."""

    def __init__(self, folder: Path, port: int, **sparkplug: Any) -> None:
        table = {
            "bundle": "b",
            "camera": {"kind": "synthetic"},
            "device": {"site": "test", "id": "dut"},
            "mqtt": {"host": "127.0.0.1", "port": port},
            "sparkplug": {"group_id": GROUP, **sparkplug},
        }
        self.ledger = Ledger(folder, 64 * MIB)
        self.node = Node(configs.parse(table, folder / "device.toml"), self.ledger, folder)
        self.node.start()
        self.ledger.start(self.node.written)

    def judge(self, count: int) -> None:
        """Append so many verdicts and have them written."""
        for number in range(count):
            self.ledger.append(distinct(number))
        self.ledger.flush(10)

    def rows(self) -> list[Row]:
        """Return all verdicts in the ledger."""
        return [entry for entry in self.ledger.look(Span(0, 1 << 40), 1 << 40) if isinstance(entry, Row)]

    def stop(self, seconds: float = 10) -> None:
        """Deliver what waits, and end."""
        self.node.stop(seconds)
        assert self.node.trouble() == ""
        assert self.ledger.close(10) == 0


def check_verdicts(host: SparkHost, rows: list[Row]) -> None:
    """Check that each of these verdicts was heard, as it was given, and for the first time in its turn."""
    first_heard: dict[int, Heard] = {}
    for each in host.verdicts():
        first_heard.setdefault(int(each.values["Inspection/Sequence"]), each)
    assert list(first_heard) == [row.seq for row in rows]
    for row in rows:
        heard = first_heard[row.seq]
        assert {name: value for name, value in heard.values.items() if name in TOLD} == expected(row)
        stamps = zip(heard.values, (metric.timestamp for metric in heard.payload.metrics), strict=True)
        exposed = datetime.fromisoformat(json.loads(row.json)["time"])
        assert {stamp for name, stamp in stamps if name in TOLD} == {round(exposed.timestamp() * 1000)}
