"""Counts what the daemon does, for the `health` message."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from edge import clock
from edge.contract.messages import Health

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.capture import Capture
    from edge.contract.messages import Event, Verdict
    from edge.ledger.ledger import Ledger


class Tally:
    """Counts events since the start, and latencies since the last health message."""

    def __init__(self, boot_id: str, every_s: float) -> None:
        self._boot_id = boot_id
        self.every = every_s
        """Seconds between health messages."""
        self._started = self._last = time.monotonic()
        self._verdicts: Counter[Verdict] = Counter()
        self._latencies: list[float] = []

    def count(self, event: Event) -> None:
        """Add one verdict."""
        self._verdicts[event.verdict] += 1
        self._latencies.append(event.latency_ms.total)

    @property
    def due(self) -> bool:
        """True when it is time for the next health message."""
        return time.monotonic() - self._last >= self.every

    def report(self, capture: Capture, ledger: Ledger) -> Health:
        """Sum up, and begin a new interval."""
        instant = time.monotonic()
        health = Health(
            boot_id=self._boot_id,
            time=clock.now(),
            uptime_s=round(instant - self._started, 3),
            frames_captured=capture.captured,
            frames_dropped=capture.dropped,
            frames_judged=self._verdicts.total(),
            fps=round(len(self._latencies) / max(instant - self._last, 1e-3), 2),
            verdicts=dict(self._verdicts),
            latency_ms={f"p{p}": _percentile(self._latencies, p) for p in (50, 95)} if self._latencies else {},
            messages_waiting=ledger.waiting,
            messages_lost=ledger.lost,
            rss_mib=rss_mib(),
        )
        self._latencies.clear()
        self._last = instant
        return health


def rss_mib() -> float:
    """Return this process's resident memory in MiB (proc(5), VmRSS)."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - called often, pathlib costs more
        kib = next(line.split()[1] for line in status if line.startswith("VmRSS:"))
    return round(int(kib) / 1024, 1)


def _percentile(values: Sequence[float], percent: int) -> float:
    """Nearest rank: the smallest value that at least `percent` of all do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]
