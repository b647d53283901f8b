"""A daemon as it may look, and what Prometheus reads of one, for tests."""

from __future__ import annotations

import re
from typing import Any

from test_messages import EVENT, EXAMPLES

from edge.contract.messages import Health, Info, Model, Status
from edge.live.snapshot import Snapshot, glance

LINE = re.compile(r'edge_inspect_[a-z_]+(\{([a-z_0-9]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? (NaN|[-+0-9.e]+)')
"""https://prometheus.io/docs/instrumenting/exposition_formats: a sample."""


def example(kind: type[Any], name: str) -> Any:
    found = EXAMPLES[name]
    assert isinstance(found, kind)
    return found


HEALTH: Health = example(Health, "health")
SEEN = Snapshot(
    site="hall",
    device="lathe-7",
    broker="localhost:1883",
    connected=True,
    silent_s=0.5,
    status=example(Status, "status"),
    info=example(Info, "info"),
    model=example(Model, "model"),
    health=HEALTH,
    last=[glance(EVENT)],
)


def samples(text: str) -> dict[str, float]:
    """Return each sample by its name and labels; fails where a line is none."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            assert LINE.fullmatch(line), line
            name, _, value = line.rpartition(" ")
            assert name not in found, f"{name} is there twice"
            found[name] = float(value)
    return found
