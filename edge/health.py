"""Counts what the daemon does, for the `health` message and for whoever asks in between."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, TypedDict

from edge import clock
from edge.contract.messages import Health, Percentiles, Stages
from edge.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.contract.messages import Accelerator, Event, Machine, Verdict

_LAST = 16
"""Verdicts that are remembered, for whoever looks at the device itself."""


class Counters(TypedDict):
    """What the parts of the device count themselves, by its name in the message."""

    frames_captured: int
    frames_dropped: int
    camera_failures: int
    triggers_waiting: int
    triggers_refused: int
    switches_late: int
    verdicts_unwritten: int
    messages_waiting: int
    messages_lost: int
    notes_waiting: int
    pictures_waiting: int
    pictures_lost: int
    commands_overlooked: int
    commands_refused: int
    connections_failed: int
    judging_share: float
    machine: Machine | None
    accelerator: Accelerator | None


class _Interval:
    """What is counted from one health message to the next."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.frames = 0
        self.wait, self.preprocess, self.invoke, self.total = Sketch(), Sketch(), Sketch(), Sketch()

    def count(self, events: Sequence[Event]) -> None:
        """Add the verdicts about one frame: it waited until the first region, and was done with the last."""
        self.frames += 1
        self.wait.add(events[0].latency_ms.wait)
        self.total.add(events[-1].latency_ms.total)
        for event in events:
            if event.latency_ms.invoke:  # Else it was not classified, and took no time for that.
                self.preprocess.add(event.latency_ms.preprocess)
                self.invoke.add(event.latency_ms.invoke)

    def add(self, other: _Interval) -> None:
        """Add what another has counted."""
        self.began = min(self.began, other.began)
        self.frames += other.frames
        self.wait += other.wait
        self.preprocess += other.preprocess
        self.invoke += other.invoke
        self.total += other.total


class Tally:
    """Counts events since the start, and latencies since the last health message. Any thread may ask it."""

    def __init__(self, boot_id: str, every_s: float, counters: Callable[[], Counters]) -> None:
        self._boot_id = boot_id
        self._counters = counters
        self.every = every_s
        """Seconds between health messages."""
        self._lock = threading.Lock()
        self._frames = 0
        self._verdicts: Counter[Verdict] = Counter()
        self._last: deque[Event] = deque(maxlen=_LAST)
        self._before, self._present = _Interval(), _Interval()
        self._started = self._present.began

    def count(self, events: Sequence[Event]) -> None:
        """Add the verdicts about one frame."""
        with self._lock:
            self._frames += 1
            self._verdicts.update(event.verdict for event in events)
            self._last.extend(events)
            self._present.count(events)

    @property
    def due(self) -> bool:
        """True when it is time for the next health message."""
        return time.monotonic() - self._present.began >= self.every

    @property
    def frames(self) -> int:
        """Frames that were judged since the start."""
        return self._frames

    @property
    def last(self) -> list[Event]:
        """The last verdicts, the newest last; the ledger numbers them later."""
        with self._lock:
            return list(self._last)

    def report(self) -> Health:
        """Sum up, and begin a new interval."""
        with self._lock:
            interval = self._present
            self._before, self._present = interval, _Interval()
        return self._sum_up(interval)

    def sum_up(self) -> Health:
        """Say how it is, and go on counting: whoever asks must not take anything from the next health message.

        The interval is the last whole one and what followed: just after a message there would be nothing to tell of.
        """
        interval = _Interval()
        with self._lock:
            interval.add(self._before)
            interval.add(self._present)
        return self._sum_up(interval)

    def _sum_up(self, interval: _Interval) -> Health:
        instant = time.monotonic()
        with self._lock:
            frames, verdicts = self._frames, dict(self._verdicts)
        return Health(
            boot_id=self._boot_id,
            time=clock.now(),
            uptime_s=round(instant - self._started, 3),
            frames_judged=frames,
            fps=round(interval.frames / max(instant - interval.began, 1e-3), 2),
            verdicts=verdicts,
            latency_ms=_percentiles(interval.total),
            stages_ms=Stages(
                wait=_percentiles(interval.wait),
                preprocess=_percentiles(interval.preprocess),
                invoke=_percentiles(interval.invoke),
            ),
            rss_mib=rss_mib(),
            **self._counters(),
        )


def rss_mib(process: int | str = "self") -> float:
    """Return a process's resident memory in MiB (proc(5), VmRSS): this one's, or 0 of a zombie; raises OSError."""
    with open(f"/proc/{process}/status", encoding="ascii") as status:  # noqa: PTH123 - called often, pathlib costs more
        kib = next((line.split()[1] for line in status if line.startswith("VmRSS:")), 0)
    return round(int(kib) / 1024, 1)


def _percentiles(sketch: Sketch) -> Percentiles:
    return {f"p{percent}": round(sketch.percentile(percent), 3) for percent in (50, 95, 99)} if sketch else {}
