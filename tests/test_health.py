"""What `health` tells: counts since the start, latencies since the last message, and who may ask without harm."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec
import pytest
from ledger_samples import BOOT, event

from edge.contract.messages import Latency, Stages, Verdict
from edge.health import Counters, Tally

if TYPE_CHECKING:
    from edge.contract.messages import Event

NOTHING: Counters = {
    "frames_captured": 0,
    "frames_dropped": 0,
    "camera_failures": 0,
    "triggers_waiting": 0,
    "triggers_refused": 0,
    "switches_late": 0,
    "verdicts_unwritten": 0,
    "messages_waiting": 0,
    "messages_lost": 0,
    "notes_waiting": 0,
    "pictures_waiting": 0,
    "pictures_lost": 0,
    "commands_overlooked": 0,
    "commands_refused": 0,
    "connections_failed": 0,
    "judging_share": 1.0,
    "machine": None,
    "accelerator": None,
}


def tally() -> Tally:
    return Tally(BOOT, 10.0, lambda: NOTHING)


def timed(wait: float, preprocess: float, invoke: float, verdict: Verdict = Verdict.PASS) -> Event:
    """Return a verdict with these latencies, in milliseconds."""
    latency = Latency(wait=wait, preprocess=preprocess, invoke=invoke, total=wait + preprocess + invoke)
    return msgspec.structs.replace(event(verdict=verdict), latency_ms=latency)


def test_each_stage_has_its_percentiles() -> None:
    """A hundred frames give the percentiles of each stage, those that were not classified none of the model's."""
    counted = tally()
    for number in range(1, 101):
        counted.count([timed(number, 2 * number, 3 * number)])
    counted.count([timed(1, 0, 0, Verdict.UNKNOWN)])
    found = counted.report()
    assert found.latency_ms == {
        name: pytest.approx(6 * n, rel=0.02) for name, n in (("p50", 50), ("p95", 95), ("p99", 99))
    }
    for stage, factor in (("wait", 1), ("preprocess", 2), ("invoke", 3)):
        assert getattr(found.stages_ms, stage)["p95"] == pytest.approx(factor * 95, rel=0.02)
        assert getattr(found.stages_ms, stage)["p99"] == pytest.approx(factor * 99, rel=0.02)
    assert found.stages_ms.preprocess["p50"] == pytest.approx(100, rel=0.01)
    assert (found.frames_judged, found.verdicts) == (101, {Verdict.PASS: 100, Verdict.UNKNOWN: 1})


def test_a_frame_of_several_regions_is_one_frame() -> None:
    """It waited until its first region was looked at, and took until its last was; each region's model counts."""
    counted = tally()
    counted.count([timed(10, 1, 5), timed(20, 1, 50)])
    found = counted.report()
    assert found.frames_judged == 1
    assert found.stages_ms.wait["p50"] == pytest.approx(10, rel=0.01)
    assert found.latency_ms["p50"] == pytest.approx(71, rel=0.01)
    assert (found.stages_ms.invoke["p50"], found.stages_ms.invoke["p95"]) == (
        pytest.approx(5, rel=0.01),
        pytest.approx(50, rel=0.01),
    )


def test_latencies_begin_anew_with_each_message() -> None:
    """A message tells of its own interval; counts go on."""
    counted = tally()
    counted.count([timed(100, 1, 1)])
    counted.report()
    assert (counted.report().latency_ms, counted.report().stages_ms) == ({}, Stages(wait={}, preprocess={}, invoke={}))
    counted.count([timed(1, 1, 1)])
    found = counted.report()
    assert found.latency_ms["p99"] == pytest.approx(3, rel=0.01)
    assert found.frames_judged == 2


def test_who_asks_just_after_a_message_hears_of_its_interval() -> None:
    """Asking takes nothing away, and tells of the last whole interval besides the present one."""
    counted = tally()
    counted.count([timed(100, 1, 1)])
    counted.report()
    assert counted.sum_up().latency_ms["p50"] == pytest.approx(102, rel=0.01)
    counted.count([timed(1, 1, 1)])
    assert counted.sum_up().latency_ms["p99"] == pytest.approx(102, rel=0.01)
    assert counted.report().latency_ms["p99"] == pytest.approx(3, rel=0.01)


def test_any_thread_may_ask_while_another_counts() -> None:
    """Whoever asks meanwhile sees a whole state each time, and counts that never go back."""
    counted, over = tally(), threading.Event()
    seen: list[int] = []

    def ask() -> None:
        while not over.is_set():
            found = counted.sum_up()
            assert sum(found.verdicts.values()) == found.frames_judged
            seen.append(found.frames_judged)
            assert len(counted.last) == min(16, len(counted.last))

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(20_000):
        counted.count([timed(1 + number * 1.7 % 1000, 1, 1)])
    over.set()
    asking.join()
    assert seen == sorted(seen)
    assert counted.sum_up().frames_judged == 20_000


def test_the_last_verdicts_are_at_hand() -> None:
    """The newest sixteen, in order."""
    counted = tally()
    events = [timed(1, 1, 1) for _ in range(20)]
    for each in events:
        counted.count([each])
    assert counted.last == events[-16:]
