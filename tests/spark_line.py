"""A ledger and its Sparkplug node in this process, for tests, and what of it a host must have heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger_samples import event
from spark_host import GROUP

from edge import config as configs
from edge.ledger.ledger import Ledger
from edge.ledger.rows import Row
from edge.ledger.store import Span
from edge.sparkplug import payload
from edge.sparkplug.node import Node

if TYPE_CHECKING:
    from pathlib import Path

    from spark_host import SparkHost

MIB = 1 << 20


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
        for _ in range(count):
            self.ledger.append(event())
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
    first_heard: dict[int, dict[str, Any]] = {}
    for each in host.verdicts():
        first_heard.setdefault(int(each.values["Inspection/Sequence"]), each.values)
        times = {metric.timestamp for metric in each.payload.metrics if metric.alias == each.payload.metrics[0].alias}
        assert len(times) == 1
    assert list(first_heard) == [row.seq for row in rows]
    for row in rows:
        told = payload.sample(row, historical=False).values
        assert {name: value for name, value in first_heard[row.seq].items() if name in told} == told
