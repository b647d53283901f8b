"""Counts what the daemon does, for the `health` message."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, TypedDict

from edge import clock
from edge.contract.messages import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.contract.messages import Accelerator, Event, Verdict


class Counters(TypedDict):
    """What the parts of the device count themselves, by its name in the message."""

    frames_captured: int
    frames_dropped: int
    messages_waiting: int
    messages_lost: int
    pictures_waiting: int
    pictures_lost: int
    commands_overlooked: int
    commands_refused: int
    connections_failed: int
    accelerator: Accelerator | None


class Tally:
    """Counts events since the start, and latencies since the last health message."""

    def __init__(self, boot_id: str, every_s: float, counters: Callable[[], Counters]) -> None:
        self._boot_id = boot_id
        self._counters = counters
        self.every = every_s
        """Seconds between health messages."""
        self._started = self._last = time.monotonic()
        self._frames = 0
        self._verdicts: Counter[Verdict] = Counter()
        self._latencies: list[float] = []

    def count(self, events: Sequence[Event]) -> None:
        """Add the verdicts about one frame."""
        self._frames += 1
        self._verdicts.update(event.verdict for event in events)
        self._latencies.append(events[-1].latency_ms.total)

    @property
    def due(self) -> bool:
        """True when it is time for the next health message."""
        return time.monotonic() - self._last >= self.every

    def report(self) -> Health:
        """Sum up, and begin a new interval."""
        health = self.sum_up()
        self._latencies.clear()
        self._last = time.monotonic()
        return health

    def sum_up(self) -> Health:
        """Say how it is, and go on counting: whoever asks must not take anything from the next health message."""
        instant = time.monotonic()
        return Health(
            boot_id=self._boot_id,
            time=clock.now(),
            uptime_s=round(instant - self._started, 3),
            frames_judged=self._frames,
            fps=round(len(self._latencies) / max(instant - self._last, 1e-3), 2),
            verdicts=dict(self._verdicts),
            latency_ms={f"p{p}": _percentile(self._latencies, p) for p in (50, 95)} if self._latencies else {},
            rss_mib=rss_mib(),
            **self._counters(),
        )


def rss_mib(process: int | str = "self") -> float:
    """Return a process's resident memory in MiB (proc(5), VmRSS): this one's, or 0 of a zombie; raises OSError."""
    with open(f"/proc/{process}/status", encoding="ascii") as status:  # noqa: PTH123 - called often, pathlib costs more
        kib = next((line.split()[1] for line in status if line.startswith("VmRSS:")), 0)
    return round(int(kib) / 1024, 1)


def _percentile(values: Sequence[float], percent: int) -> float:
    """Nearest rank: the smallest value that at least `percent` of all do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]
